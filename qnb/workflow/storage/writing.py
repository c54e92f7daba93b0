"""Writes a workflow's file."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from qnb import schema, tensor_file
from qnb.atomic import replacing
from qnb.sim import storage as sims
from qnb.targets import stored as targets
from qnb.workflow import settings
from qnb.workflow.documents import workflow as documents
from qnb.workflow.storage import archive, deployments, findings, fronts, runs
from qnb.workflow.storage.contents import FORMAT, MODEL, SCHEMA, VERSION

if TYPE_CHECKING:
    from os import PathLike

    from qnb.workflow.run import Run
    from qnb.workflow.workflow import Workflow


def save(flow: Workflow, path: str | PathLike) -> None:
    """Write all that ``flow`` found; the file is replaced as a whole or not at all.

    Raises:
        FileError: it cannot be written there, or holds what no file can.
    """
    operation, now = f"flow.save({str(path)!r})", datetime.now(UTC)
    content, numbered = _content(flow, now)
    schema.check(content, SCHEMA, operation, "report this as a fault of qnb")
    page = documents.dated(documents.dashboard(flow, samples=False), now).json()
    shared = None if flow.capture.known is None else sims.Shared.of(flow.capture.known)
    with replacing(path) as file, archive.Writer(file, operation) as writer:
        writer.json(archive.WORKFLOW, content)
        writer.json(archive.DOCUMENT, page)
        if shared is not None:
            writer.tensors(archive.MODEL, tensor_file.dumps(MODEL, {"graph": shared.graph}, shared.tensors))
        for number, sim in enumerate(numbered):
            writer.tensors(archive.SIM.format(number), sims.dumps(sim, shared))


def _content(flow: Workflow, now: datetime) -> tuple[dict[str, Any], list]:
    """What ``workflow.json`` holds, and the simulations in the order of their numbers.

    A step may end meanwhile: the runs are taken first, so that what was found about them is not that of later ones.
    """
    kept, proposal, numbered = flow.runs, flow.proposal, []

    def about(found: dict) -> list:
        return [value for name, value in found.items() if name in kept]

    def number(run: Run) -> int | None:
        if run.sim is None:
            return None
        numbered.append(run.sim)
        return len(numbered) - 1

    # Files without these are as they were before there were any.
    later = {
        "sequences": [findings.sequence(s) for s in about(flow.sequences)],
        "calibration_curves": [findings.calibration_curve(c) for c in about(flow.calibration_curves)],
        "worst": [findings.worst(w) for w in about(flow.worst)],
    }
    return {
        **{name: found for name, found in later.items() if found},
        "format": FORMAT,
        "version": VERSION,
        "written": {"date": now.isoformat(timespec="seconds"), **settings.versions()},
        "model": documents.model_name(flow),
        "target": targets.to_json(flow.target),
        "tolerance": flow.tolerance,
        "calibration_method": flow.calibration_method,
        "seed": flow.seed,
        "evaluation_forwards": flow.evaluation_forwards,
        "check": findings.check(flow.check_result),
        "runs": [runs.pack(run, number(run)) for run in kept.values()],
        "proposal": None if proposal is None else runs.pack(proposal, number(proposal)),
        "sensitivities": [findings.sensitivity(s) for s in about(flow.sensitivities)],
        "pareto_fronts": [fronts.pack(f) for f in about(flow.pareto_fronts)],
        "diagnoses": [findings.diagnosis(d) for d in about(flow.diagnoses)],
        "attributions": [findings.attribution(a) for a in about(flow.attributions)],
        "deployments": [deployments.deployment(d) for d in about(flow.deployments)],
        "performance": {n: deployments.performance(p) for n, p in flow.performance.items() if n in kept},
    }, numbered
