"""How the range of one layer follows the number of calibration samples."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from qnb.charts.calibration_curve import mark_enough, sample_axis
from qnb.charts.frames import numbers, require, small
from qnb.charts.theme import BLUE, GREY, ORANGE, empty, figure, titled
from qnb.columns import CALIBRATION_RANGES, LAYER
from qnb.errors import InputError
from qnb.text import share

SOURCE = "the ranges of qnb.calibration_curve, of one layer"


def calibration_range(frame: pd.DataFrame, *, enough: int | None = None, title: str = "") -> go.Figure:
    """Smallest and largest value of a layer's grid after so many calibration samples.

    Args:
        frame: `qnb.columns.CALIBRATION_RANGES` of one layer, as ``qnb.calibration_curve(...).of_layer(layer)``.
        enough: a count to mark, from which on the model needs no more.
        title: what it is of; stands before the answer.

    Raises:
        InputError: columns are missing, or there are several layers.

    >>> import pandas as pd
    >>> rows = [("fc", "activation", 1, 0.0, 2.0), ("fc", "activation", 2, -1.0, 3.0)]
    >>> calibration_range(pd.DataFrame(rows, columns=list(CALIBRATION_RANGES))).layout.title.text
    'fc: range 50 % as wide after half of the 2 samples'
    """
    require(frame, CALIBRATION_RANGES, "calibration_range", SOURCE)
    if frame.empty:
        return empty("No range to show: it does not follow from calibration data.")
    if frame["samples"].duplicated().any():
        raise InputError("charts.calibration_range", "a count of samples twice", f"pass {SOURCE}")
    samples, low, high = [int(n) for n in frame["samples"]], numbers(frame["min"]), numbers(frame["max"])
    chart = figure(_title(title, frame), "calibration samples", "range of the grid")
    x = [f"{n}" for n in samples]
    for name, values, colour in (("largest value", high, ORANGE), ("smallest value", low, BLUE)):
        line = {"color": colour, "width": 2}
        chart.add_trace(
            go.Scatter(x=x, y=small(values), name=name, mode="lines+markers", line=line, hovertemplate="%{y:.4g}")
        )
    chart.add_hline(0, line={"color": GREY, "width": 1})
    chart.update_layout(hovermode="x unified", showlegend=True)
    return mark_enough(sample_axis(chart, x), [samples.index(enough)] if enough in samples else [])


def _title(title: str, frame: pd.DataFrame) -> str:
    """How wide the range was after half of the samples."""
    before, layer = f"{title}: " if title else "", str(frame[LAYER].iloc[0])
    span, total = numbers(frame["max"]) - numbers(frame["min"]), int(frame["samples"].iloc[-1])
    halves = [i for i, n in enumerate(frame["samples"]) if 2 * n <= total]
    if not halves or not span[-1] > 0:
        return titled(before, layer, f": range by number of samples, {total:,} in all")
    return titled(
        before, layer, f": range {share(span[halves[-1]] / span[-1])} as wide after half of the {total:,} samples"
    )
