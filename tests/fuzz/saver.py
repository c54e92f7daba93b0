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


def pair(kind: str, folder: Path) -> list:
    """The old and the new one."""
    read, ending = (QuantSim.load, "sim") if kind == "simulation" else (qnb.load, "qnb")
    return [read(folder / f"{name}.{ending}") for name in ("old", "new")]


def seconds(kind: str, folder: Path) -> float:
    """What saving the new one takes."""
    new = pair(kind, folder)[-1]
    start = time.perf_counter()
    new.save(folder / FILE)
    return time.perf_counter() - start


def save_on(kind: str, folder: Path, begun) -> None:
    """Two that differ, in turn; ``begun`` is set as soon as one has been saved."""
    both = pair(kind, folder)
    while True:
        for one in both:
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
