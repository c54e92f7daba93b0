"""Where in a sequence and in which attention head a run loses: `qnb.sequence_errors` with the workflow's data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qnb.measures import sequence_errors as measure
from qnb.progress import Report
from qnb.workflow.documents.display import SequenceView
from qnb.workflow.jobs.progress import shown
from qnb.workflow.jobs.stage_progress import Ticks
from qnb.workflow.measured_run import comparison_batches
from qnb.workflow.results import check_simulated

if TYPE_CHECKING:
    from qnb.workflow.workflow import Workflow


def sequence_errors(flow: Workflow, run: str, *, progress: Report | None = None) -> SequenceView:
    """Error of a run by token position and by attention head, and how far its predictions move from FP32's, on the
    batches that layers are compared on.

    Args:
        run: its name.
        progress: ``progress(done, total, message)``, as for `Workflow.run`.

    Raises:
        InputError: no such run, or a model without token positions.
    """
    operation = "flow.sequence_errors"
    check_simulated(flow, run, operation)
    title = f"{operation}({run!r})"
    with flow.jobs.alone(title):
        sim = check_simulated(flow, run, operation).sim
        with shown(title, progress, 1) as report:
            ticks = Ticks(report, f"comparing sequences of {run}")
            try:
                errors = measure(sim, comparison_batches(flow), progress=ticks.progress, watch=ticks.watch)
            finally:
                sim.drop_cache()
        found = SequenceView(run, errors)
        flow.sequences = flow.sequences | {run: found}
    flow.changed.emit()
    return found
