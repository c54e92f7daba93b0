"""All runs at a glance: metric against size or latency."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from qnb.charts.axes import AXES, left_out
from qnb.charts.frames import numbers, require, small, value
from qnb.charts.labels import positions
from qnb.charts.theme import BAD, FP32, GREEN, GREY, ORANGE, empty, figure, plain
from qnb.columns import BEST, CONTROL
from qnb.errors import InputError
from qnb.text import metric_text

STATES = {
    "reference": ("FP32", "square", FP32),
    "pass": ("pass", "circle", GREEN),
    "unclear": ("unclear", "diamond", ORANGE),
    "fail": ("fail", "x", BAD),
}
"""Verdict: what it is called, its symbol, its colour."""
NEEDED = ("run", "metric", "low", "high", "n", "drop", "verdict")
DODGE = 0.016
"""Distance of runs of the same size, as a share of the axis: else their intervals would cover each other."""


def summary(
    summary: pd.DataFrame, *, tolerance: float | None = None, selected: str | None = None, x: str = "size_bytes"
) -> go.Figure:
    """Metric with its interval against size or latency, a labelled point per run; symbol and colour show the verdict.

    Args:
        summary: what `Workflow.summary` returns, columns `qnb.columns.SUMMARY`; ``low`` and ``high`` may be
            NaN, runs whose metric is NaN are left out.
        tolerance: how much may be lost, in the metric's units: a band from FP32's metric.
        selected: this run's point is filled and the others are hollow; all are filled without.
        x: ``"size_bytes"`` of the model, ``"file_bytes"`` or ``"latency_ms"``, which `Workflow.measure` finds; runs
            without a value are left out, and the subtitle names them.

    Raises:
        InputError: columns are missing, or ``x`` is none of these.

    >>> import pandas as pd
    >>> rows = [("fp32", .97, .96, .98, 500, 0.0, "reference", 4000), ("w8a8", .97, .96, .98, 500, 0.0, "pass", 1000)]
    >>> frame = pd.DataFrame(rows, columns=["run", "metric", "low", "high", "n", "drop", "verdict", "size_bytes"])
    """
    if x not in AXES:
        raise InputError("charts.summary", f"x={x!r}", f"use one of {', '.join(map(repr, AXES))}")
    require(summary, (*NEEDED, x), "summary", "what flow.summary() returns")
    axis = AXES[x]
    measured = summary[np.isfinite(numbers(summary["metric"]))]
    frame = measured[np.isfinite(numbers(measured[x]))].reset_index(drop=True)
    if frame.empty:
        return empty(axis.empty if len(measured) else AXES["size_bytes"].empty)
    unit, by = axis.unit(numbers(frame[x]).max())
    x_of, metric = numbers(frame[x]) / by, numbers(frame["metric"])
    low, high = (np.where(np.isfinite(v), v, metric) for v in (numbers(frame["low"]), numbers(frame["high"])))
    xrange = _padded(x_of, 0.2)
    x_of = _dodged(x_of, DODGE * (xrange[1] - xrange[0]))
    reference = _reference(frame)
    allowed = None if reference is None or tolerance is None else reference - _sign(frame, reference) * tolerance
    yrange = _padded([*low, *high, *([] if allowed is None else [allowed])], 0.12)
    names = frame["run"].astype(str).tolist()
    where = np.array(positions(x_of, metric, names, xrange, yrange, low.tolist(), high.tolist(), reference))
    chart = figure(_title(frame, x), f"{axis.name} ({unit})", "metric")
    if missing := left_out(measured, frame, axis):
        chart.update_layout(title_subtitle_text=missing)
    _band(chart, reference, allowed)
    for state, (name, symbol, colour) in STATES.items():
        at = np.flatnonzero(frame["verdict"] == state)
        if at.size:
            error = {
                "array": small((high - metric)[at]),
                "arrayminus": small((metric - low)[at]),
                "width": 4,
                "thickness": 1.3,
                "color": colour,
            }
            chart.add_trace(
                go.Scatter(
                    x=small(x_of[at]),
                    y=small(metric[at]),
                    mode="markers+text",
                    name=name,
                    text=[plain(names[i]) for i in at],
                    textposition=where[at].tolist(),
                    textfont={"color": GREY, "size": 12},
                    error_y=error,
                    marker=_marker(symbol, colour, [selected in (None, names[i]) for i in at]),
                    hovertext=[_hover(frame.loc[i], x) for i in at],
                    hoverinfo="text",
                    cliponaxis=False,
                )
            )
    chart.update_xaxes(range=small(xrange))
    return chart.update_yaxes(range=small(yrange))


def _marker(symbol: str, colour: str, filled: list[bool]) -> dict:
    """A cross has no hollow form: an unselected one is thin."""
    if all(filled):
        return {"symbol": symbol, "size": 11, "color": colour}
    hollow = "x-thin-open" if symbol == "x" else f"{symbol}-open"
    return {
        "symbol": [symbol if f else hollow for f in filled],
        "size": [13 if f else 10 for f in filled],
        "color": colour,
        "line": {"width": 2, "color": colour},
    }


def _padded(values, share: float) -> tuple[float, float]:
    low, high = float(np.min(values)), float(np.max(values))
    pad = share * (high - low) or 0.1 * abs(high) or 1.0
    return low - pad, high + pad


def _dodged(x: np.ndarray, step: float) -> np.ndarray:
    """Points at the same place, or nearly, move apart, around it."""
    found, order = x.copy(), np.argsort(x, kind="stable")
    for same in np.split(order, np.flatnonzero(np.diff(x[order]) > step / 2) + 1):
        found[same] = x[same].mean() + step * (np.arange(same.size) - (same.size - 1) / 2)
    return found


def _reference(frame: pd.DataFrame) -> float | None:
    metric = numbers(frame["metric"])[(frame["verdict"] == "reference").to_numpy()]
    return float(metric[0]) if metric.size else None


def _sign(frame: pd.DataFrame, reference: float) -> float:
    """1 where more is better, -1 where less is: a drop says how much worse a run is."""
    return -1.0 if np.nansum((reference - numbers(frame["metric"])) * numbers(frame["drop"])) < 0 else 1.0


def _band(chart: go.Figure, reference: float | None, allowed: float | None) -> None:
    if reference is None:
        return
    if allowed is not None:
        name = f"tolerance {value(abs(reference - allowed))}"
        chart.add_hrect(
            *sorted((reference, allowed)),
            fillcolor=GREEN,
            opacity=0.13,
            line_width=0,
            layer="below",
            name=name,
            showlegend=True,
        )
    chart.add_hline(reference, line={"color": FP32, "dash": "dot", "width": 1.5})


def _hover(row: pd.Series, x: str) -> str:
    interval = f" ({row.low:.4g} to {row.high:.4g})" if math.isfinite(row.low) and math.isfinite(row.high) else ""
    lines = [f"<b>{plain(row.run)}</b>, {STATES[row.verdict][0]}", f"metric {metric_text(row.metric)}{interval}"]
    lines += [] if pd.isna(row.n) else [f"n = {int(row.n):,}"]
    lines += [] if row.verdict == "reference" else [f"drop {row['drop']:.2g}"]
    lines.append(AXES[x].text(row[x]))
    if row.get("weakest_layer"):
        lines.append(f"weakest layer {plain(row.weakest_layer)}")
    return "<br>".join(lines)


def _title(frame: pd.DataFrame, x: str) -> str:
    runs = frame[frame["verdict"] != "reference"]
    if runs.empty:
        return "Only FP32 so far: run a step to compare"
    kept = _best_first(runs[runs["verdict"] == "pass"], x)
    if not kept.empty:
        best = kept.iloc[0]
        reference = frame[frame["verdict"] == "reference"][x]
        if x == "latency_ms" and len(reference) and best[x] >= reference.iloc[0]:
            return f"No run within tolerance is faster than FP32: {plain(best.run)}, {AXES[x].text(best[x])}"
        said = f"{AXES[x].best} within tolerance: {plain(best.run)}, {AXES[x].text(best[x])}"
        return f"{said}, drop {value(best['drop'])}"
    if (runs["verdict"] == "unclear").any():
        return "No run is clearly within tolerance: too close to call"
    return "No run is within tolerance"


def _best_first(kept: pd.DataFrame, x: str) -> pd.DataFrame:
    """By ``x``, then as `qnb.columns.BEST` says; the baseline comes last."""
    last = kept["precision"] == CONTROL if "precision" in kept else False
    by = [x, *(c for c in BEST if c in kept and c != x)]
    return kept.assign(_last=last).sort_values(["_last", *by], kind="stable")
