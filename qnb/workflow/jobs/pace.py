"""How far a step is, and how long it still takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

MOST = 0.99
"""Work that has not ended is never shown as complete."""


@dataclass(frozen=True)
class Progress:
    """How far a step is.

    Args:
        message: what it does now: its stage.
        done, total: of the stage's pieces; ``total`` is None where it is not known.
        seconds_left: of the stage; None where it is not known.
        stage, stages: which of how many stages; None where it is not known.

    >>> str(Progress("comparing w8a8", 3, 8, 12.2, 2, 3)), str(Progress("evaluating fp32", 5))
    ('comparing w8a8 (2 of 3): 37 %, 12 s left', 'evaluating fp32: 5 done')
    """

    message: str = "starting"
    done: int = 0
    total: int | None = None
    seconds_left: float | None = None
    stage: int | None = None
    stages: int | None = None

    @property
    def fraction(self) -> float | None:
        """Of the stage, 0 to 0.99; None where it is not known."""
        return min(self.done / self.total, MOST) if self.total and 0 <= self.done <= self.total else None

    @property
    def percent(self) -> int | None:
        return None if self.fraction is None else int(100 * self.fraction)

    @property
    def what(self) -> str:
        """The stage, and which of how many it is."""
        return self.message + (f" ({self.stage} of {self.stages})" if (self.stages or 0) > 1 else "")

    @property
    def left(self) -> str:
        """``"12 s left"``; empty where it is not known, and for the last second."""
        seconds = self.seconds_left or 0.0
        for unit, size in (("h", 3600), ("min", 60), ("s", 1)):
            if round(seconds) >= 2 * size or (size == 1 and seconds >= 1):
                return f"{seconds / size:.0f} {unit} left"
        return ""

    @property
    def how_far(self) -> str:
        """``"37 %, 12 s left"``, or how many pieces are done."""
        share = f"{self.done} done" * bool(self.done) if self.percent is None else f"{self.percent} %"
        return ", ".join(filter(None, (share, self.left)))

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.what, self.how_far)))


class Pace:
    """Makes `Progress` of what a step reports.

    A stage begins with a new message, or with the same one counted from the start again. A report without a total says
    that the stage goes on: what was known of it stays.

    Args:
        clock: seconds, for tests.
        stages: how many there will be; None where it is not known.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, stages: int | None = None):
        self.clock, self.stages, self.stage = clock, stages, 0
        self.progress = Progress()
        self._start, self._first = clock(), 0

    def report(self, done: int, total: int | None, message: str = "") -> Progress:
        now, last = self.clock(), self.progress
        if self.stage == 0 or message != last.message:
            self.stage, self._start, self._first = self.stage + 1, now, done
        elif total is not None and done < last.done:
            self._start, self._first = now, done
        elif total is None and last.total:
            done, total = max(done, last.done), last.total
        left = None
        if total and self._first < done < total:  # the first report may have come after the first piece of work
            left = (now - self._start) / (done - self._first) * (total - done)
        known = (self.stage, self.stages) if self.stages and self.stage <= self.stages else (None, None)
        self.progress = Progress(message, done, total, left, *known)
        return self.progress
