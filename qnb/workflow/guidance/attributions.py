"""Where a run's error comes from: `qnb.attribute` with the workflow's data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qnb import measures
from qnb.measures import Attribution
from qnb.progress import Report
from qnb.workflow.documents.display import Charted
from qnb.workflow.jobs.progress import shown
from qnb.workflow.jobs.runner import prepared_by
from qnb.workflow.results import check_simulated
from qnb.workflow.run import Run

if TYPE_CHECKING:
    from qnb.workflow.workflow import Workflow

OPERATION = "flow.attribute"


@dataclass(frozen=True, repr=False)
class RunAttribution(Charted, Attribution):
    """As `qnb.measures.Attribution`, of one run.

    Args:
        run: its name.
    """

    run: str = ""

    def figures(self) -> list:
        return [self.chart(title=self.run)]

    def caption(self) -> str:
        return f"{self.run}: {Attribution.caption(self)}"


def _run(flow: Workflow, run: str) -> Run:
    return check_simulated(flow, run, OPERATION)


@prepared_by(_run)
def attribute(flow: Workflow, run: str, *, progress: Report | None = None) -> RunAttribution:
    """Which layers the error at a run's outputs comes from, and whether from weights, activations or biases: chart and
    table. It is kept under the run's name in ``attributions``, until the run is replaced.

    Args:
        run: its name.
        progress: ``progress(done, total, message)``, as for `Workflow.run`.
    """
    with flow.jobs.alone(f"{OPERATION}({run!r})"):
        sim = _run(flow, run).sim
        with shown(f"{OPERATION}({run!r})", progress) as report:
            found = measures.attribute(sim, flow.batches, progress=report)
        made = RunAttribution(found.table, found.residual, found.output_sqnr_db, found.passes, run)
        flow.attributions = flow.attributions | {run: made}
    flow.changed.emit()
    return made
