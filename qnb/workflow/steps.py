"""One step of the workflow: place, calibrate, evaluate, compare. Gives Runs back; changes nothing."""

from __future__ import annotations

import inspect
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qnb.arguments import short
from qnb.errors import InputError
from qnb.measures import Score, activation_bytes, cost, model_bytes
from qnb.measures.layers.profile import profile_layers
from qnb.measures.metrics.evaluation import score_of
from qnb.numerics import Precision
from qnb.ranges import RULES
from qnb.sim import QuantSim, selection
from qnb.sim.graph_model import ReferenceModel
from qnb.sim.limits import refuse_unsupported
from qnb.workflow.jobs.progress import shown
from qnb.workflow.jobs.stage_progress import Ticks
from qnb.workflow.measured_run import comparison_batches, measured, settings_of
from qnb.workflow.names import FP32, check_name
from qnb.workflow.run import Run
from qnb.workflow.verdict import REFERENCE, Verdict

RUN = "flow.run"


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
        """From what `Workflow.run` takes; what does not fit is an error here, or in `check`, before any work."""
        if flow.model is None:
            raise InputError(
                RUN,
                "a workflow from a file, without model, data and evaluate",
                "load it with qnb.load(path, model=..., calibration=..., evaluate=...)",
            )
        precision = Precision.parse(precision)
        parsed = {pattern: Precision.parse(other) for pattern, other in _by_layer("layers", layers, "w8a16").items()}
        methods, method = _by_layer("methods", methods, "mse"), flow.method if method is None else method
        options = dict(options or {})
        for rule in (*methods.values(), method):
            RULES[rule]
        taken = [name for name in inspect.signature(flow.run).parameters if name != "options"]
        RULES[method].check(options, RUN, beside=taken)
        if name is not None:
            check_name(name, precision.name, RUN)
        if precision.name == FP32:
            _check_reference(name, parsed or methods)
        changed = len({*parsed, *methods})
        name = name or (f"{precision.name}+{changed}" if changed else precision.name)
        return Step(precision, name, parsed, methods, method, options)

    def check(self, flow) -> None:
        """Whether the model has the layers, and the target runs them so: captures the model, no more."""
        if not (self.layers or self.methods):
            return
        sim = QuantSim(flow.captured, precision=self.precision, target=flow.target)
        for pattern, other in self.layers.items():
            chosen = sim.named(pattern, RUN)
            if other != self.precision:
                refuse_unsupported(sim, sorted(chosen), other, RUN)
        for pattern in self.methods:
            sim.named(pattern, RUN)

    @property
    def title(self) -> str:
        return f"flow.run({self.name!r})"


def asked(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of `Workflow.run` as `Step.of` takes them."""
    own = {name: arguments.get(name) for name in ("name", "layers", "methods", "method")}
    return own | {"options": {name: value for name, value in arguments.items() if name not in own}}


def _by_layer(argument: str, given, example: str) -> dict[str, Any]:
    """What layers get instead, by name or glob."""
    if not isinstance(given or {}, Mapping):
        raise InputError(RUN, f"{argument}={short(given)}", f"give a dict: {argument}={{'stem.*': {example!r}}}")
    return dict(given or {})


def _check_reference(name: str | None, changed: dict) -> None:
    if changed:
        raise InputError(
            RUN,
            f"changes to {', '.join(map(repr, changed))} in fp32: FP32 is the reference",
            "run another precision; layers={'*': 'fp32', ...} leaves most of it in FP32",
        )
    if name not in (None, FP32):
        raise InputError(RUN, f"name={name!r} for fp32, the reference, whose name is 'fp32'", "leave name out")


def run(flow, step: Step, progress) -> list[Run]:
    """The Runs of a step: the new one last, FP32 before it where the workflow has none yet."""
    step.check(flow)
    simulates = step.precision.name != "fp32"
    first = "fp32" not in flow.runs or not simulates
    stages = first + simulates * (3 + len(step.methods))  # calibrating, comparing, evaluating
    with shown(step.title, progress, stages) as report:
        found = [_reference(flow, report)] if first else []
        reference = found[0] if found else flow.runs["fp32"]
        if simulates:
            found.append(_simulate(flow, step, reference.score, report))
    return found


def one_layer(run: Run, layer: str) -> str:
    """The layer of a run that a name or a glob means."""
    if run.sim is None:
        raise InputError("look at layers", f"run {run.name!r}, which has no simulation", "name another run")
    found = sorted(selection.layers((group.layer for group in run.sim.groups), layer, "look at a layer"))
    if len(found) != 1:
        received = f"{short(layer)}, which {len(found)} layers match"
        raise InputError("look at a layer", received, f"name one: {found[0]!r}")
    return found[0]


def profile(flow, run: Run, progress, layers=None) -> dict:
    """Layers' values (of all by default), from the batches that layers are compared on."""
    if run.sim is None:
        raise InputError("look at layers", f"run {run.name!r}, which has no simulation", "name another run")
    if flow.model is None:
        raise InputError(
            "look at layers",
            "a workflow from a file, without its data",
            "load it with qnb.load(path, model=..., calibration=..., evaluate=...)",
        )
    layers = [layers] if isinstance(layers, str) else layers
    with shown(f"reading the layers of {run.name}", progress, 1) as report:
        ticks = Ticks(report, f"reading the layers of {run.name}")
        try:
            return profile_layers(run.sim, comparison_batches(flow), layers, progress=ticks.progress, watch=ticks.watch)
        finally:
            run.sim.drop_cache()


def _reference(flow, report) -> Run:
    start = time.perf_counter()
    model = ReferenceModel(flow.captured, flow.captured.module)
    sim = QuantSim(flow.captured, precision="fp32", target=flow.target)
    ticks = Ticks(report, "evaluating fp32")
    score = score_of(flow.evaluate, model, "fp32", ticks.forward, flow.seed)
    flow._forwards = ticks.done  # how many forward passes an evaluation takes
    return Run(
        "fp32",
        "fp32",
        score,
        Verdict(REFERENCE, "what the others are compared with"),
        cost(sim),
        model_bytes(sim),
        activation_bytes(sim),
        settings=settings_of(flow, "", {}),
        seconds=time.perf_counter() - start,
    )


def _simulate(flow, step: Step, reference: Score, report) -> Run:
    start = time.perf_counter()
    sim = QuantSim(flow.captured, precision=step.precision, target=flow.target)
    _give(sim, step, flow.batches, report)
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
