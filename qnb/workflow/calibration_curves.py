"""How many calibration samples a run needs: `qnb.calibration_curve` with the workflow's data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qnb import measures
from qnb.measures import CalibrationCurve
from qnb.progress import Report
from qnb.workflow.diagnosis.samples import without
from qnb.workflow.documents.display import Charted
from qnb.workflow.jobs.progress import shown
from qnb.workflow.jobs.runner import prepared_by
from qnb.workflow.measured_run import comparison_batches
from qnb.workflow.results import check_simulated
from qnb.workflow.run import Run

if TYPE_CHECKING:
    from qnb.workflow.workflow import Workflow

OPERATION = "flow.calibration_curve"


@dataclass(frozen=True, repr=False)
class RunCalibrationCurve(Charted, CalibrationCurve):
    """As `qnb.measures.CalibrationCurve`, of one run.

    Args:
        run: its name.
    """

    run: str = ""

    def figures(self) -> list:
        return [self.chart(title=self.run)]

    def caption(self) -> str:
        return f"{self.run}: {CalibrationCurve.caption(self)}"


def _run(flow: Workflow, run: str) -> Run:
    return check_simulated(flow, run, OPERATION)


@prepared_by(_run)
def calibration_curve(flow: Workflow, run: str, *, progress: Report | None = None) -> RunCalibrationCurve:
    """How many calibration samples are enough for a run: its ranges by the number of samples, and SQNR at the outputs
    with them, on the batches that layers are compared on. It is kept under the run's name in ``calibration_curves``,
    until the run is replaced.

    Args:
        run: its name. Samples that it leaves out take no part.
        progress: ``progress(done, total, message)``, as for `Workflow.run`.

    Raises:
        InputError: no such run, or one whose ranges do not follow from calibration data.
    """
    title = f"{OPERATION}({run!r})"
    with flow.jobs.alone(title):
        found = _run(flow, run)
        left = found.settings.get("leave_out", ())
        batches, judged_on = without(flow.batches, left), without(comparison_batches(flow), left)
        with shown(title, progress) as report:
            curve = measures.calibration_curve(found.sim, batches, judged_on=judged_on, progress=report)
        made = RunCalibrationCurve(curve.table, curve.ranges, run)
        flow.calibration_curves = flow.calibration_curves | {run: made}
    flow.changed.emit()
    return made
