"""The workflow's main step: place quantizers, calibrate, evaluate, compare with FP32."""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qnb.arguments import short, whole
from qnb.errors import InputError
from qnb.measures import Score, activation_bytes, cost, model_bytes
from qnb.measures.metrics.evaluation import score_of
from qnb.numerics import Precision
from qnb.progress import Report
from qnb.ranges import RULES
from qnb.sim import QuantSim
from qnb.sim.graph_model import ReferenceModel
from qnb.sim.limits import refuse_unsupported
from qnb.workflow.diagnosis.samples import without
from qnb.workflow.jobs.progress import shown
from qnb.workflow.jobs.runner import prepared_by
from qnb.workflow.jobs.stage_progress import Ticks
from qnb.workflow.measured_run import measured, settings_of
from qnb.workflow.names import FP32, check_name
from qnb.workflow.results import check_has_data, keep_run
from qnb.workflow.run import Run
from qnb.workflow.settings import Fingerprinted, fingerprint
from qnb.workflow.verdict import REFERENCE, Verdict

if TYPE_CHECKING:
    from qnb.workflow.workflow import Workflow

RUN = "flow.run"


@dataclass(frozen=True)
class Step:
    """What a run is asked for.

    Args:
        layers: layer names or globs to the precision they get instead.
        method, options: calibration method of activations.
        methods: layer names or globs to the calibration method they get instead.
        leave_out: numbers of calibration samples that take no part.
    """

    precision: Precision
    name: str
    layers: dict[str, Precision]
    method: str
    methods: dict[str, str]
    leave_out: tuple[int, ...]
    options: dict[str, Any]

    @staticmethod
    def of(
        flow: Workflow,
        precision: str | Precision,
        *,
        name: str | None = None,
        layers: Mapping[str, str] | None = None,
        calibration_method: str | Mapping[str, str] | None = None,
        leave_out: Iterable[int] = (),
        **options: Any,
    ) -> Step:
        """From what `run` takes; what is wrong with it is an error, before any work: it captures the model, no more."""
        check_has_data(flow, RUN)
        precision = Precision.parse(precision)
        parsed = {pattern: Precision.parse(other) for pattern, other in _by_layer("layers", layers, "w8a16").items()}
        method, methods = calibration_methods(calibration_method, flow.calibration_method)
        taken = [name for name in inspect.signature(flow.run).parameters if name != "options"]
        RULES[method].check(options, RUN, beside=taken, argument="calibration_method")
        if name is not None:
            check_name(name, precision.name, RUN)
        if precision.name == FP32:
            _check_reference(name, parsed or methods)
        changed = len({*parsed, *methods})
        name = name or (f"{precision.name}+{changed}" if changed else precision.name)
        step = Step(precision, name, parsed, method, methods, _numbers(leave_out), options)
        step._check_layers(flow)
        return step

    def _check_layers(self, flow: Workflow) -> None:
        """Whether the model has the layers, and the target runs them so."""
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


def calibration_methods(asked: str | Mapping[str, str] | None, usual: str) -> tuple[str, dict[str, str]]:
    """(method, layer names or globs to another one): ``"*"`` in a dict stands for all that it does not name.

    >>> calibration_methods({"*": "mse", "stem.*": "minmax"}, "minmax"), calibration_methods(None, "minmax")
    (('mse', {'stem.*': 'minmax'}), ('minmax', {}))
    """
    by_layer = {"*": usual if asked is None else asked} if isinstance(asked, str | None) else asked
    found = _by_layer("calibration_method", by_layer, "mse")
    for rule in found.values():
        RULES[rule]
    return found.pop("*", usual), found


@prepared_by(Step.of)
def run(
    flow: Workflow,
    precision: str | Precision,
    *,
    name: str | None = None,
    layers: Mapping[str, str] | None = None,
    calibration_method: str | Mapping[str, str] | None = None,
    leave_out: Iterable[int] = (),
    progress: Report | None = None,
    **options: Any,
) -> Run:
    """Simulate a precision: calibrate, evaluate, compare with FP32 layer by layer.

    Args:
        precision: ``"fp32"``, ``"fp16"``, ``"w16a16"``, ``"w8a16"``, ``"w4a8"`` ... or a `qnb.Precision`.
        name: to keep it under; the precision's name by default.
        layers: layers (names or globs) that get another precision: ``{"classifier": "w8a16"}``.
        calibration_method: in place of the workflow's own: one for all, ``"mse"``, or by layer (names or globs),
            ``{"stem.*": "percentile"}``, where ``"*"`` stands for all others. ``options`` are its options.
        leave_out: numbers of samples, counted over all calibration batches from 0, that ranges are not to follow.
        progress: ``progress(done, total, message)``; raising `qnb.errors.Cancelled` in it cancels the step.

    Returns:
        The run; it is kept under its name, in place of an earlier one.
    """
    with flow.jobs.alone(RUN):
        given = {"name": name, "layers": layers, "calibration_method": calibration_method, "leave_out": leave_out}
        step = Step.of(flow, precision, **given, **options)
    with flow.jobs.alone(step.title):
        found = _runs(flow, step, progress)  # FP32 first, where it was needed
        flow.runs = flow.runs | {run.name: run for run in found}
        made = keep_run(flow, found[-1])
    flow.changed.emit()
    return made


def _numbers(samples: Iterable[int]) -> tuple[int, ...]:
    """Numbers of samples, in order."""
    samples = [samples] if isinstance(samples, int) else list(samples)
    for number in samples:
        whole(RUN, "leave_out", number, 0)
    return tuple(sorted(set(samples)))


def _by_layer(argument: str, given: Mapping[str, Any] | None, example: str) -> dict[str, Any]:
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


def _runs(flow: Workflow, step: Step, progress: Report | None) -> list[Run]:
    """The Runs of a step: the new one last, FP32 before it where the workflow has none yet."""
    simulates = step.precision.name != "fp32"
    first = "fp32" not in flow.runs or not simulates
    stages = first + simulates * (3 + len(step.methods))  # calibrating, comparing, evaluating
    with shown(step.title, progress, stages) as report:
        found = [_reference(flow, report)] if first else []
        reference = found[0] if found else flow.runs["fp32"]
        if simulates:
            found.append(_simulate(flow, step, reference.score, report))
    return found


def _reference(flow: Workflow, report: Report) -> Run:
    start = time.perf_counter()
    model = ReferenceModel(flow.captured, flow.captured.module)
    sim = QuantSim(flow.captured, precision="fp32", target=flow.target)
    ticks = Ticks(report, "evaluating fp32")
    score = score_of(flow.evaluate, model, "fp32", ticks.forward, flow.seed)
    flow.evaluation_forwards = ticks.done  # how many forward passes an evaluation takes
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


def _simulate(flow: Workflow, step: Step, reference: Score, report: Report) -> Run:
    start = time.perf_counter()
    sim = QuantSim(flow.captured, precision=step.precision, target=flow.target)
    _give(flow, sim, step, report)
    changes = {"layers": {k: v.name for k, v in step.layers.items()}, "calibration_methods": step.methods}
    changes |= {"leave_out": list(step.leave_out)} if step.leave_out else {}
    settings = settings_of(flow, step.method, step.options) | changes
    return measured(flow, sim, step.name, reference, settings, report, start)


def _give(flow: Workflow, sim: QuantSim, step: Step, report: Report) -> None:
    """The sim its precisions and encodings, layers' own ones last; the workflow the fingerprint of its data."""
    for pattern, other in step.layers.items():
        sim.set_precision(pattern, other)
    data, ticks = Fingerprinted(flow), Ticks(report, f"calibrating {step.name}")
    data = without(data, step.leave_out) if step.leave_out else data
    sim.calibrate(data, step.method, ticks.progress, **step.options)
    if not flow.data_fingerprint:  # floating-point formats are calibrated without data
        flow.data_fingerprint = fingerprint(flow.batches, ticks.progress)
    for pattern, rule in step.methods.items():
        ticks = Ticks(report, f"calibrating {pattern} by {rule}")
        sim.calibrate(data, rule, ticks.progress, layers=pattern)
