"""How far predictions move from FP32, by token position."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from qnb.charts.frames import numbers, require, small, value
from qnb.charts.theme import BLUE, GREY, ORANGE, empty, figure, titled
from qnb.columns import PREDICTIONS
from qnb.text import percent

SOURCE = "the predictions of qnb.sequence_errors"
MARKED = 64
"""So many positions are points on their lines."""


def position_kl(frame: pd.DataFrame, *, title: str = "") -> go.Figure:
    """KL(FP32 || QuantSim) of what is predicted at each token position, mean and 95th percentile, and at the right
    how often both predict the same.

    Args:
        frame: `qnb.columns.PREDICTIONS`, what `qnb.sequence_errors` has as ``predictions``.
        title: what it is of; stands before the figures.

    Raises:
        InputError: columns are missing.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"position": [0, 1], "last_position": [0, 1], "kl_nats": [0.01, 0.03], "n": 8,
    ...                       "kl_p95_nats": [0.02, 0.09], "top1_agreement": [1.0, 0.9]})
    >>> position_kl(frame).layout.title.text
    'KL from FP32 0.02 nats, 95 % of predictions agree'
    """
    require(frame, PREDICTIONS, "position_kl", SOURCE)
    if frame.empty:
        return empty("No predictions to show: no output of the model is known to be logits.")
    n = numbers(frame["n"])
    mean, same = (float(np.average(numbers(frame[c]), weights=n)) for c in ("kl_nats", "top1_agreement"))
    said = f"KL from FP32 {value(mean)} nats, {percent(same)} of predictions agree"
    if len(frame) == 1:
        return empty(f"{said}: one prediction for each sample.")
    if not numbers(frame["kl_nats"]).any():
        return empty("What is predicted is the same at every token position.")
    chart = figure(titled("", f"{title}: " if title else "", said), "token position", "KL (nats)")
    x, mode = frame["position"].tolist(), "lines+markers" if len(frame) <= MARKED else "lines"
    drawn = [(ORANGE, "KL, 95th percentile", "kl_p95_nats"), (BLUE, "KL, mean", "kl_nats")]
    for colour, name, column in drawn:
        kl = numbers(frame[column])
        if (np.isfinite(kl) & (kl > 0)).any():
            chart.add_trace(
                go.Scatter(
                    x=x,
                    y=small(np.where(kl > 0, kl, np.nan), 4),
                    mode=mode,
                    marker_size=5,
                    name=name,
                    line={"color": colour, "width": 2},
                    hovertemplate="%{y:.3g} nats",
                )
            )
    agreement = numbers(frame["top1_agreement"])
    chart.add_trace(
        go.Scatter(
            x=x,
            y=small(100 * agreement),
            yaxis="y2",
            mode=mode,
            marker_size=4,
            name="top-1 agreement, right axis",
            line={"color": GREY, "width": 1.5, "dash": "dot"},
            hovertemplate="%{y:.4g} %",
        )
    )
    low = max(0.0, 100 * float(np.nanmin(agreement)) - 5)
    axis = {"overlaying": "y", "side": "right", "showgrid": False, "range": [low, 101], "title": {"text": "agree (%)"}}
    chart.update_layout(yaxis2=axis, hovermode="x unified", margin_r=70, showlegend=True)
    kl = np.concatenate([numbers(frame[c]) for c in ("kl_nats", "kl_p95_nats")])
    kl = kl[np.isfinite(kl) & (kl > 0)]
    if len(kl) and kl.max() > 20 * kl.min():
        chart.update_yaxes(type="log", selector={"overlaying": None})
    return chart.update_xaxes(tickformat=",d")
