"""Saves over and over, in a process that is killed. Everything is imported first: it is forked from one that has it."""

from __future__ import annotations

import time
from pathlib import Path

import jsonschema  # noqa: F401
import safetensors.torch  # noqa: F401

import qnb
from qnb.sim import QuantSim
from qnb.workflow import storage  # noqa: F401

FILE = "saved"


def save_on(kind: str, folder: Path, begun) -> None:
    """Two that differ, in turn; ``begun`` is set as soon as one has been saved."""
    read, ending = (QuantSim.load, "sim") if kind == "simulation" else (qnb.load, "qnb")
    pair = [read(folder / f"{name}.{ending}") for name in ("old", "new")]
    while True:
        for one in pair:
            one.save(folder / FILE)
            begun.set()


def save_carelessly(kind: str, folder: Path, begun) -> None:
    """As one should not: in place, and not at once."""
    data = (folder / "old.sim").read_bytes()
    while True:
        with (folder / FILE).open("wb") as file:
            file.write(data[: len(data) // 2])
            file.flush()
            begun.set()
            time.sleep(0.2)
            file.write(data[len(data) // 2 :])
