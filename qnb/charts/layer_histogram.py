"""Values of one layer: FP32 and QuantSim over the same bins."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from qnb.charts.frames import evenly, numbers, require, small, value
from qnb.charts.grid_ends import shade_clipped
from qnb.charts.theme import FP32, GREY, QUANTSIM, empty, figure, titled
from qnb.columns import HISTOGRAM

SOURCE = "a histogram with columns qnb.columns.HISTOGRAM, as flow.layer(run, layer).histogram"
SPIKE = 4.0
"""A bin so many times higher than all others (zeros after a ReLU) is cut, so that the others can be seen."""
LEVELS = 64
"""Grids with at most so many levels show each."""
ZERO = 0.1
"""Where an empty bin stands on a logarithmic axis: below its lower end."""


def layer_histogram(
    histogram: pd.DataFrame,
    *,
    layer: str = "",
    scale: float | None = None,
    zero_point: float | None = None,
    qmin: int | None = None,
    qmax: int | None = None,
    low: float | None = None,
    high: float | None = None,
    clipped_fraction: float | None = None,
    log_y: bool = False,
) -> go.Figure:
    """FP32 values filled, QuantSim values as a line, what lies outside the grid shaded.

    Args:
        histogram: counts per bin, columns `qnb.columns.HISTOGRAM`, bins side by side.
        layer: what the title calls it.
        scale, zero_point, qmin, qmax: the grid; its ends where ``low`` and ``high`` are not given, and its
            levels where they are few.
        low, high: ends of the grid, in the values' units; infinite where there is none.
        clipped_fraction: share of FP32 values outside the grid, 0 to 1, for the title.
        log_y: counts on a logarithmic axis.

    Raises:
        InputError: columns are missing.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"bin_left": [0, 1], "bin_right": [1, 2], "fp32": [3, 1], "quantsim": [4, 0]})
    >>> layer_histogram(frame, layer="fc", high=1.0, clipped_fraction=0.25).layout.title.text
    'fc: 25 % of FP32 values clipped'
    """
    require(histogram, HISTOGRAM, "layer_histogram", SOURCE)
    if histogram.empty:
        return empty("No values to show: run flow.layer(run, layer) first.")
    left, right, fp32, quantsim = (numbers(histogram[c]) for c in HISTOGRAM)
    if scale is not None and qmin is not None and qmax is not None:
        low = scale * (qmin - (zero_point or 0)) if low is None else low
        high = scale * (qmax - (zero_point or 0)) if high is None else high
    chart = figure(_title(layer, clipped_fraction), "value", "values per bin")
    place = (
        {"x0": float(left[0]), "dx": float(right[-1] - left[0]) / len(left)}
        if evenly(left)
        else {"x": small([*left, right[-1]])}
    )
    for name, counts, colour, fill in (("FP32", fp32, FP32, "tozeroy"), ("QuantSim", quantsim, QUANTSIM, None)):
        y = [*counts, 0.0]
        chart.add_trace(
            go.Scatter(
                y=small(np.maximum(y, ZERO) if log_y else y),
                name=name,
                mode="lines",
                fill=fill,
                hovertemplate="%{y:,.0f}",
                line={"shape": "hv", "width": 1 if fill else 1.8, "color": colour},
                fillcolor="rgba(121,121,121,0.35)" if fill else None,
                **place,
            )
        )
    shade_clipped(chart, float(left[0]), float(right[-1]), low, high)
    _levels(chart, scale, low, high, 1.0 if log_y else 0.0)
    if log_y:
        top = max(fp32.max(), quantsim.max(), 1.0)
        chart.update_yaxes(type="log", dtick=1, exponentformat="power", range=[math.log10(0.7), math.log10(2 * top)])
    else:
        _cut(chart, left, right, fp32, quantsim)
    chart.update_xaxes(hoverformat=".4g", showgrid=False, range=[float(left[0]), float(right[-1])])
    return chart.update_layout(hovermode="x unified")


def _title(layer: str, clipped: float | None) -> str:
    colon = ": " if layer else ""
    if clipped is None or math.isnan(clipped):
        return titled("", layer, colon + "FP32 and QuantSim values")
    share = "no FP32 value" if clipped == 0 else f"{value(100 * clipped)} % of FP32 values"
    return titled("", layer, f"{colon}{share} clipped")


def _levels(chart: go.Figure, scale: float | None, low: float | None, high: float | None, y: float) -> None:
    """A tick per level of the grid, where these are few."""
    if not scale or low is None or high is None or not math.isfinite(high - low):
        return
    count = round((high - low) / scale) + 1
    if count <= LEVELS:
        marker = {"symbol": "line-ns-open", "size": 9, "color": GREY}
        place = {"x0": low, "dx": scale, "y": [y] * count}
        chart.add_trace(go.Scatter(**place, mode="markers", name="grid levels", hoverinfo="skip", marker=marker))


def _cut(chart: go.Figure, left: np.ndarray, right: np.ndarray, fp32: np.ndarray, quantsim: np.ndarray) -> None:
    """Where one bin is far larger than the rest, truncate its bar and label it."""
    peak = int(fp32.argmax())
    near = slice(max(0, peak - 1), peak + 2)
    rest = max(np.delete(fp32, peak).max(initial=0), np.delete(quantsim, near).max(initial=0))
    top = max(fp32.max(), quantsim.max())
    if not 0 < SPIKE * rest < top:
        chart.update_yaxes(range=[0, 1.12 * top if top > 0 else 1])
        return
    chart.update_yaxes(range=[0, 1.35 * rest])
    chart.add_annotation(
        x=float(left[peak] + right[peak]) / 2,
        y=1,
        yref="paper",
        yanchor="top",
        yshift=-16,
        xanchor="left" if peak < len(left) / 2 else "right",
        showarrow=False,
        font_size=11,
        xshift=6 if peak < len(left) / 2 else -6,
        text=f"bar truncated ({value(fp32[peak])} FP32 values)",
    )
