"""SQNR of layers by token position: a heatmap, or lines where there is one layer."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from qnb.charts.frames import numbers, require, small
from qnb.charts.theme import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    OWN,
    QUANTSIM,
    SKY,
    VERMILLION,
    YELLOW,
    empty,
    figure,
    plain,
    shorten,
    titled,
)
from qnb.columns import LAYER, OWN_SQNR_DB, POSITIONS, SQNR_DB
from qnb.errors import InputError
from qnb.text import decibel

SOURCE = "the positions of qnb.sequence_errors"
CLASSES = (
    (-np.inf, "below 10 dB", VERMILLION),
    (10.0, "10 to 20 dB", ORANGE),
    (20.0, "20 to 30 dB", YELLOW),
    (30.0, "30 to 40 dB", GREEN),
    (40.0, "40 to 50 dB", SKY),
    (50.0, "50 dB or more", BLUE),
    (np.inf, "lossless", GREY),
)
"""From so many dB on, what the legend says, and the colour."""
COLUMNS, ROWS = 120, 24
"""More layers, or more rows of token positions, share a cell, which shows the lowest SQNR in it."""
NAMED, NAME_LENGTH = 60, 24
"""Beyond so many layers no names stand below; longer names are abbreviated."""


def position_sqnr(frame: pd.DataFrame, *, own: bool = False, title: str = "") -> go.Figure:
    """Layers in graph order from left to right, token positions from bottom to top, colour says the SQNR.

    Of one layer, lines: its accumulated SQNR and its own.

    Args:
        frame: `qnb.columns.POSITIONS`, what `qnb.sequence_errors` has as ``positions``.
        own: show the error that each layer makes on its own, in place of the accumulated one.
        title: what it is of; stands before the weakest position.

    Raises:
        InputError: columns are missing, or a layer has a position twice.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"layer": ["a", "a", "b", "b"], "op": "linear", "position": [0, 1, 0, 1], "numel": 8,
    ...     "last_position": [0, 1, 0, 1], "sqnr_db": [40.0, 30.0, 35.0, 8.0], "own_sqnr_db": 50.0, "mse": 0.1})
    >>> position_sqnr(frame).layout.title.text
    'Weakest at token position 1: b, 8.0 dB'
    """
    require(frame, POSITIONS, "position_sqnr", SOURCE)
    if frame.empty:
        return empty("No token positions to show: flow.sequence_errors(run) finds them in models of sequences.")
    if frame.duplicated([LAYER, "position"]).any():
        raise InputError("charts.position_sqnr", "a layer with a token position twice", f"pass {SOURCE}, of one run")
    column = OWN_SQNR_DB if own else SQNR_DB
    layers = frame[LAYER].map(plain)
    if layers.nunique() == 1:
        return _lines(frame, column, title)
    chart = figure(_title(frame, column, title), "layer, in graph order", "token position")
    names = list(dict.fromkeys(layers))
    across, up = -(-len(names) // COLUMNS), -(-frame["position"].nunique() // ROWS)
    places, cells = _cells(frame, layers, names, column, across, up)
    for least, said, colour in CLASSES:
        _add(chart, [c for c in cells if c[0] == least], said, colour)
    joined = [f"{n} {what}" for n, what in ((across, "layers"), (up, "token positions")) if n > 1]
    if joined:
        said = f"a cell is the lowest of {' by '.join(joined)}"
        chart.update_layout(title_subtitle_text=("own SQNR; " if own else "") + said)
    elif own:
        chart.update_layout(title_subtitle_text="own SQNR: each layer fed with FP32 inputs")
    chart.update_layout(barmode="overlay", bargap=0.06 if len(places) <= NAMED else 0.0, height=420)
    chart.update_xaxes(type="category", showgrid=False, categoryorder="array", categoryarray=places)
    chart.update_xaxes(**_labels(places, len(names)))
    end = float(frame["last_position"].max()) + 0.5
    return chart.update_yaxes(range=[-0.5, end], showgrid=False, zeroline=False, tickformat=",d")


def _cells(frame: pd.DataFrame, layers: pd.Series, names: list[str], column: str, across: int, up: int) -> tuple:
    """(names of columns, cells (class, column, first and last position, lowest dB)), alike neighbours joined."""
    place = layers.map({name: i // across for i, name in enumerate(names)})
    firsts = np.unique(numbers(frame["position"]))
    row = np.searchsorted(firsts, frame["position"]) // up
    values = frame.assign(place=place.to_numpy(), row=row, db=numbers(frame[column]))
    found = values.groupby(["place", "row"], sort=True).agg(
        db=("db", "min"), first=("position", "min"), last=("last_position", "max")
    )
    places, cells = names[::across], []
    for (at, _), db, first, last in found.itertuples(name=None):
        least = max(c[0] for c in CLASSES if db >= c[0]) if not np.isnan(db) else None
        before = cells[-1] if cells else None
        if before and before[0] == least and before[1] == places[at] and before[3] == first - 1:
            cells[-1] = (least, before[1], before[2], last, min(before[4], db))
        elif least is not None:
            cells.append((least, places[at], int(first), int(last), float(db)))
    return places, cells


def _add(chart: go.Figure, cells: list[tuple], said: str, colour: str) -> None:
    """All cells of one class; one trace, so one entry of the legend."""
    if not cells:
        return
    spans = [f"{first}" if first == last else f"{first} to {last}" for _, _, first, last, _ in cells]
    chart.add_trace(
        go.Bar(
            x=[name for _, name, *_ in cells],
            y=[int(last - first + 1) for _, _, first, last, _ in cells],
            base=[first - 0.5 for _, _, first, *_ in cells],
            name=said,
            offsetgroup="cells",
            marker={"color": colour, "line_width": 0},
            customdata=[f"{span}: {decibel(cell[4])}" for span, cell in zip(spans, cells, strict=True)],
            showlegend=True,
            hovertemplate="<b>%{x}</b><br>token position %{customdata}<extra></extra>",
        )
    )


def _lines(frame: pd.DataFrame, column: str, title: str) -> go.Figure:
    chart = figure(_title(frame, column, title), "token position", "SQNR (dB), more is better")
    for name, colour, which in (("accumulated", QUANTSIM, SQNR_DB), ("own", OWN, OWN_SQNR_DB)):
        db = numbers(frame[which])
        if np.isfinite(db).any():
            chart.add_trace(
                go.Scatter(
                    x=frame["position"].tolist(),
                    y=small(db),
                    mode="lines+markers" if len(frame) <= 64 else "lines",
                    marker_size=5,
                    name=name,
                    line={"color": colour, "width": 2},
                )
            )
    if not chart.data:
        return empty(f"{plain(frame[LAYER].iloc[0])} loses nothing at any token position.")
    return chart.update_layout(hovermode="x unified", showlegend=True).update_xaxes(tickformat=",d")


def _title(frame: pd.DataFrame, column: str, title: str) -> str:
    """The weakest token position, and whose it is."""
    db, before = numbers(frame[column]), f"{title}: " if title else ""
    lossy = np.where(np.isnan(db), np.inf, db)
    if not (lossy < np.inf).any():
        return titled("", before, "lossless at every token position")
    at = int(np.argmin(lossy))
    row = frame.iloc[at]
    said = f"{before}weakest at token position {row['position']}: "
    return titled(said if title else said.capitalize(), str(row[LAYER]), f", {decibel(db[at])}")


def _labels(places: list[str], layers: int) -> dict:
    if layers > NAMED:
        return {"showticklabels": False, "title_text": f"{layers:,} layers, in graph order"}
    shown = [shorten(name, NAME_LENGTH) for name in places]
    return {"tickmode": "array", "tickvals": places, "ticktext": shown, "tickfont_size": 11 if layers <= 30 else 9}
