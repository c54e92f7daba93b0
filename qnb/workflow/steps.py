"""One step of the workflow: place, calibrate, evaluate, compare. Gives Runs back; changes nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from qnb.errors import InputError
from qnb.measures import Score, activation_bytes, cost, model_bytes
from qnb.measures.evaluation import score_of
from qnb.measures.profile import profile_layers
from qnb.numerics import Precision
from qnb.ranges import RULES
from qnb.sim import QuantSim
from qnb.sim.graph_model import ReferenceModel
from qnb.workflow.measured import comparison_batches, measured, settings_of
from qnb.workflow.progress import Line
from qnb.workflow.run import Run
from qnb.workflow.ticks import Ticks, reporting
from qnb.workflow.verdict import REFERENCE, Verdict


@dataclass(frozen=True)
class Step:
    """What a run is asked for.

    Args:
        layers, methods: layer names or globs to the precision, or range rule, they get instead.
        method, options: range rule of activations.
    """

    precision: Precision
    name: str
    layers: dict[str, Precision]
    methods: dict[str, str]
    method: str
    options: dict[str, Any]

    @staticmethod
    def of(flow, precision, name=None, layers=None, methods=None, method=None, options=None) -> Step:
        """From what `Workflow.run` takes; wrong names are errors here, before any work."""
        if flow.model is None:
            raise InputError("flow.run", "a workflow from a file, without model, data and evaluate",
                             "load it with qnb.load(path, model=..., calibration=..., evaluate=...)")  # fmt: skip
        precision = Precision.parse(precision)
        parsed = {pattern: Precision.parse(other) for pattern, other in dict(layers or {}).items()}
        methods, method = dict(methods or {}), method or flow.method
        for rule in (*methods.values(), method):
            RULES[rule]
        changed = len({*parsed, *methods})
        name = name or (f"{precision.name}+{changed}" if changed else precision.name)
        return Step(precision, name, parsed, methods, method, dict(options or {}))

    @property
    def title(self) -> str:
        return f"flow.run({self.name!r})"


def run(flow, step: Step, progress) -> list[Run]:
    """The Runs of a step: the new one last, FP32 before it where the workflow has none yet."""
    with reporting(flow, step.title, progress) as report:
        found = [] if "fp32" in flow.runs and step.precision.name != "fp32" else [_reference(flow, report)]
        reference = found[0] if found else flow.runs["fp32"]
        if step.precision.name != "fp32":
            found.append(_simulate(flow, step, reference.score, report))
    return found


def profile(flow, run: Run, progress, layers=None) -> dict:
    """Layers' values (of all by default), from the batches that layers are compared on."""
    if run.sim is None:
        raise InputError("look at layers", f"run {run.name!r}, which has no simulation", "name another run")
    if flow.model is None:
        raise InputError("look at layers", "a workflow from a file, without its data",
                         "load it with qnb.load(path, model=..., calibration=..., evaluate=...)")  # fmt: skip
    layers = [layers] if isinstance(layers, str) else layers
    line = None if progress else Line()
    ticks = Ticks(progress or line, f"reading the layers of {run.name}")
    try:
        return profile_layers(run.sim, comparison_batches(flow), layers, progress=ticks.progress, watch=ticks.watch)
    finally:
        run.sim.drop_cache()
        if line is not None:
            line.close()


def _reference(flow, report) -> Run:
    start = time.perf_counter()
    model = ReferenceModel(flow.captured, flow.captured.module)
    sim = QuantSim(flow.captured, precision="fp32", target=flow.target)
    ticks = Ticks(report, "evaluating fp32")
    score = score_of(flow.evaluate, model, "fp32", ticks.forward)
    flow._forwards = ticks.done  # how many forward passes an evaluation takes
    return Run("fp32", "fp32", score, Verdict(REFERENCE, "what the others are compared with"), cost(sim),
               model_bytes(sim), activation_bytes(sim),
               settings=settings_of(flow, "", {}), seconds=time.perf_counter() - start)  # fmt: skip


def _simulate(flow, step: Step, reference: Score, report) -> Run:
    start = time.perf_counter()
    sim = QuantSim(flow.captured, precision=step.precision, target=flow.target)
    _give(sim, step, flow.calibration, report)
    changes = {"layers": {k: v.name for k, v in step.layers.items()}, "methods": step.methods}
    settings = settings_of(flow, step.method, step.options) | changes
    return measured(flow, sim, step.name, reference, settings, report, start)


def _give(sim: QuantSim, step: Step, calibration, report) -> None:
    """The sim its precisions and encodings, layers' own ones last."""
    for pattern, other in step.layers.items():
        sim.set_precision(pattern, other)
    sim.calibrate(calibration, step.method, Ticks(report, f"calibrating {step.name}").progress, **step.options)
    for pattern, rule in step.methods.items():
        ticks = Ticks(report, f"calibrating {pattern} by {rule}")
        sim.calibrate(calibration, rule, ticks.progress, layers=pattern)
