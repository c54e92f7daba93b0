"""One step of the workflow: place, calibrate, evaluate, compare. Gives Runs back; changes nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch

from qnb.errors import Cancelled, InputError
from qnb.measures import Score, activation_bytes, compare_layers, cost, model_bytes
from qnb.measures.evaluation import score_of
from qnb.measures.float16 import Float16Watch
from qnb.measures.outputs import output_db
from qnb.measures.profile import profile_layers
from qnb.numerics import Precision
from qnb.ranges import RULES
from qnb.sim import QuantSim
from qnb.sim.graph_model import ReferenceModel
from qnb.workflow import settings
from qnb.workflow.progress import Line
from qnb.workflow.run import Run
from qnb.workflow.verdict import REFERENCE, Verdict, judge, judge_control

COMPARED_BATCHES = 8
"""Layers are compared on the first calibration batches, this many at most."""


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
    line = None if progress else Line()
    report = progress or line
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(flow.seed)
        try:
            found = [] if "fp32" in flow.runs and step.precision.name != "fp32" else [_reference(flow, report)]
            reference = found[0] if found else flow.runs["fp32"]
            if step.precision.name != "fp32":
                found.append(_simulate(flow, step, reference.score, report))
        except KeyboardInterrupt as error:
            raise Cancelled(step.title, "interrupted; everything is as it was") from error
        finally:
            if line is not None:
                line.close()
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


def comparison_batches(flow):
    return list(islice(iter(flow.calibration), COMPARED_BATCHES))


def _reference(flow, report) -> Run:
    start = time.perf_counter()
    model = ReferenceModel(flow.captured, flow.captured.module)
    sim = QuantSim(flow.captured, precision="fp32", target=flow.target)
    ticks = Ticks(report, "evaluating fp32")
    score = score_of(flow.evaluate, model, "fp32", ticks.forward)
    flow._forwards = ticks.done  # how many forward passes an evaluation takes
    return Run("fp32", "fp32", score, Verdict(REFERENCE, "what the others are compared with"), cost(sim),
               model_bytes(sim), activation_bytes(sim),
               settings=_settings(flow, "", {}), seconds=time.perf_counter() - start)  # fmt: skip


def _simulate(flow, step: Step, reference: Score, report) -> Run:
    start = time.perf_counter()
    precision, name = step.precision, step.name
    sim = QuantSim(flow.captured, precision=precision, target=flow.target)
    _give(sim, step, flow.calibration, report)
    float16 = Float16Watch() if precision.name == "fp16" else None
    ticks = Ticks(report, f"comparing {name}", also=float16)
    table = compare_layers(sim, comparison_batches(flow), watch=ticks.watch, progress=ticks.progress)
    ticks = Ticks(report, f"evaluating {name}", flow._forwards)
    score = score_of(flow.evaluate, sim, name, ticks.forward)
    drop, verdict = judge(reference, score, flow.tolerance)
    at_output = output_db(sim, table)
    if precision.name == "w16a16" and not step.layers:
        verdict = judge_control(drop, verdict, table, at_output)
    sim.drop_cache()
    changes = {"layers": {k: v.name for k, v in step.layers.items()}, "methods": step.methods}
    return Run(
        name, precision.name, score, verdict, cost(sim), model_bytes(sim), activation_bytes(sim), drop=drop,
        comparison=table, sim=sim,
        output_sqnr_db=at_output, float16=float16.table() if float16 else None,
        settings=_settings(flow, step.method, step.options) | changes, seconds=time.perf_counter() - start,
    )  # fmt: skip


def _give(sim: QuantSim, step: Step, calibration, report) -> None:
    """The sim its precisions and encodings, layers' own ones last."""
    for pattern, other in step.layers.items():
        sim.set_precision(pattern, other)
    sim.calibrate(calibration, step.method, Ticks(report, f"calibrating {step.name}").progress, **step.options)
    for pattern, rule in step.methods.items():
        ticks = Ticks(report, f"calibrating {pattern} by {rule}")
        sim.calibrate(calibration, rule, ticks.progress, layers=pattern)


class Ticks:
    """Reports one stage of a step; called in each batch too, so that it can be cancelled there.

    Args:
        total: where it is known beforehand.
        also: another watcher of layers.
    """

    def __init__(self, report, message: str, total: int | None = None, also=None):
        self.report = report or (lambda *_: None)
        self.message, self.total, self.also, self.done = message, total, also, 0

    def progress(self, done: int, total: int | None, _: str = "") -> None:
        self.done, self.total = done, total
        self.report(done, total, self.message)

    def watch(self, values) -> None:
        self.report(self.done, self.total, self.message)
        if self.also is not None:
            self.also(values)

    def forward(self, calls: int) -> None:
        """Before each forward pass of an evaluation."""
        self.done = calls
        known = self.total is not None and calls <= self.total
        self.report(calls - 1 if known else calls, self.total if known else None, self.message)


def _settings(flow, method: str, options: dict) -> dict[str, Any]:
    return {"seed": flow.seed, "target": flow.target.name, "method": method, "options": options,
            "tolerance": flow.tolerance, "data": settings.fingerprint(flow.calibration),
            **settings.versions()}  # fmt: skip
