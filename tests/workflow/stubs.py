"""Workflows whose runs were never computed: plain values, quick to make, to see what is said of them."""

import math
from functools import cache

import pandas as pd
import torch

import qnb
from qnb.measures.metrics.score import Drop
from qnb.runtimes import differences
from qnb.runtimes.wiring import in_a_row
from qnb.workflow.check import Check, Issue
from qnb.workflow.deployment.result import DISAGREES, MISSING, REFUSED, Deployment, RuntimeResult
from qnb.workflow.precisions import bits
from qnb.workflow.run import Run
from qnb.workflow.verdict import Verdict

TOLERANCE, N = 0.01, 500
DROPS = {"pass": (0.002, -0.003, 0.007), "unclear": (0.004, -0.008, 0.016), "fail": (0.2, 0.15, 0.25)}
"""Value and interval of a drop that has such a verdict at this tolerance."""
CLOSE = (0.0099, -0.001, 0.021)
STATES = tuple(DROPS)
PAIRED, SEPARATE, NO_N = "paired", "separate", "no n"
"""What is known of the samples."""


def stub_flow(*runs, target="htp-v75", checked="pass", model=True, **more):
    """A workflow with FP32 and these runs."""
    flow = qnb.Workflow(
        torch.nn.Linear(2, 2).eval(), [torch.zeros(1, 2)], lambda model: 1.0, tolerance=TOLERANCE, target=target, **more
    )
    flow.check_result = stub_check(checked)
    if runs:
        reference = Run("fp32", "fp32", qnb.Score(0.9), Verdict("reference", "the reference"), _cost(32, 32), 4_000_000)
        flow.runs = {run.name: run for run in (reference, *runs)}
    if not model:
        flow.model = None
    return flow


def stub_run(
    name,
    state,
    precision=None,
    *,
    drop=None,
    size=None,
    db=None,
    samples=PAIRED,
    overflow=(),
    auto=False,
    tried="equalize",
    known=True,
    **settings,
):
    """A run with this verdict.

    Args:
        precision: its name by default.
        drop: value, low, high; by default one that fits the verdict.
        db: SQNR at the output; by default one that suits the precision.
        auto: recovered by the recipe, which tried ``tried``.
        known: whether its layers were compared with FP32.
        settings: ``layers``, ``recover``, ``calibration_method`` ...; ``from`` as ``base``.
    """
    precision = precision or name
    weights, activations = bits(precision)
    value, low, high = drop or DROPS[state]
    if samples == NO_N:
        low = high = math.nan
    db = (80.0 if weights == activations == 16 else 5.0 * weights) if db is None else db
    settings = {"method": "minmax", **settings}
    if "base" in settings:
        settings["from"] = settings.pop("base")
    attempts = pd.DataFrame({"tried": ["nothing", tried]}) if auto else None
    columns = ["layer", "overflow_fraction", "underflow_fraction"]
    float16 = pd.DataFrame([(layer, 0.1, 0.0) for layer in overflow], columns=columns) if overflow else None
    return Run(
        name,
        precision,
        qnb.Score(0.9 - value, None if samples == NO_N else N),
        Verdict(state, f"loses {value:g} ({state})"),
        _cost(weights, activations),
        size if size is not None else 125_000 * weights,
        drop=Drop(value, low, high, samples == PAIRED, 0.1),
        comparison=_layers(db) if known else None,
        output_sqnr_db=db,
        float16=float16,
        attempts=attempts,
        settings=settings,
    )


@cache
def _layers(db: float) -> pd.DataFrame:
    rows = [("stem.conv", db + 10, db + 10), ("head", db, db + 3)]
    return pd.DataFrame(rows, columns=["layer", "sqnr_db", "own_sqnr_db"])


@cache
def _cost(weights: int, activations: int) -> pd.DataFrame:
    return pd.DataFrame({"macs": [1000], "bops": [1000 * weights * activations]})


def stub_check(state):
    if state is None:
        return None
    found = (Issue("bad", "the captured graph differs from the model (20.0 dB)"),) if state == "fail" else ()
    return Check("Net", {"layers": "2 with 12 parameters"}, found, pd.DataFrame(), math.inf)


def deployed(flow, name, state="agrees"):
    """As if `Workflow.deploy` had been there: it agrees, differs (in the metric), disagrees (with the simulation), is
    refused, or nowhere."""
    run, title = flow.runs[name], "HTP v75 (sm8650, emulated)"
    rows = [("stem.conv", "conv2d", 58.0), ("head", "softmax", 60.0), ("output", "output", 60.0)]
    rows = rows if state != "disagrees" else [rows[0], ("head", "softmax", 3.1), ("output", "output", -36.0)]
    fidelity = pd.DataFrame(rows, columns=["layer", "op", "sqnr_db"])
    on = {
        "nowhere": RuntimeResult("htp", title, MISSING, "onnxruntime-qnn: install it"),
        "refused": RuntimeResult(
            "htp", title, REFUSED, "the SoC does not take head (Softmax). Choose another precision"
        ),
        "disagrees": RuntimeResult(
            "htp",
            title,
            DISAGREES,
            fidelity=fidelity,
            score=run.score,
            drop=_drop(0.0),
            differences=differences.find(fidelity, in_a_row(["stem.conv", "head"], 1, 8)),
        ),
    }.get(state) or RuntimeResult(
        "htp", title, fidelity=fidelity, score=run.score, drop=_drop(0.5 if state == "differs" else 0.0)
    )
    files = pd.DataFrame([(f"{name}.onnx", "ONNX", 1000)], columns=["file", "what", "size_bytes"])
    flow.deployments = flow.deployments | {
        name: Deployment(
            name, run.precision, flow.target.name, "sm8650", "out", files, (on,), "qairt-converter ...", qnb.Score(0.9)
        )
    }
    return flow


def _drop(value):
    return Drop(value, math.nan, math.nan, False, math.nan)
