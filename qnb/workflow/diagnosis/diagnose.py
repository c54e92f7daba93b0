"""The step that finds out why a run loses accuracy, and proves it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from qnb.errors import InputError
from qnb.measures.attribution.attribute import attribute
from qnb.measures.layers.output_parts import OutputNoise, sqnr_db
from qnb.measures.layers.survey import survey
from qnb.progress import Report
from qnb.workflow.diagnosis import causes as causes  # registers them
from qnb.workflow.diagnosis.case import Case
from qnb.workflow.diagnosis.cause import CAUSES, Cause, Suspicion
from qnb.workflow.diagnosis.finding import Diagnosis
from qnb.workflow.diagnosis.proof import Proof, finding
from qnb.workflow.diagnosis.run_names import named_apart
from qnb.workflow.diagnosis.samples import first_batches
from qnb.workflow.jobs.progress import shown
from qnb.workflow.results import check_simulated
from qnb.workflow.run import Run
from qnb.workflow.verdict import FAIL, UNCLEAR

if TYPE_CHECKING:
    from qnb.workflow.workflow import Workflow

OPERATION = "flow.diagnose"


def diagnose(
    flow: Workflow, run: str | None = None, *, measure: bool = False, progress: Report | None = None
) -> Diagnosis:
    """Why a run loses accuracy: causes with their evidence, a remedy, and what that was measured to bring.

    Every remedy is tried on a copy of the run's simulation, on the first calibration batches. What brings less than
    1 dB at the outputs is not told. The diagnosis is kept under the run's name in ``diagnoses``, until the run is
    replaced.

    Args:
        run: its name; by default the first run that is not within tolerance, else the last.
        measure: also evaluate the metric with each finding's remedy; one evaluation each.
        progress: ``progress(done, total, message)``, as for `Workflow.run`.

    >>> import qnb
    >>> demo = qnb.demo.digits()
    >>> flow = qnb.Workflow(demo.model, demo.calibration[:2], demo.evaluate)
    >>> _ = flow.run("w8a8")
    >>> all(found.measured_gain_db >= 1 for found in flow.diagnose("w8a8"))
    True
    """
    name = run or _default(flow)
    if flow[name].sim is None:
        raise InputError(OPERATION, f"{name}, which has lost nothing", "name another run")
    before = check_simulated(flow, name, OPERATION)
    with flow.jobs.alone(f"flow.diagnose({name!r})"):
        with shown(f"flow.diagnose({name!r})", progress) as report:
            found = find(flow, before, measure, report)
        if flow.runs.get(found.run) is before:
            flow.diagnoses = flow.diagnoses | {found.run: found}
    flow.changed.emit()
    return found


def find(flow: Workflow, run: Run, measure: bool, report: Report) -> Diagnosis:
    """The diagnosis of a run; the workflow stays as it is."""
    start = time.perf_counter()
    noise = OutputNoise(run.sim, first_batches(flow.batches), report)
    case = case_of(flow, run, noise, report)
    proven = named_apart(flow, run.name, Proof(case, noise, report).of(suspicions(case), measure))
    run.sim.drop_cache()
    verdict, findings = run.verdict, tuple(map(finding, proven))
    seconds = time.perf_counter() - start
    return Diagnosis(run.name, verdict.status, verdict.text, findings, case.output_sqnr_db, seconds)


def case_of(flow: Workflow, run: Run, noise: OutputNoise, report: Report) -> Case:
    """What rules look at: a survey of the FP32 values, and the attribution of the error at the outputs."""
    batches = list(noise.batches)
    seen = survey(run.sim, flow.batches, len(batches), report)
    shares = attribute(run.sim, batches, progress=report)
    return Case(flow, run, batches, seen, shares, sqnr_db(noise(run.sim, report)))


def suspicions(case: Case) -> list[tuple[Cause, Suspicion]]:
    """What the rules of all causes say."""
    return [(CAUSES[name], found) for name in CAUSES for found in CAUSES[name].find(case)]


def _default(flow: Workflow) -> str:
    runs = [r for r in flow.runs.values() if r.sim is not None]
    if not runs:
        raise InputError(OPERATION, "no run yet", f"run a step first: {flow.variable}.run('w8a8')")
    return next((r.name for r in runs if r.verdict.status in (FAIL, UNCLEAR)), runs[-1].name)
