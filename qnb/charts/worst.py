"""Which layers are the worst: what the title says, and the names that stand in the chart."""

from __future__ import annotations

import math

import pandas as pd
import plotly.graph_objects as go

from qnb.charts.frames import numbers
from qnb.charts.theme import BAD, shorten, titled
from qnb.columns import LAYER, SQNR_DB
from qnb.text import LOSSLESS, decibel

NAME_LENGTH = 24
LINE, CHARACTER = 0.1, 0.013
"""Height of a line of text as a share of the plot's height, width of a character as a share of its width."""

Placed = tuple[int, float, float, float]
"""Line of text, where its layer stands, and from where to where the text goes, as shares of the plot's width."""


def find(runs: dict[str, pd.DataFrame], column: str) -> list[tuple[float, str, str]]:
    """(dB, layer, run) of each layer that loses anything, the worst first; a layer counts in its worst run."""
    rows = [
        (db, layer, name)
        for name, frame in runs.items()
        for layer, db in zip(frame[LAYER], numbers(frame[column]), strict=True)
        if not math.isnan(db) and db != math.inf
    ]
    worst: dict[str, tuple[float, str, str]] = {}
    for row in sorted(rows, key=lambda r: r[0]):
        worst.setdefault(row[1], row)
    return list(worst.values())


def title(runs: dict[str, pd.DataFrame], found: list, own: bool) -> str:
    """The answer at a glance: the weakest layer of the worst run."""
    if not found:
        measured = any(f[SQNR_DB].notna().any() for f in runs.values())
        names = ", ".join(n for n in runs if n)
        said = f"{LOSSLESS} in every layer" if measured else "no SQNR measured"
        return titled("", f"{names}: " if names else "", said)
    db, layer, run = found[0]
    before = f"{run}: weakest layer " if run else "Weakest layer "
    return titled(before, layer, f", {decibel(db)}{' on its own' if own else ''}")


def count_below(runs: dict[str, pd.DataFrame], found: list, threshold_db: float) -> str:
    """The subtitle where there is a threshold."""
    layers = len({layer for f in runs.values() for layer in f[LAYER]})
    return f"{sum(db < threshold_db for db, _, _ in found)} of {layers} layers below {threshold_db:g} dB"


def annotate(chart: go.Figure, found: list, order: list[str], low: float, cap: float) -> None:
    """Name these layers in a strip above everything, each with a line down to its value."""
    at = {layer: i for i, layer in enumerate(order)}
    placed: list[Placed] = []
    for db, layer, _ in sorted(found, key=lambda row: at[row[1]]):
        text = f"{shorten(layer, NAME_LENGTH)}, {decibel(db)}"
        line, x, start, _ = free((at[layer] + 0.5) / len(order), CHARACTER * len(text), placed)
        placed.append((line, x, start, start + CHARACTER * len(text)))
        chart.add_annotation(
            x=layer,
            y=0.0 if db == -math.inf else db,
            text=text,
            ax=0,
            ayref="y",
            ay=cap + (cap - low) * LINE * (line + 0.6),
            xanchor="left" if start == x else "right",
            showarrow=True,
            arrowhead=0,
            arrowwidth=1,
            arrowcolor=BAD,
            font={"size": 11, "color": BAD},
            standoff=2,
        )
    lines = 1 + max((p[0] for p in placed), default=-1)
    chart.update_yaxes(range=[low * 1.05, cap + (cap - low) * (LINE * (lines + 0.4) if lines else 0.04)])


def free(x: float, width: float, placed: list[Placed]) -> Placed:
    """The lowest line on which a text to the right or left of ``x`` covers no text and no other's line down."""
    sides = [start for start in (x, x - width) if start >= 0 and start + width <= 1.02] or [x if x < 0.5 else x - width]
    for line in range(len(placed) + 1):
        for start in sides:
            covers = any(
                (line == other and start < to and since < start + width)
                or (line < other and start <= there <= start + width)
                or (line > other and since <= x <= to)
                for other, there, since, to in placed
            )
            if not covers:
                return line, x, start, start + width
    return len(placed), x, sides[0], sides[0] + width
