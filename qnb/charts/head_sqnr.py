"""SQNR of attention heads, the weakest at the top."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from qnb.charts.frames import numbers, require, small
from qnb.charts.theme import BLUE, GREY, empty, figure, plain, shorten, titled
from qnb.columns import HEADS, LAYER, OWN_SQNR_DB, SQNR_DB
from qnb.errors import InputError
from qnb.text import decibel

SOURCE = "the heads of qnb.sequence_errors"
MOST, ROW, LABEL_LENGTH = 30, 17, 34
"""Rows of a chart unless told, the height of one in pixels, characters of a layer's name."""


def head_sqnr(frame: pd.DataFrame, *, own: bool = True, max_rows: int = MOST, title: str = "") -> go.Figure:
    """A bar per attention head, and a mark for the median head of its layer: a head far below it is the one that loses.

    Args:
        frame: `qnb.columns.HEADS`, what `qnb.sequence_errors` has as ``heads``. Lossless heads are left out.
        own: the error that each layer makes on its own; False: the accumulated one.
        max_rows: how many heads are shown, the weakest.
        title: what it is of; stands before the weakest head.

    Raises:
        InputError: columns are missing, or ``max_rows`` is less than 1.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"layer": "attn.matmul", "op": "matmul", "head": [0, 1], "sqnr_db": [30.0, 20.0],
    ...                       "own_sqnr_db": [41.0, 22.0], "mse": 0.1, "numel": 64})
    >>> head_sqnr(frame).layout.title.text
    'Weakest head: 1 of attn.matmul, 22.0 dB on its own'
    """
    require(frame, HEADS, "head_sqnr", SOURCE)
    if max_rows < 1:
        raise InputError("charts.head_sqnr", f"max_rows={max_rows!r}", "show at least 1")
    if frame.empty:
        return empty("No attention heads to show: flow.sequence_errors(run) finds them in models with attention.")
    column = OWN_SQNR_DB if own else SQNR_DB
    known = frame.assign(db=numbers(frame[column]))
    known["median"] = known.groupby(LAYER, sort=False)["db"].transform("median")
    losing = known[known["db"] < np.inf].sort_values("db", kind="stable")  # pyright: ignore[reportCallIssue]
    if losing.empty:
        return empty("Every attention head is lossless.")
    rows = losing.head(max_rows).reset_index(drop=True)
    first = rows.iloc[0]
    said = f"{title}: weakest head: " if title else "Weakest head: "
    after = f", {decibel(first['db'])}{' on its own' if own else ''}"
    chart = figure(titled(f"{said}{first['head']} of ", str(first[LAYER]), after), "SQNR (dB), more is better", "")
    _marks(chart, rows)
    if len(known) > len(rows):
        chart.update_layout(title_subtitle_text=f"{len(rows)} of {len(known):,} heads, the weakest")
    places = _places(rows)
    names = [
        plain(f"{shorten(str(layer), LABEL_LENGTH)}, head {head}")
        for layer, head in zip(rows[LAYER], rows["head"], strict=True)
    ]
    chart.update_yaxes(
        type="category",
        categoryorder="array",
        categoryarray=places,
        showgrid=False,
        range=[len(rows) - 0.5, -0.5],
        tickmode="array",
        tickvals=places,
        ticktext=names,
        tickfont_size=11,
    )
    chart.update_xaxes(rangemode="tozero")
    chart.update_layout(title_xref="container", title_x=0.02)  # names take much room to the left of the plot
    return chart.update_layout(height=130 + ROW * max(len(rows), 3), bargap=0.25, barmode="overlay", margin_t=84)


def _places(rows: pd.DataFrame) -> list[str]:
    """One category per row: a layer has several heads."""
    return [f"{i}" for i in range(len(rows))]


def _marks(chart: go.Figure, rows: pd.DataFrame) -> None:
    """Bars of the heads, marks of the layers' medians; what overflowed stands at 0."""
    db, places = numbers(rows["db"]), _places(rows)
    told = [
        f"{plain(layer)}, head {head}: {decibel(value)}"
        for layer, head, value in zip(rows[LAYER], rows["head"], db, strict=True)
    ]
    chart.add_trace(
        go.Bar(
            x=small(np.where(np.isneginf(db), 0.0, db), 4),
            y=places,
            orientation="h",
            name="head",
            offsetgroup="0",
            marker={"color": BLUE, "line": {"width": 0}},
            customdata=told,
            hovertemplate="%{customdata}<extra></extra>",
        )
    )
    chart.add_trace(
        go.Scatter(
            x=small(numbers(rows["median"]), 4),
            y=places,
            mode="markers",
            name="median head of the layer",
            marker={"color": GREY, "symbol": "diamond", "size": 8},
            hovertemplate="median head of the layer: %{x:.1f} dB<extra></extra>",
        )
    )
