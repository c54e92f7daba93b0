"""QuantSim's error at one layer, in bins of its own."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from qnb.charts.distribution import ZERO
from qnb.charts.frames import numbers, require, small, value
from qnb.charts.theme import GREY, PURPLE, empty, figure, titled
from qnb.columns import ERRORS

SOURCE = "a table with columns qnb.columns.ERRORS, as flow.layer(run, layer).profile.errors"
HALF_STEPS = 8
"""Where the error is no larger than so many of them, the chart is as wide as a step at least."""


def error_histogram(
    errors: pd.DataFrame, *, layer: str = "", scale: float | None = None, log_y: bool = True
) -> go.Figure:
    """Counts of the error, QuantSim less FP32, with the half step that rounding alone may be off.

    What lies beyond half a step was inherited from the layers before, came from the weights, or was clipped.

    Args:
        errors: counts per bin, columns `qnb.columns.ERRORS`, bins side by side and of one width.
        layer: what the title calls it.
        scale: of the output's grid: the size of a step; None where there is none.
        log_y: counts on a logarithmic axis, where rare errors can be seen.

    Raises:
        InputError: columns are missing.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"bin_left": [-0.1, 0.0], "bin_right": [0.0, 0.1], "error": [3, 1]})
    >>> error_histogram(frame, layer="fc", scale=0.05).layout.title.text
    'fc: errors up to 0.1, 2 steps'
    """
    require(errors, ERRORS, "error_histogram", SOURCE)
    if errors.empty or not errors["error"].any():
        return empty("No errors to show: run flow.layer(run, layer) first.")
    left, right, count = (numbers(errors[c]) for c in ERRORS)
    full = np.flatnonzero(count)
    largest = max(-float(left[full[0]]), float(right[full[-1]]))
    chart = figure(_title(layer, largest, scale), "error (QuantSim − FP32)", "values per bin", 300)
    y = [*count, 0.0]
    chart.add_scatter(
        x0=float(left[0]),
        dx=float(right[-1] - left[0]) / len(left),
        y=small(np.maximum(y, ZERO) if log_y else y),
        mode="lines",
        name="error",
        fill="tozeroy",
        fillcolor="rgba(184,102,154,0.28)",
        line={"shape": "hv", "width": 1.4, "color": PURPLE},
        hovertemplate="%{x:.4g}: %{y:,.0f}<extra></extra>",
    )
    ends = [float(left[full[0]]), float(right[full[-1]])]
    half = 0.5 * scale if scale else math.nan
    if half <= HALF_STEPS * largest and largest <= HALF_STEPS * half:
        ends = [min(ends[0], -1.2 * half), max(ends[1], 1.2 * half)]
    for edge in (-half, half):
        if ends[0] < edge < ends[1]:
            chart.add_vline(edge, line={"color": GREY, "width": 1.2, "dash": "dash"})
    if half < ends[1]:
        word = {"text": "± half a step", "font": {"size": 11}, "showarrow": False}
        chart.add_annotation(x=half, y=1, yref="paper", yanchor="top", xanchor="left", **word)
    if log_y:
        reach = [math.log10(0.7), math.log10(2 * count.max())]
        chart.update_yaxes(type="log", dtick=1, exponentformat="power", range=reach)
    else:
        chart.update_yaxes(range=[0, 1.12 * float(count.max())])
    return chart.update_xaxes(hoverformat=".4g", showgrid=False, range=ends)


def _title(layer: str, largest: float, scale: float | None) -> str:
    steps = f", {value(largest / scale, 2)} steps" if scale else ""
    return titled("", layer, f"{': ' if layer else ''}errors up to {value(largest, 2)}{steps}")
