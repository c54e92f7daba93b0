"""What runs are compared by: the model's size, its file's, its latency."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from qnb.charts.theme import TITLE, plain
from qnb.text import size


@dataclass(frozen=True)
class Axis:
    """One measure of a run.

    Args:
        name: on the axis.
        best: what the run with the least of it is.
        missing: what a run without it is.
        empty: what to do where no run has it.
        unit: the largest value to (unit, how many of the column's units one is).
        text: a value as a person reads it.
    """

    name: str
    best: str
    missing: str
    empty: str
    unit: Callable[[float], tuple[str, float]]
    text: Callable[[float], str]


def _bytes(most: float) -> tuple[str, float]:
    return ("MB", 1e6) if most >= 1e6 else ("kB", 1e3)


def _milliseconds(most: float) -> tuple[str, float]:
    return "ms", 1.0


AXES = {
    "size_bytes": Axis(
        "model size",
        "Smallest",
        "of unknown size",
        "No runs to show: run a step first, for example flow.run('w8a16').",
        _bytes,
        size,
    ),
    "file_bytes": Axis(
        "file size", "Smallest file", "no file measured", "No files measured yet: call flow.measure().", _bytes, size
    ),
    "latency_ms": Axis(
        "latency on ONNX Runtime's CPU",
        "Fastest",
        "not timed",
        "No runs timed yet: call flow.measure().",
        _milliseconds,
        lambda v: f"{v:.3g} ms",
    ),
}
"""By column of `qnb.columns.SUMMARY`."""


def left_out(measured: pd.DataFrame, shown: pd.DataFrame, axis: Axis) -> str:
    """Which runs have no value, ``"not timed: w8a16, w4a8"``; empty where all have one."""
    names = [str(name) for name in measured["run"] if name not in set(shown["run"])]
    if not names:
        return ""
    said = f"{axis.missing}: {', '.join(names)}"
    return plain(said if len(said) <= TITLE else f"{axis.missing}: {len(names)} runs")
