"""The runs of a workflow side by side: metric, size and cost, and error by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from qnb import columns
from qnb.errors import InputError
from qnb.workflow.documents.display import Comparison
from qnb.workflow.names import FP32
from qnb.workflow.run import Run

if TYPE_CHECKING:
    from qnb.workflow.workflow import Workflow


def summary(flow: Workflow) -> pd.DataFrame:
    """One row per run, columns `qnb.columns.SUMMARY`; sizes in bytes, costs for one sample."""
    runs = sorted(flow.runs.values(), key=lambda run: run.name != FP32)
    rows = [(*_row(run), *_as_file(flow, run.name)) for run in runs]
    return pd.DataFrame(rows, columns=list(columns.SUMMARY)).astype({"n": "Int64", "file_bytes": "Int64"})


def _row(run: Run) -> tuple:
    worst = run.weakest_layer or ("", float("nan"))
    drop = run.drop.value if run.drop else 0.0
    costs = int(run.cost.macs.sum()), int(run.cost.bops.sum())
    measured = run.score.value, *run.score.interval(), run.score.n or pd.NA, drop, run.verdict.status
    return run.name, run.precision, *measured, *worst, run.size_bytes, run.activation_bytes, *costs


def _as_file(flow: Workflow, name: str) -> tuple:
    """(bytes of the file, latency in ms) as far as they are known. `Workflow.deploy` times runs one by one, which
    does not compare."""
    found, deployed = flow.performance.get(name), flow.deployments.get(name)
    if found is None:
        return deployed.file_bytes if deployed else pd.NA, float("nan")
    return found.file_bytes, found.latency.median_ms if found.latency else float("nan")


def cost_row(flow: Workflow, run: Run) -> dict[str, Any]:
    """What a run costs: sizes in bytes, operations for one sample, latency in ms where it is known."""
    file_bytes, latency_ms = _as_file(flow, run.name)
    return {
        "size_bytes": run.size_bytes,
        "activation_bytes": run.activation_bytes,
        "macs": int(run.cost.macs.sum()),
        "bops": int(run.cost.bops.sum()),
        "file_bytes": file_bytes,
        "latency_ms": latency_ms,
    }


def compare(flow: Workflow, *runs: str) -> Comparison:
    """Per layer, FP32 against QuantSim, of one or several runs: shows as chart and table.

    Args:
        runs: names; by default the last run.

    Returns:
        A `Comparison`: ``.table`` is the DataFrame, ``.chart()`` the figure.
    """
    operation, names = "Workflow.compare", runs or tuple(flow.compared[-1:])
    if not names:
        raise InputError(operation, "no run to compare", "run a step first: flow.run('w8a16')")
    frames = {name: flow[name].comparison for name in names}
    if without := [name for name, frame in frames.items() if frame is None]:
        raise InputError(operation, f"{without[0]!r}, which is the reference itself", "name another run")
    return Comparison(frames)  # pyright: ignore[reportArgumentType]
