"""A simulation measured in full: layers against FP32, the metric, the verdict, its cost. Makes a Run of it."""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING, Any

from qnb.measures import Score, activation_bytes, compare_layers, cost, model_bytes
from qnb.measures.clipping import counted, sparse
from qnb.measures.layers.float16 import Float16Watch
from qnb.measures.layers.outputs import output_db
from qnb.measures.metrics.evaluation import score_of
from qnb.progress import Report
from qnb.workflow import settings
from qnb.workflow.diagnosis.samples import without
from qnb.workflow.jobs.stage_progress import Ticks
from qnb.workflow.run import Run
from qnb.workflow.verdict import judge, judge_control

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim
    from qnb.workflow.workflow import Workflow

COMPARED_BATCHES = 8
"""Layers are compared on the first calibration batches, this many at most."""


def measured(
    flow: Workflow,
    sim: QuantSim,
    name: str,
    reference: Score,
    settings: dict[str, Any],
    report: Report,
    start: float,
    **more: Any,
) -> Run:
    """The Run of a calibrated sim.

    Args:
        reference: FP32's score.
        settings: what reproduces the numbers, see `settings_of`.
        start: when the step began, ``time.perf_counter()``.
        more: other fields of the Run.
    """
    precision = sim.precision.name
    float16 = Float16Watch() if precision == "fp16" else None
    ticks = Ticks(report, f"comparing {name}", also=float16)
    batches = without(comparison_batches(flow), settings.get("leave_out", ()))
    table = compare_layers(sim, batches, watch=ticks.watch, progress=ticks.progress)
    ticks = Ticks(report, f"evaluating {name}", flow.evaluation_forwards)
    with counted(sim, **sparse(flow.evaluation_forwards)) as clipping:
        score = score_of(flow.evaluate, sim, name, ticks.forward, flow.seed)
    clipped = clipping.table()
    drop, verdict = judge(reference, score, flow.tolerance)
    at_output = output_db(sim, table)
    if precision == "w16a16" and not settings.get("layers"):
        verdict = judge_control(drop, verdict, table, at_output)
    sim.drop_cache()
    return Run(
        name,
        precision,
        score,
        verdict,
        cost(sim),
        model_bytes(sim),
        activation_bytes(sim),
        drop=drop,
        comparison=table,
        sim=sim,
        output_sqnr_db=at_output,
        float16=float16.table() if float16 else None,
        clipping=clipped if len(clipped) else None,
        settings=settings,
        seconds=time.perf_counter() - start,
        **more,
    )


def comparison_batches(flow: Workflow) -> list:
    return list(islice(iter(flow.batches), COMPARED_BATCHES))


def settings_of(flow: Workflow, method: str, options: dict) -> dict[str, Any]:
    """Seed, target, calibration method, tolerance, versions, and the fingerprint of the data (FP32 has none)."""
    return {
        "seed": flow.seed,
        "target": flow.target.name,
        "calibration_method": method,
        "options": options,
        "tolerance": flow.tolerance,
        **({"data": flow.data_fingerprint} if method else {}),
        **settings.versions(),
    }
