"""Progress of long steps: a line with time left, after the first second, at most ten times a second."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

Progress = Callable[[int, int | None, str], None]
"""``progress(done, total, message)``; raising `qnb.errors.Cancelled` in it cancels the step."""

AFTER_S, EVERY_S = 1.0, 0.1


class Line:
    """Writes one line to stderr and rewrites it; wiped by `close`. ``QNB_PROGRESS=off`` silences it.

    Args:
        stream: where to write.
        clock: seconds, for tests.
    """

    def __init__(self, stream=None, clock: Callable[[], float] = time.monotonic):
        self.stream, self.clock = stream or sys.stderr, clock
        self.off = os.environ.get("QNB_PROGRESS", "").lower() in ("off", "0")
        self.start = self.stage_start = self.last = clock()
        self.stage, self.stage_done, self.width = "", 0, 0

    def __call__(self, done: int, total: int | None, message: str = "") -> None:
        now = self.clock()
        if message != self.stage:
            self.stage, self.stage_start, self.stage_done = message, now, done
        if self.off or now - self.start < AFTER_S or now - self.last < EVERY_S:
            return
        self.last = now
        text = f"{message}: {done}" + (f" of {total}" if total else "")
        if total and self.stage_done < done <= total:  # the first report came after the first piece of work
            left = (now - self.stage_start) / (done - self.stage_done) * (total - done)
            text += f", {left:.0f} s left"
        self.stream.write("\r" + text.ljust(self.width))
        self.stream.flush()
        self.width = len(text)

    def close(self) -> None:
        """Leave nothing behind."""
        if self.width:
            self.stream.write("\r" + " " * self.width + "\r")
            self.stream.flush()
