"""How long one run takes, measured warm."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from qnb.errors import InputError


@dataclass(frozen=True)
class Latency:
    """Time of one run in milliseconds.

    Args:
        median_ms, low_ms, high_ms: median, 10th and 90th percentile over the runs.
        runs: how many were measured, after the warm-up.
        threads: as the runtime was given; None where it chose the number itself.
        runtime: its name.

    >>> print(Latency(3.21, 3.1, 3.6, 50, 2, "onnxruntime"))
    3.21 ms (3.10 to 3.60, 50 runs, 2 threads)
    """

    median_ms: float
    low_ms: float
    high_ms: float
    runs: int
    threads: int | None
    runtime: str

    def __str__(self) -> str:
        span = f"{self.low_ms:.2f} to {self.high_ms:.2f}"
        threads = "default threads" if self.threads is None else _count(self.threads, "thread")
        return f"{self.median_ms:.2f} ms ({span}, {_count(self.runs, 'run')}, {threads})"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def interleaved(runtimes: Mapping[str, Any], *inputs: Any, runs: int = 50, warmup: int = 5) -> dict[str, Latency]:
    """Latency of several runtimes, their runs taking turns, so that whatever slows the machine slows them alike.

    Args:
        runtimes: by name; `qnb.runtimes.Runtime`.
        inputs: as for `Runtime.run`; by default random ones of each file's shapes, with batch 1 where it is open.
        runs, warmup: measured and unmeasured repetitions of each, on the clock of `time.perf_counter`.
    """
    if runs < 1 or warmup < 0:
        raise InputError("latency", f"runs={runs}, warmup={warmup}", "use runs >= 1, warmup >= 0")
    calls = {name: runtime.repeat(*inputs) for name, runtime in runtimes.items()}
    taken_ms = {name: np.empty(runs) for name in calls}
    for index in range(-warmup, runs):
        for name, call in calls.items():
            start = time.perf_counter()
            inside = call()
            seconds = time.perf_counter() - start if inside is None else inside
            taken_ms[name][max(index, 0)] = seconds * 1e3  # the last unmeasured one is replaced
    found = {}
    for name, runtime in runtimes.items():
        low, median, high = np.percentile(taken_ms[name], (10, 50, 90))
        found[name] = Latency(float(median), float(low), float(high), runs, runtime.threads, runtime.name)
    return found
