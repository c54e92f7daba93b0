"""One step at a time: in the caller's thread, or as a job in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

from qnb.errors import InputError
from qnb.workflow.jobs.job import Job
from qnb.workflow.jobs.signal import Signal


class Jobs:
    """Base of `Workflow`: ``job`` is the last one started; ``changed`` tells panels that results are new."""

    def _begin_jobs(self) -> None:
        self.changed = Signal()
        self.job: Job | None = None
        self._busy = threading.Lock()

    def start(self, title: str, work: Callable[[Callable], Any]) -> Job:
        """Any work as this workflow's job; one at a time.

        Args:
            title: what it is, as one would call it.
            work: takes ``report(done, total, message)``; what it returns is the job's value.
        """
        if self.job is not None and self.job.running:
            raise InputError(title, f"{self.job.name} still runs", "wait for it (flow.job.wait()) or flow.job.cancel()")
        self.job = Job(title, work)
        self.job.finished.connect(lambda job: self.changed.emit())
        self.job.start()
        self.changed.emit()
        return self.job

    @contextmanager
    def _alone(self, title: str):
        """One step at a time: results are kept by name."""
        if not self._busy.acquire(blocking=False):
            running = self.job.name if self.job is not None and self.job.running else "another step"
            raise InputError(title, f"{running} still runs", "wait for it (flow.job.wait()) or flow.job.cancel()")
        try:
            yield
        finally:
            self._busy.release()
