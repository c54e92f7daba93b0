"""The history of a recovery method: its loss, step by step."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from qnb.charts.frames import numbers, require, small, value
from qnb.charts.theme import BLUE, GREEN, empty, figure, plain, titled

STEPS = ("step", "iteration")
"""The column that counts; where there is none, rows do."""
MOST = 600
"""Points in a line; of more, every so many-th is shown."""


def history(history: pd.DataFrame, *, name: str = "") -> go.Figure:
    """Loss against steps; of a method that goes layer by layer, one line per layer, one after the other.

    Args:
        history: what `qnb.methods.Result.history` holds: a column ``loss``, perhaps ``layer``, ``step`` or
            ``iteration``.
        name: of the method, for the title.

    >>> history(pd.DataFrame({"step": [0, 1], "loss": [1.0, 0.1]})).layout.title.text
    'Loss falls from 1 to 0.1'
    """
    if not len(history):
        return empty("No history: this method has no steps to show.")
    frame = require(history, ("loss",), "history", "a Result's history that has a column loss")
    frame = frame[np.isfinite(numbers(frame["loss"]))].reset_index(drop=True)
    if frame.empty:
        return empty("No finite loss to show.")
    layered = "layer" in frame and frame["layer"].nunique() > 1
    count = next((c for c in STEPS if c in frame), None)
    at = np.arange(len(frame)) if layered or count is None else numbers(frame[count])
    loss = numbers(frame["loss"])
    axis = "steps, layer after layer" if layered else count or "row"
    chart = figure(_title(frame, loss, name, layered), axis, "loss")
    parts = list(frame.groupby("layer", sort=False).groups.values()) if layered else [frame.index]
    every = max(1, len(frame) // MOST)
    for place, part in enumerate(parts):
        rows = np.unique(np.append(part[::every], part[-1]))
        label = plain(frame["layer"].iloc[rows[0]]) if layered else "loss"
        chart.add_trace(
            go.Scatter(
                x=small(at[rows]),
                y=small(loss[rows]),
                mode="lines+markers" if len(rows) < 40 else "lines",
                name=label,
                line={"color": (BLUE, GREEN)[place % 2], "width": 1.5},
                marker={"size": 4},
                showlegend=False,
                hovertemplate=f"{label}<br>%{{x}}: loss %{{y:.4g}}<extra></extra>",
            )
        )
    if not layered and (loss > 0).all() and loss.max() > 20 * loss.min():
        chart.update_yaxes(type="log")
    return chart


def _title(frame: pd.DataFrame, loss: np.ndarray, name: str, layered: bool) -> str:
    said = f"{name}: " if name else ""
    if not layered:
        verb = "falls" if loss[-1] <= loss[0] else "rises"
        return (
            titled(said, "", f"loss {verb} from {value(loss[0])} to {value(loss[-1])}")
            if said
            else (f"Loss {verb} from {value(loss[0])} to {value(loss[-1])}")
        )
    last = frame.groupby("layer", sort=False)["loss"].last()
    return titled(said, "", f"loss ends at {value(float(last.median()))} (median of {len(last)} layers)")
