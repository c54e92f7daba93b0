"""How long one run takes, measured warm."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Latency:
    """Time of one run in milliseconds.

    Args:
        median_ms, low_ms, high_ms: median, 10th and 90th percentile over the runs.
        runs: how many were measured, after the warm-up.
        threads: as the runtime was given; None where it chose the number itself.
        runtime: its name.

    >>> print(Latency(3.21, 3.1, 3.6, 50, 2, "onnxruntime-cpu"))
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


def measure(run: Callable[[], object], runs: int, warmup: int, threads: int | None, runtime: str) -> Latency:
    """Time ``run()`` ``runs`` times after ``warmup`` unmeasured ones, on the clock of `time.perf_counter`."""
    for _ in range(warmup):
        run()
    taken_ms = np.empty(runs)
    for index in range(runs):
        start = time.perf_counter()
        run()
        taken_ms[index] = (time.perf_counter() - start) * 1e3
    low, median, high = np.percentile(taken_ms, (10, 50, 90))
    return Latency(float(median), float(low), float(high), runs, threads, runtime)
