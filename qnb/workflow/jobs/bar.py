"""What shows a step's progress: when it is drawn, and how it tells the step that it is cancelled."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable

from qnb.errors import Cancelled
from qnb.workflow.jobs.pace import Pace, Progress

AFTER_S, EVERY_S = 1.0, 0.1


class Bar:
    """Follows what a step reports; drawn once it has lasted a second, then at most ten times a second.

    Subclasses give `draw` and `wipe`; both are called by one thread at a time.

    Args:
        title: the step, as one would call it.
        stages: how many it has; None where it is not known.
        clock: seconds, for tests.
    """

    def __init__(self, title: str, stages: int | None = None, clock: Callable[[], float] = time.monotonic):
        self.title, self.clock, self.pace = title, clock, Pace(clock, stages)
        self.cancelled, self.closed = threading.Event(), False
        self.start, self.last = clock(), -EVERY_S
        self._lock = threading.RLock()
        context = contextvars.copy_context()  # knows which cell is running
        self._timer = threading.Timer(AFTER_S + 0.01, context.run, (self.refresh,))
        self._timer.daemon = True

    def draw(self, progress: Progress) -> None:
        raise NotImplementedError

    def wipe(self) -> None:
        """Leave nothing behind; called only where something was drawn."""
        raise NotImplementedError

    def open(self) -> Bar:
        """From now on it is drawn even if nothing is reported."""
        self._timer.start()
        return self

    def __call__(self, done: int, total: int | None, message: str = "") -> None:
        if self.cancelled.is_set():
            raise Cancelled(self.title, "cancelled; nothing changed")
        with self._lock:
            self.pace.report(done, total, message)
            self.refresh()

    def refresh(self) -> None:
        """Draw, if it is time."""
        with self._lock:
            now = self.clock()
            if self.closed or now - self.start < AFTER_S or now - self.last < EVERY_S:
                return
            self.last = now
            self._try(lambda: self.draw(self.pace.progress))

    def close(self) -> None:
        self._timer.cancel()
        with self._lock:
            if not self.closed and self.last >= self.start:
                self._try(self.wipe)
            self.closed = True

    def _try(self, show: Callable[[], None]) -> None:
        """A step goes on when nobody can see it any more."""
        try:
            show()
        except (OSError, ValueError):  # a pipe whose reader has gone, a stream that was closed
            self.closed = True
