"""Job: a step of the workflow in a thread of its own, with progress, to wait for or to cancel."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from qnb.errors import Cancelled
from qnb.process import while_waiting
from qnb.progress import Report
from qnb.workflow.jobs.bar import EVERY_S
from qnb.workflow.jobs.pace import Pace, Progress
from qnb.workflow.jobs.signal import Signal


@dataclass(frozen=True)
class JobProgress:
    """What the work calls: itself for progress, ``row`` for its history."""

    progress: Report
    row: Callable[..., None]

    def __call__(self, done: int, total: int | None, message: str = "") -> None:
        self.progress(done, total, message)


RUNNING, DONE, CANCELLED, FAILED = "running", "done", "cancelled", "failed"
CANCELLING = "cancelling ..."


class Job:
    """Runs ``work(report)`` in a daemon thread.

    ``await job`` or ``job.wait()`` gives what it returns and raises what it raises. A cell that awaits stays busy
    while buttons keep working; interrupting it cancels the job. `cancel` is seen at the next report, between two
    batches, and at once where another process computes; what was there before is left as it was. Until then it says
    that it is cancelling.

    Args:
        name: what is being done, for people.
        work: takes ``report(done, total, message)``, to be called between pieces of work; ``report.row(...)`` adds
            to the history.

    ``history`` holds the rows that the work has given to ``report.row`` so far.

    ``reported`` (at most ten times a second) and ``finished`` are signals; their callbacks get the job, in its
    thread, and in that of who cancels it.
    """

    def __init__(self, name: str, work: Callable[[Callable], Any]):
        self.name, self._work = name, work
        self.status, self.progress = RUNNING, Progress()
        self.error: BaseException | None = None
        self.reported, self.finished = Signal(), Signal()
        self.history: list[dict[str, Any]] = []
        self._value: Any = None
        self._cancel, self._lock = threading.Event(), threading.Lock()
        self._pace, self._last = Pace(), time.monotonic()
        self._given = torch.get_num_threads()
        self._threads = min(self._given, max(1, (os.cpu_count() or 1) - 1))  # one stays free for Jupyter
        self._thread = threading.Thread(target=self._run, name=f"qnb {name}", daemon=True)

    def start(self) -> Job:
        self._thread.start()
        return self

    def cancel(self) -> None:
        """Ask it to stop; returns at once."""
        with self._lock:
            if self._cancel.is_set() or not self.running:
                return
            self._cancel.set()
            self.progress = Progress(CANCELLING)
        self.reported.emit(self)

    @property
    def cancelling(self) -> bool:
        """Whether somebody has asked it to stop."""
        return self._cancel.is_set()

    @property
    def running(self) -> bool:
        return self.status == RUNNING

    def wait(self, timeout_s: float | None = None) -> Any:
        """Block until it has finished, for scripts.

        Raises:
            TimeoutError: it still runs after ``timeout_s`` seconds, and goes on.
            Cancelled, QnbError: what the step raised. An interrupt (Ctrl-C) cancels the job.
        """
        try:
            self._thread.join(timeout_s)
        except KeyboardInterrupt:
            self.cancel()
            self._thread.join()
        if self._thread.is_alive():
            raise TimeoutError(f"{self.name} still runs after {timeout_s} s: wait longer, or call cancel()")
        if self.error is not None:
            raise self.error
        return self._value

    def __await__(self):
        return self._poll().__await__()

    async def _poll(self):
        try:
            while self._thread.is_alive():
                await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            self.cancel()
            self._thread.join()
        return self.wait()

    def report(self, done: int, total: int | None, message: str = "") -> None:
        """Called by the work; raises `Cancelled` where somebody has asked for that."""
        with self._lock:
            self._raise_if_cancelled()
            now, progress = time.monotonic(), self._pace.report(done, total, message)
            if message == self.progress.message and now - self._last < EVERY_S and done != total:
                return
            self._last, self.progress = now, progress
        self.reported.emit(self)

    def row(self, **figures: Any) -> None:
        """Called by work that has a history (for example of a loss): one more row."""
        self.history.append(figures)

    def _raise_if_cancelled(self) -> None:
        if self._cancel.is_set():
            raise Cancelled(self.name, "cancelled; nothing changed")

    def _run(self) -> None:
        status = DONE
        try:
            torch.set_num_threads(self._threads)
            with while_waiting(self._raise_if_cancelled):
                self._value = self._work(JobProgress(self.report, self.row))
        except Cancelled as error:
            status, self.error = CANCELLED, error
        except BaseException as error:
            status, self.error = FAILED, error
        torch.set_num_threads(self._given)  # what threads that are made from now on get, the caller's own too
        self.status = status
        self.finished.emit(self)

    def __repr__(self) -> str:
        return f"Job({self.name}: {self.progress if self.running else self.status})"
