"""What a workflow keeps by the name of a run, and the proposal that waits to be kept or discarded."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qnb.errors import InputError
from qnb.measures.layers.output_parts import OutputNoise, difference_db, sqnr_db
from qnb.sharing import without as dropped
from qnb.workflow.diagnosis.samples import first_batches, without
from qnb.workflow.run import Run

if TYPE_CHECKING:
    from qnb.workflow.diagnosis.finding import Diagnosis
    from qnb.workflow.workflow import Workflow

ABOUT_A_RUN = (
    "deployments",
    "performance",
    "sensitivities",
    "sequences",
    "pareto_fronts",
    "diagnoses",
    "attributions",
    "calibration_curves",
    "worst",
)
"""Attributes of a workflow: a run's name to what was found about that run."""


def keep_run(flow: Workflow, made: Run) -> Run:
    """Make a run one of the workflow's. What was found about an earlier run of its name is forgotten."""
    for name in ABOUT_A_RUN:  # first: nobody sees what was found about the old run beside the new one
        setattr(flow, name, dropped(getattr(flow, name), made.name))
    flow.runs = flow.runs | {made.name: made}
    flow.diagnoses = {name: _noted(flow, found, made) for name, found in flow.diagnoses.items()}
    made = replace(made, next_steps=tuple(flow.next_steps()))
    flow.runs = flow.runs | {made.name: made}
    return made


def _noted(flow: Workflow, found: Diagnosis, made: Run) -> Diagnosis:
    """A diagnosis with the run noted where it is what a finding's code makes, and what that brought."""
    base = flow.runs.get(found.run)
    if base is None or made.name == found.run or not any(f.made(made) for f in found):
        return found
    return found.followed_by(made, _gained_db(flow, base, made))


def _gained_db(flow: Workflow, base: Run, made: Run) -> float:
    """What a run gained at the outputs, measured as the remedies of its base were."""
    noise = OutputNoise(base.sim, without(first_batches(flow.batches), made.settings.get("leave_out", ())))
    gained = difference_db(sqnr_db(noise(made.sim)), sqnr_db(noise(base.sim)))
    made.sim.drop_cache()
    base.sim.drop_cache()
    return gained


def keep(flow: Workflow) -> Run:
    """Add the proposal to the runs."""
    if flow.proposal is None:
        raise InputError("flow.keep", "no proposal", "make one with flow.recover(..., keep=False)")
    kept, flow.proposal = keep_run(flow, flow.proposal), None
    flow.changed.emit()
    return kept


def discard(flow: Workflow) -> None:
    """Drop the proposal; the runs do not change."""
    flow.proposal = None
    flow.changed.emit()


def check_has_data(flow: Workflow, operation: str) -> None:
    """Whether a workflow has its model, data and metric; one that was loaded from a file alone has results only.

    Raises:
        InputError: it has results only.
    """
    if flow.model is None:
        raise InputError(
            operation,
            "a workflow from a file, without model, data and evaluate",
            "load it with qnb.load(path, model=..., calibration=..., evaluate=...)",
        )


def check_simulated(flow: Workflow, name: str, operation: str) -> Run:
    """The run of that name, if it has a simulation and the workflow its data.

    Raises:
        InputError: there is no such run, it has no simulation, or the workflow has results only.
    """
    run = flow[name]
    if run.sim is None:
        raise InputError(operation, f"run {name!r}, which has no simulation", "name another run")
    check_has_data(flow, operation)
    return run
