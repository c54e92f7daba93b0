"""What each quantizer costs alone, the most sensitive at the top."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from qnb.charts.frames import numbers, require, small, value
from qnb.charts.theme import BLUE, GREEN, GREY, ORANGE, empty, figure, plain, shorten, titled
from qnb.columns import KIND, LAYER, SENSITIVITY
from qnb.errors import InputError

KINDS = {"weight": BLUE, "activation": ORANGE, "input": GREEN}
"""A kind of quantizer and its colour."""
UNITS = {
    "fisher": "KL divergence from FP32 (nats per prediction)",
    "sqnr": "noise-to-signal ratio at the outputs",
    "evaluate": "drop of the metric",
}
"""What a score is, by the estimator of `qnb.sensitivity`."""
MOST, ROW, LABEL_LENGTH = 40, 17, 30
"""Rows of a chart unless told, the height of one in pixels, characters of a layer's name."""


def sensitivity(frame: pd.DataFrame, *, max_rows: int = MOST, estimator: str | None = None) -> go.Figure:
    """A bar per quantizer with its 95 % interval, coloured by kind.

    Args:
        frame: what `qnb.sensitivity` returns; rows whose score is NaN are left out.
        max_rows: how many are shown, the most sensitive ones.
        estimator: of `qnb.sensitivity`, for the axis; None takes what the frame says of itself.

    Raises:
        InputError: columns are missing, or ``most`` is less than 1.

    >>> import pandas as pd
    >>> rows = [("fc", "weight", 0.3, 0.2, 0.4), ("conv", "activation", 0.1, 0.05, 0.2)]
    >>> chart = sensitivity(pd.DataFrame(rows, columns=["layer", "kind", "score", "low", "high"]), estimator="fisher")
    >>> chart.layout.title.text
    'Most sensitive: fc, weight, 0.3'
    """
    require(frame, SENSITIVITY, "sensitivity", "what qnb.sensitivity returns")
    if max_rows < 1:
        raise InputError("charts.sensitivity", f"max_rows={max_rows!r}", "show at least 1")
    measured = frame[np.isfinite(numbers(frame["score"]))].sort_values("score", ascending=False, kind="stable")  # pyright: ignore[reportCallIssue]
    if measured.empty:
        return empty("No sensitivity to show: call qnb.sensitivity(sim, batches) first.")
    rows = measured.head(max_rows).reset_index(drop=True)
    first = rows.iloc[0]
    chart = figure(
        titled("Most sensitive: ", str(first[LAYER]), f", {first[KIND]}, {value(first['score'])}"),
        UNITS.get(estimator or frame.attrs.get("estimator"), "sensitivity"),  # pyright: ignore[reportCallIssue]
        "",
    )
    _bars(chart, rows)
    _intervals(chart, rows)
    if len(measured) > len(rows):
        chart.update_layout(title_subtitle_text=f"{len(rows)} of {len(measured)} quantizers, the most sensitive ones")
    names = [
        plain(f"{shorten(str(layer), LABEL_LENGTH)}, {kind}")
        for layer, kind in zip(rows[LAYER], rows[KIND], strict=True)
    ]
    chart.update_yaxes(
        type="category",
        categoryorder="array",
        categoryarray=_places(rows),
        showgrid=False,
        range=[len(rows) - 0.5, -0.5],
        tickmode="array",
        tickvals=_places(rows),
        ticktext=names,
        tickfont_size=11,
        ticks="outside",
        ticklen=4,
        tickcolor="rgba(0,0,0,0)",
    )
    chart.update_xaxes(rangemode="tozero")
    chart.update_layout(title_xref="container", title_x=0.02)  # names take much room to the left of the plot
    return chart.update_layout(height=130 + ROW * max(len(rows), 3), bargap=0.25, barmode="overlay", margin_t=84)


def _places(rows: pd.DataFrame) -> list[str]:
    """One category per row: a layer has several quantizers."""
    return [f"{i}" for i in range(len(rows))]


def _bars(chart: go.Figure, rows: pd.DataFrame) -> None:
    places = np.array(_places(rows))
    kinds = dict.fromkeys([*(k for k in KINDS if k in set(rows[KIND])), *rows[KIND]])
    for kind in kinds:
        mine = (rows[KIND] == kind).to_numpy()
        layers = [plain(name) for name in rows[LAYER][mine]]
        said = [
            f"{value(low)} to {value(high)}" if np.isfinite(low) else "unknown"
            for low, high in zip(numbers(rows["low"][mine]), numbers(rows["high"][mine]), strict=True)
        ]
        chart.add_trace(
            go.Bar(
                x=small(numbers(rows["score"][mine]), 4),
                y=places[mine].tolist(),
                orientation="h",
                name=plain(kind),
                offsetgroup="0",
                opacity=0.75,
                marker={"color": KINDS.get(kind, GREY), "line": {"width": 0}},
                customdata=list(zip(layers, said, strict=True)),
                showlegend=True,
                hovertemplate="%{customdata[0]}<br>%{x:.4g}, interval %{customdata[1]}",
            )
        )


def _intervals(chart: go.Figure, rows: pd.DataFrame) -> None:
    """One line for each interval, with nothing between them."""
    x: list[float | None] = []
    y: list[str | None] = []
    for place, low, high in zip(_places(rows), numbers(rows["low"]), numbers(rows["high"]), strict=True):
        if np.isfinite(low) and np.isfinite(high):
            x += [*small([low, high], 4), None]
            y += [place, place, None]
    if x:
        chart.add_trace(
            go.Scatter(
                x=x[:-1],
                y=y[:-1],
                mode="lines",
                name="95 % interval",
                hoverinfo="skip",
                line={"color": GREY, "width": 2},
            )
        )
