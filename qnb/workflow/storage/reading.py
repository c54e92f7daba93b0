"""Reads a workflow's file; with model, calibration data and evaluation, it goes on where it was saved."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qnb import schema, tensor_file
from qnb.errors import FileError, InputError
from qnb.graph import Captured
from qnb.graph.serialize import from_json
from qnb.ranges import RULES
from qnb.targets import stored as targets
from qnb.workflow import settings
from qnb.workflow.storage import archive, contents, deployments, findings, fronts, runs
from qnb.workflow.storage.same_model import captured_again
from qnb.workflow.storage.simulations import Simulations
from qnb.workflow.storage.source import Source
from qnb.workflow.workflow import Workflow

if TYPE_CHECKING:
    from os import PathLike

    from torch import nn

_MODEL = schema.record({"graph": {"type": "object"}})


def load(
    path: str | PathLike,
    *,
    model: nn.Module | None = None,
    calibration: Iterable | None = None,
    evaluate: Callable[[nn.Module], Any] | None = None,
) -> Workflow:
    """Read what ``Workflow.save`` wrote: all results, to look at and compare.

    Args:
        path: of the ``.qnb`` file.
        model, calibration, evaluate: to run more steps; without them the workflow is read-only. The model must be
            the one that was saved: the same graph, and weights that are the same but for rounding.

    Raises:
        FileError: the file is missing, damaged, of another kind, or of a newer qnb.
        InputError: only some of the three are given, or another model, whose difference is named.
    """
    given = (model, calibration, evaluate)
    if any(part is None for part in given) and not all(part is None for part in given):
        raise InputError("qnb.load", "only some of model, calibration and evaluate", "pass all three, or none")
    source = Source(f"qnb.load({str(path)!r})")
    try:
        file = Path(path).open("rb")
    except OSError as error:
        raise FileError(source.operation, str(error), "check the path") from error
    with file:
        reader = archive.Reader(file, source)
        content, found = _read(reader, source)
        flow = _begun(content, found.captured, given, source)
        _fill(flow, content, found.on(flow.capture.known), source)
    return flow


def _read(reader: archive.Reader, source: Source) -> tuple[dict[str, Any], Simulations]:
    """``workflow.json``, checked, in the form of today's version; and the simulations."""
    content = reader.json(archive.WORKFLOW)
    if not isinstance(content, dict) or content.get("format") != contents.FORMAT:
        raise FileError(source.operation, "another kind of file than a workflow", "choose a file that flow.save wrote")
    schema.check_version(content, "workflow", contents.VERSION, source.operation)
    source.check(content, contents.SCHEMA)
    _check_numbers(content, reader, source)
    return content, Simulations(reader, source, _model(reader, source))


def _check_numbers(content: dict, reader: archive.Reader, source: Source) -> None:
    """Whether the file has as many simulations as its runs name."""
    runs_of = [*content["runs"], *([] if content["proposal"] is None else [content["proposal"]])]
    numbers = [run["sim"] for run in runs_of if run["sim"] is not None]
    if sorted(map(archive.SIM.format, numbers)) != sorted(reader.sims):
        raise source.error("its simulations are not those that its runs name")


def _model(reader: archive.Reader, source: Source) -> Captured | None:
    if archive.MODEL not in reader:
        return None
    data = reader.tensors(archive.MODEL)
    header, tensors = tensor_file.loads(data, contents.MODEL, source.operation, source.remedy)
    source.check(header, _MODEL)
    return from_json(header["graph"], tensors)


def _begun(content: dict, captured: Captured | None, given: tuple, source: Source) -> Workflow:
    """A workflow without results: with the caller's model, or with none."""
    model, calibration, evaluate = given
    target = targets.from_json(content["target"], source.operation, source.remedy)
    kept = {name: content[name] for name in ("tolerance", "calibration_method", "seed")} | {"target": target}
    if model is not None:
        if content["calibration_method"] not in RULES:
            raise source.error(
                f"calibration method {content['calibration_method'][:80]!r}, which this qnb does not have"
            )
        flow = Workflow(model, calibration, evaluate, **kept)
        flow.capture.known = None if captured is None else captured_again(model, flow.batches, captured, target)
        flow.data_fingerprint = settings.fingerprint(flow.batches)
    else:
        flow = Workflow.without_model(content["model"], **kept)
        flow.capture.known = captured
    flow.evaluation_forwards = content["evaluation_forwards"]
    return flow


def _fill(flow: Workflow, content: dict, found: Simulations, source: Source) -> None:
    """All results of checked content; each speaks of a run that is there."""
    variable = flow.variable
    flow.check_result = findings.read_check(content["check"], source)
    made = [runs.unpack(r, found.sim(r["sim"]), source, variable) for r in content["runs"]]
    flow.runs = _by_run("runs", made, source, key=lambda run: run.name)
    proposal = content["proposal"]
    flow.proposal = None if proposal is None else runs.unpack(proposal, found.sim(proposal["sim"]), source, variable)
    later = {n: content.get(n, []) for n in ("attributions", "sequences", "calibration_curves", "worst")}
    lists = ("sensitivities", "pareto_fronts", "diagnoses", "deployments")
    told = (*(part for found in later.values() for part in found), *(part for n in lists for part in content[n]))
    names = {*(part["run"] for part in told), *content["performance"]}
    if missing := sorted(names - flow.runs.keys()):
        raise source.error(f"it tells of run {missing[0][:80]!r}, which it does not hold")
    flow.sensitivities = _by_run(
        "sensitivities", [findings.read_sensitivity(s, source) for s in content["sensitivities"]], source
    )
    flow.sequences = _by_run("sequences", [findings.read_sequence(s, source) for s in later["sequences"]], source)
    curves = [findings.read_calibration_curve(c, source) for c in later["calibration_curves"]]
    flow.calibration_curves = _by_run("calibration curves", curves, source)
    worst = [findings.read_worst(w, source, variable) for w in later["worst"]]
    flow.worst = _by_run("lists of worst samples", worst, source)
    flow.pareto_fronts = _by_run("fronts", [fronts.unpack(f, flow, source) for f in content["pareto_fronts"]], source)
    flow.diagnoses = _by_run(
        "diagnoses", [findings.read_diagnosis(d, source, variable) for d in content["diagnoses"]], source
    )
    attributions = [findings.read_attribution(a, source) for a in later["attributions"]]
    flow.attributions = _by_run("attributions", attributions, source)
    flow.deployments = _by_run(
        "deployments", [deployments.read_deployment(d, source) for d in content["deployments"]], source
    )
    flow.performance = {n: deployments.read_performance(p) for n, p in content["performance"].items()}


def _by_run(what: str, found: list, source: Source, key=lambda part: part.run) -> dict:
    named = {key(part): part for part in found}
    if len(named) < len(found):
        raise source.error(f"two of its {what} are of one run")
    return named
