"""Progress of a step that a person waits for: opened and closed here, whatever shows it."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from qnb.errors import Cancelled
from qnb.progress import Report
from qnb.workflow.jobs import progress_cell, progress_line
from qnb.workflow.jobs.bar import Bar

_open: list[Bar] = []
"""The bar that is shown, in the main thread; one at a time."""


@contextmanager
def shown(title: str, progress: Report | None = None, stages: int | None = None) -> Iterator[Report]:
    """Gives a step the function to report to: ``progress``, or a bar that is gone when the step ends.

    Inside, an interrupt is a cancel. There is no bar in other threads than the main one, whose steps are watched
    elsewhere; a step within a step reports to the bar that is there.

    Args:
        title: the step, as one would call it: ``"flow.run('w8a8')"``.
        progress: what the step was called with.
        stages: how many there will be; None where it is not known.

    >>> with shown("flow.run('w8a8')") as report:
    ...     report(1, 8, "comparing w8a8")
    """
    try:
        if progress is not None:
            yield progress
        elif threading.current_thread() is not threading.main_thread():
            yield _nobody
        elif _open:
            yield _open[0]
        else:
            with _bar(title, stages) as report:
                yield report
    except KeyboardInterrupt as error:
        raise Cancelled(title, "interrupted; nothing changed") from error


@contextmanager
def _bar(title: str, stages: int | None) -> Iterator[Report]:
    form = _form()
    if form is None:
        yield _nobody
        return
    bar = form(title, stages)
    _open.append(bar)
    try:
        yield bar.open()
    finally:
        _open.clear()
        bar.close()


def _nobody(done: int, total: int | None, message: str = "") -> None:
    """Shows nothing."""


def _form() -> Callable[[str, int | None], Bar] | None:
    """What suits the place that this runs in; None where nothing is to be shown."""
    if os.environ.get("QNB_PROGRESS", "").lower() in ("off", "0") or sys.stderr is None:
        return None
    request = progress_cell.request()
    if request is None:
        return progress_line.Line if sys.stderr.isatty() else progress_line.Log
    if progress_cell.cell_of(request):
        return progress_cell.CellBar
    return progress_line.Line if request["content"].get("allow_stdin") else None  # a console, or nobody at all
