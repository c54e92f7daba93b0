"""One step of the workflow: place, calibrate, evaluate, compare. Gives Runs back; changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import islice
from typing import Any

import torch

from qnb.errors import Cancelled
from qnb.measures import Score, compare_layers, cost, model_bytes
from qnb.measures.float16 import Float16Watch
from qnb.numerics import FloatGrid, Precision
from qnb.sim import QuantSim
from qnb.sim.graph_model import ReferenceModel
from qnb.workflow import settings
from qnb.workflow.evaluation import score_of
from qnb.workflow.progress import Line
from qnb.workflow.run import Run
from qnb.workflow.verdict import REFERENCE, Verdict, judge, judge_control

COMPARED_BATCHES = 8
"""Layers are compared on the first calibration batches, this many at most."""


def run(flow, precision, name: str | None, layers: dict[str, str], method: str, options: dict, progress) -> list[Run]:
    """The Runs of a step: the new one last, FP32 before it where the workflow has none yet."""
    precision = Precision.parse(precision)
    parsed = {pattern: Precision.parse(other) for pattern, other in layers.items()}
    name = name or (precision.name if not layers else f"{precision.name}+{len(layers)}")
    line = None if progress else Line()
    report = progress or line
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(flow.seed)
        try:
            found = [] if "fp32" in flow.runs and precision.name != "fp32" else [_reference(flow, report)]
            reference = found[0] if found else flow.runs["fp32"]
            if precision.name != "fp32":
                found.append(_simulate(flow, precision, name, parsed, method, options, reference.score, report))
        except KeyboardInterrupt as error:
            raise Cancelled(f"flow.run({name!r})", "interrupted; everything is as it was") from error
        finally:
            if line is not None:
                line.close()
    return found


def comparison_batches(flow):
    return list(islice(iter(flow.calibration), COMPARED_BATCHES))


def _reference(flow, report) -> Run:
    start = time.perf_counter()
    model = ReferenceModel(flow.captured, flow.captured.module)
    sim = QuantSim(flow.captured, precision="fp32", target=flow.target)
    score = score_of(flow.evaluate, model, "fp32", _ticker(report, "evaluating fp32"))
    return Run("fp32", "fp32", score, Verdict(REFERENCE, "what the others are compared with"), cost(sim),
               model_bytes(sim), settings=_settings(flow, "", {}), seconds=time.perf_counter() - start)  # fmt: skip


def _simulate(flow, precision: Precision, name: str, layers: dict[str, Precision], method: str, options: dict,
              reference: Score, report) -> Run:  # fmt: skip
    start = time.perf_counter()
    sim = QuantSim(flow.captured, precision=precision, target=flow.target)
    for pattern, other in layers.items():
        sim.set_precision(pattern, other)
    sim.calibrate(flow.calibration, method, _named(report, f"calibrating {name}"), **options)
    float16 = Float16Watch() if isinstance(precision.activations, FloatGrid) and precision.name == "fp16" else None
    table = compare_layers(sim, comparison_batches(flow), watch=float16, progress=_named(report, f"comparing {name}"))
    score = score_of(flow.evaluate, sim, name, _ticker(report, f"evaluating {name}"))
    drop, verdict = judge(reference, score, flow.tolerance)
    output_db = _output_db(sim, table)
    if precision.name == "w16a16" and not layers:
        verdict = judge_control(drop, verdict, table, output_db)
    sim.drop_cache()
    return Run(
        name, precision.name, score, verdict, cost(sim), model_bytes(sim), drop=drop, comparison=table, sim=sim,
        output_sqnr_db=output_db, float16=float16.table() if float16 else None,
        settings=_settings(flow, method, options) | {"layers": {k: v.name for k, v in layers.items()}},
        seconds=time.perf_counter() - start,
    )  # fmt: skip


def _settings(flow, method: str, options: dict) -> dict[str, Any]:
    return {"seed": flow.seed, "target": flow.target.name, "method": method, "options": options,
            "tolerance": flow.tolerance, "data": settings.fingerprint(flow.calibration),
            **settings.versions()}  # fmt: skip


def _output_db(sim, table) -> float:
    """The lowest SQNR among the layers that the model's outputs come from."""
    keys = {g.output: g.layer for g in sim.groups}
    output = next(n for n in sim.captured.module.graph.nodes if n.op == "output")
    layers = []
    for node in output.all_input_nodes:
        while node.name not in keys and node.all_input_nodes:  # back through ops that only move values
            node = node.all_input_nodes[0]
        layers.append(keys.get(node.name))
    found = table[table.layer.isin([layer for layer in layers if layer])]
    return float(found.sqnr_db.min()) if len(found) else float("inf")


def _named(report, message: str) -> Callable[[int, int | None, str], None]:
    return lambda done, total, _="": report(done, total, message)


def _ticker(report, message: str) -> Callable[[int], None]:
    return lambda calls: report(calls, None, message)
