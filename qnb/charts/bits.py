"""Bits of each layer, weights and outputs, as a strip."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from qnb.charts.frames import numbers, require
from qnb.charts.theme import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION, YELLOW, empty, figure, plain, shorten
from qnb.columns import LAYER
from qnb.errors import InputError

SOURCE = "one row per layer with columns layer, weight_bits, activation_bits, as sim.layers()"
ROWS = (("weight_bits", "weights", 1.3), ("activation_bits", "outputs", 0.0))
"""Column, name, lower edge of its strip; strips are 1 high."""
COLOURS = ((32, GREY), (16, BLUE), (9, SKY), (8, GREEN), (5, YELLOW), (4, ORANGE), (3, PURPLE), (0, VERMILLION))
"""From so many bits on."""
NAMED, NAME_LENGTH = 60, 24
"""Beyond so many layers no names stand below; longer names are abbreviated."""


def bits(layers: pd.DataFrame, *, title: str = "") -> go.Figure:
    """Two strips over the layers in graph order, bits of weights and of outputs; colour says how many.

    Args:
        layers: one row per layer, columns ``layer, weight_bits, activation_bits``; NA where there are no weights.
        title: what the bits are of; the counts stand there without.

    Raises:
        InputError: columns are missing, or a layer stands twice.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"layer": ["conv", "fc"], "weight_bits": [8, 4], "activation_bits": [8, 8]})
    >>> bits(frame).layout.title.text
    'Bits (layers): weights 8 (1), 4 (1); outputs 8 (2)'
    """
    require(layers, (LAYER, *(column for column, *_ in ROWS)), "bits", SOURCE)
    if layers.empty:
        return empty("No layers to show: run a step first, for example flow.run('w8a16').")
    names = layers[LAYER].map(plain).tolist()
    if len(set(names)) < len(names):
        twice = layers[LAYER][layers[LAYER].duplicated()].iloc[0]
        raise InputError("charts.bits", f"layer {twice!r} twice", f"pass {SOURCE}; of several points, one")
    values = {column: numbers(layers[column]) for column, *_ in ROWS}
    shown = [shorten(name, NAME_LENGTH) for name in names] if len(names) <= NAMED else [""]
    chart = figure(plain(title) or _counts(values), "layer, in graph order", "", height=230 + 6 * max(map(len, shown)))
    found = np.unique(np.concatenate(list(values.values())))
    for width in sorted(found[np.isfinite(found)], reverse=True):
        _add(chart, names, values, int(width))
    for _, name, bottom in ROWS:
        chart.add_annotation(
            text=name, x=0, xref="paper", xanchor="left", y=bottom + 1, yanchor="bottom", showarrow=False, font_size=11
        )
    chart.update_layout(barmode="overlay", bargap=0.06 if len(names) <= NAMED else 0.0)
    chart.update_xaxes(type="category", showgrid=False, categoryorder="array", categoryarray=names)
    chart.update_xaxes(**_labels(names, shown))
    return chart.update_yaxes(visible=False, range=[0, 2.6], fixedrange=True)


def _add(chart: go.Figure, names: list[str], values: dict[str, np.ndarray], width: int) -> None:
    """All cells of one width; one trace, so one entry of the legend."""
    cells = [
        (name, bottom, what)
        for column, what, bottom in ROWS
        for name, bits_ in zip(names, values[column], strict=True)
        if bits_ == width
    ]
    chart.add_trace(
        go.Bar(
            x=[name for name, *_ in cells],
            y=[1] * len(cells),
            base=[bottom for _, bottom, _ in cells],
            name=f"{width} bits",
            offsetgroup="bits",
            marker={"color": _colour(width), "line_width": 0},
            customdata=[what for *_, what in cells],
            hovertemplate=f"<b>%{{x}}</b><br>%{{customdata}}: {width} bits<extra></extra>",
        )
    )


def _colour(width: int) -> str:
    return next(colour for least, colour in COLOURS if width >= least)


def _labels(names: list[str], shown: list[str]) -> dict:
    if len(names) > NAMED:
        return {"showticklabels": False, "title_text": f"{len(names):,} layers, in graph order"}
    return {"tickmode": "array", "tickvals": names, "ticktext": shown, "tickfont_size": 11 if len(names) <= 30 else 9}


def _counts(values: dict[str, np.ndarray]) -> str:
    """How many layers have how many bits."""
    said = []
    for column, name, _ in ROWS:
        widths, counts = np.unique(values[column][np.isfinite(values[column])], return_counts=True)
        parts = [f"{int(w)} ({n:,})" for w, n in zip(widths[::-1], counts[::-1], strict=True)]
        said.append(f"{name} {', '.join(parts) or 'none'}")
    return f"Bits (layers): {'; '.join(said)}"
