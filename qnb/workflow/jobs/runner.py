"""One step at a time: in the caller's thread, or as a job in a thread of its own."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from qnb.arguments import short
from qnb.errors import InputError
from qnb.workflow.jobs.job import Job
from qnb.workflow.jobs.signal import Signal

if TYPE_CHECKING:
    from qnb.workflow.workflow import Workflow


class Runner:
    """Runs a workflow's steps. ``job`` is the last one started; ``changed`` tells that there are new results."""

    def __init__(self):
        self.changed = Signal()
        self.job: Job | None = None
        self._busy = threading.Lock()

    def start(self, title: str, work: Callable[[Callable], Any]) -> Job:
        """Any work as a job.

        Args:
            title: what it is, as one would call it.
            work: takes ``report(done, total, message)``; what it returns is the job's value.

        Raises:
            InputError: another job is running.
        """
        if self.job is not None and self.job.running:
            raise _still_runs(title, self.job.name)
        self.job = Job(title, work)
        self.job.finished.connect(lambda job: self.changed.emit())
        self.job.start()
        self.changed.emit()
        return self.job

    @contextmanager
    def alone(self, title: str) -> Iterator[None]:
        """Inside, no other step runs: results are kept by name.

        Raises:
            InputError: another step is running.
        """
        if not self._busy.acquire(blocking=False):
            raise _still_runs(title, self.job.name if self.job is not None and self.job.running else "another step")
        try:
            yield
        finally:
            self._busy.release()


def _title(step: Callable, args: tuple, kwargs: dict[str, Any]) -> str:
    """The step as one would call it, without options."""
    signature = inspect.signature(step)
    given = signature.bind_partial(*args, **kwargs).arguments
    plain = [n for n, p in signature.parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD and n in given]
    return f"flow.{getattr(step, '__name__', 'step')}({', '.join(short(given[name]) for name in plain)})"


def _still_runs(title: str, running: str) -> InputError:
    return InputError(title, f"{running} still runs", "wait for it (flow.job.wait()) or flow.job.cancel()")


def prepared_by(prepare: Callable) -> Callable[[Callable], Callable]:
    """Decorator of a step: ``prepare(flow, ...)`` takes what the step takes, and raises what is wrong with it."""

    def mark(step: Callable) -> Callable:
        step.prepare = prepare
        return step

    return mark


def submit(flow: Workflow, step: Callable, *args: Any, **kwargs: Any) -> Job:
    """Run a step in a thread of its own, as panels do it: ``await`` the job, ``wait()`` for it, or ``cancel()`` it.

    Args:
        step: of this workflow: ``flow.submit(flow.run, "w8a8")``, ``flow.submit(flow.recover, "w4a8", "auto")``.
        args, kwargs: what the step takes, apart from ``progress``.

    Raises:
        InputError: what is wrong with the arguments, at once; or another step is running.
    """
    if not callable(step):
        example = f"pass a step and then its arguments: flow.submit(flow.run, {short(step)})"
        raise InputError("flow.submit", f"{short(step)} as a step", example)
    title = _title(step, args, kwargs)
    prepare = getattr(step, "prepare", None)
    if prepare is not None:
        with flow.jobs.alone(title):
            prepare(flow, *args, **kwargs)
    return flow.jobs.start(title, lambda report: step(*args, progress=report, **kwargs))
