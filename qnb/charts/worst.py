"""Which layers are the worst: what the title says, and the names that stand in the chart."""

from __future__ import annotations

import math

import pandas as pd
import plotly.graph_objects as go

from qnb.charts.frames import numbers
from qnb.charts.theme import BAD, shorten
from qnb.columns import LAYER, SQNR_DB

TITLE_LENGTH, MARK_LENGTH = 36, 26
LEVEL = 0.1
"""Height of a line of text, as a share of the plot."""


def decibel(db: float) -> str:
    """
    >>> decibel(12.34), decibel(float("inf")), decibel(float("-inf")), decibel(float("nan"))
    ('12.3 dB', 'lossless', 'overflow', '')
    """
    if math.isnan(db):
        return ""
    return ("lossless" if db > 0 else "overflow") if math.isinf(db) else f"{db:.1f} dB"


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


def title(runs: dict[str, pd.DataFrame], found: list, own: bool, threshold_db: float | None) -> str:
    """The answer at a glance: the worst layer of the worst run."""
    if not found:
        measured = any((~pd.isna(f[SQNR_DB])).any() for f in runs.values())
        text = "every layer is lossless" if measured else "no SQNR was measured"
        return f"{', '.join(n for n in runs if n)}: {text}".removeprefix(": ")
    db, layer, run = found[0]
    text = f"worst layer {shorten(layer, TITLE_LENGTH)}, {decibel(db)}" + (" on its own" if own else "")
    if len(runs) > 1:
        text += f" ({len(runs)} runs)"
    if threshold_db is not None:
        below = sum(d < threshold_db for d, _, _ in found)
        text += f"; {below} of {_layers(runs)} layers below {threshold_db:g} dB"
    return f"{run}: {text}" if run else text[0].upper() + text[1:]


def _layers(runs: dict[str, pd.DataFrame]) -> int:
    return len({layer for f in runs.values() for layer in f[LAYER]})


def annotate(chart: go.Figure, found: list, order: list[str], low: float, cap: float) -> None:
    """Name the worst layers in a strip above everything, each with a line down to its value."""
    at = {layer: i for i, layer in enumerate(order)}
    levels: list[list[tuple[float, float]]] = []
    for db, layer, _ in sorted(found, key=lambda row: at[row[1]]):
        text = f"{shorten(layer, MARK_LENGTH)}, {decibel(db)}"
        share = (at[layer] + 0.5) / len(order)
        left = share < 0.5
        width = 0.0125 * len(text)
        span = (share, share + width) if left else (share - width, share)
        level = next((i for i, row in enumerate(levels) if all(span[1] < a or b < span[0] for a, b in row)), len(levels))
        levels += [[]] if level == len(levels) else []
        levels[level].append(span)
        chart.add_annotation(
            x=layer, y=max(db, 0.0) if db != -math.inf else 0.0, text=text, ax=0, axref="pixel", ayref="y",
            ay=cap + (cap - low) * LEVEL * (level + 0.6), xanchor="left" if left else "right", xshift=-4 if left else 4,
            showarrow=True, arrowhead=0, arrowwidth=1, arrowcolor=BAD, font={"size": 11, "color": BAD},
            standoff=2,
        )  # fmt: skip
    top = cap + (cap - low) * (LEVEL * (len(levels) + 0.4) if levels else 0.04)
    chart.update_yaxes(range=[low * 1.05, top])
