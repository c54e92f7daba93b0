"""How many calibration samples are enough: SQNR at the outputs, and the ranges, against their number."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from qnb.charts.frames import numbers, require, small
from qnb.charts.theme import BLUE, GREEN, GREY, ORANGE, empty, figure, plain, titled
from qnb.columns import CALIBRATION_CURVE, SQNR_DB
from qnb.text import decibel, share

SOURCE = "qnb.calibration_curve(sim, batches).table"
ROOM = 1.06
"""Of the right axis, above the widest range."""


def calibration_curve(frame: pd.DataFrame, *, title: str = "") -> go.Figure:
    """SQNR at the model's outputs with the ranges of so many samples, and at the right how wide these are.

    Args:
        frame: `qnb.columns.CALIBRATION_CURVE`, ``qnb.calibration_curve(sim, batches).table``. Where the outputs are
            lossless there is no point.
        title: what it is of; stands before the answer.

    Returns:
        A figure with the smallest count that is enough marked.

    Raises:
        InputError: columns are missing.

    >>> import pandas as pd
    >>> rows = [(8, 20.0, 0.5, 0.4, "fc", False), (16, 30.0, 1.0, 0.9, "fc", True), (32, 30.1, 1.0, 1.0, "x", True)]
    >>> calibration_curve(pd.DataFrame(rows, columns=list(CALIBRATION_CURVE))).layout.title.text
    '16 of 32 calibration samples are enough'
    """
    require(frame, CALIBRATION_CURVE, "calibration_curve", SOURCE)
    if frame.empty:
        return empty("No calibration samples to show: call flow.calibration_curve(run) first.")
    samples, levels = [int(n) for n in frame["samples"]], numbers(frame[SQNR_DB])
    marked = [n for n, enough in zip(samples, frame["enough"], strict=True) if enough][:1]
    chart = figure(_title(title, samples, marked), "calibration samples", "SQNR at the outputs (dB)")
    x = [f"{n}" for n in samples]
    chart.add_trace(
        go.Scatter(
            x=x,
            y=small(levels),
            name="SQNR",
            mode="lines+markers",
            line={"color": BLUE, "width": 2},
            hovertext=[f"SQNR {decibel(level)}" for level in levels],
            hoverinfo="text",
        )
    )
    drawn = (
        ("range_share", "range, median layer", ORANGE, "solid"),
        ("least_range_share", "narrowest layer", GREY, "dot"),
    )
    for column, name, colour, dash in drawn:
        values = numbers(frame[column])
        said = [f"{name} {share(v)}" for v in values]
        if column == "least_range_share":
            said = [f"{share(v)} at {layer}" for v, layer in zip(values, map(plain, frame["least_layer"]), strict=True)]
        chart.add_trace(
            go.Scatter(
                x=x,
                y=small(100 * values, 4),
                name=f"{name}, right axis",
                yaxis="y2",
                mode="lines+markers",
                marker_size=4,
                line={"color": colour, "width": 1.5, "dash": dash},
                hovertext=said,
                hoverinfo="text",
            )
        )
    widest = np.nanmax([100.0, *(100 * numbers(frame["range_share"]))])
    right = {"overlaying": "y", "side": "right", "showgrid": False, "tickmode": "auto", "range": [0, ROOM * widest]}
    right["title"] = {"text": "range, of that of all samples (%)"}
    chart.update_layout(yaxis2=right, hovermode="x unified", margin_r=70, showlegend=True)
    return mark_enough(sample_axis(chart, x), [samples.index(n) for n in marked])


def sample_axis(chart: go.Figure, counts: list[str]) -> go.Figure:
    """Counts of samples, about twice as many each time, at equal distances: all of them have a label."""
    return chart.update_xaxes(type="category", showgrid=False, categoryorder="array", categoryarray=counts)


def mark_enough(chart: go.Figure, places: list[int]) -> go.Figure:
    """A line where samples are enough; ``places`` holds which of the counts that is, or nothing.

    Its number among the categories: plotly.js takes a text of digits for such a number, too.
    """
    for place in places:
        line = {"color": GREEN, "dash": "dot", "width": 1.5}
        chart.add_shape(type="line", x0=place, x1=place, y0=0, y1=1, yref="paper", layer="below", line=line)
        at = {"x": place, "y": 0.02, "yref": "paper", "yanchor": "bottom", "xanchor": "left", "xshift": 4}
        chart.add_annotation(text="enough", showarrow=False, font={"color": GREEN, "size": 12}, **at)
    return chart


def _title(title: str, samples: list[int], marked: list[int]) -> str:
    before, count = f"{title}: " if title else "", f"{samples[-1]:,}"
    if marked:
        return titled("", before, f"{marked[0]:,} of {count} calibration samples are enough")
    if len(samples) == 1:
        return titled("", before, f"one count of calibration samples, {count}: nothing to compare")
    return titled("", before, f"{count} calibration samples are not enough yet")
