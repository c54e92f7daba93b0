"""Which layers the error at the outputs comes from, in graph order."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from qnb.charts.frames import numbers, require, small
from qnb.charts.layer_sqnr import layer_axis
from qnb.charts.run_traces import LABEL_LENGTH, LABELS
from qnb.charts.theme import BLUE, GREEN, GREY, ORANGE, empty, figure, plain, titled
from qnb.columns import ATTRIBUTION, LAYER, OP, OUTPUT_SHARE
from qnb.errors import InputError
from qnb.text import decibel, share

KINDS = {"weight": BLUE, "activation": ORANGE, "bias": GREEN}
"""What an error comes from, and its colour: that of its quantizers in `charts.sensitivity`."""
SOURCE = "qnb.attribute(sim, batches).table"


def attribution(frame: pd.DataFrame, *, title: str = "") -> go.Figure:
    """Shares of the error at the model's outputs: stacked bars, x = inputs and layers in graph order.

    Args:
        frame: ``qnb.attribute(sim, batches).table``.
        title: what it is of; it stands before the layer with the largest share.

    Returns:
        A figure with a trace for weights, activations and biases; shares below 0, which cancel others, hang
        below the axis. The hover says the layer's whole share, and SQNR of what it inherits and adds.

    Raises:
        InputError: columns are missing, or a layer stands twice.

    >>> import pandas as pd
    >>> x, fc = ("x", "input", float("inf"), 48.0, 0.0, 0.2, 0.0, 0.2), ("fc", "linear", 48.0, 40.0, 0.7, 0.1, 0.0, 0.8)
    >>> attribution(pd.DataFrame([x, fc], columns=list(ATTRIBUTION))).layout.title.text
    'Most of the error: fc, 80 %'
    """
    require(frame, ATTRIBUTION, "attribution", SOURCE)
    if frame.empty:
        return empty("No shares to show: call qnb.attribute(sim, batches) first.")
    names = _names(frame)
    shares, whole = {kind: numbers(frame[f"{kind}_share"]) for kind in KINDS}, numbers(frame[OUTPUT_SHARE])
    chart = figure(_title(title, frame, whole), "layer, in graph order", "share of the output's error")
    many = len(names) > LABELS
    long = not many and max(map(len, names)) > LABEL_LENGTH
    tops, bottoms = np.zeros(len(names)), np.zeros(len(names))
    for i, (kind, values) in enumerate(shares.items()):
        if i and not np.any(values):
            continue
        base = np.where(values < 0, bottoms, tops)
        trace = go.Bar(y=small(values, 4), base=small(base, 4), name=f"{kind}es" if kind == "bias" else f"{kind}s")
        trace.update(marker={"color": KINDS[kind], "line": {"width": 0}}, offsetgroup="shares")
        if i:
            trace.update(x0=names[0], dx=1, customdata=small(values, 4))
            trace.update(hovertemplate=f"{kind} %{{customdata:.2%}}<extra></extra>")
        else:
            trace.update(x=names, customdata=list(zip(_said(frame, whole, long), small(values, 4), strict=True)))
            trace.update(hovertemplate=f"%{{customdata[0]}}<br>{kind} %{{customdata[1]:.2%}}<extra></extra>")
        chart.add_trace(trace)
        tops, bottoms = tops + np.maximum(values, 0), bottoms + np.minimum(values, 0)
    layer_axis(chart, names)
    chart.add_hline(0, line={"color": GREY, "width": 1})
    chart.update_yaxes(tickformat=".0%" if np.nanmax(np.abs(whole)) >= 0.05 else ".2~%")
    chart.update_layout(barmode="overlay", bargap=0.15 if not many else 0.0, hovermode="x unified", hoverdistance=1)
    return chart.update_layout(showlegend=True)


def _names(frame: pd.DataFrame) -> list[str]:
    """One category per row; an input with a layer's name says that it is one."""
    twice = frame[LAYER].duplicated(keep=False)
    names = [
        plain(f"{layer} (input)" if again and op == "input" else layer)
        for layer, op, again in zip(frame[LAYER], frame[OP], twice, strict=True)
    ]
    if len(set(names)) < len(names):
        first = next(n for i, n in enumerate(names) if n in names[:i])
        raise InputError("charts.attribution", f"layer {first!r} twice", f"pass {SOURCE}")
    return names


def _title(title: str, frame: pd.DataFrame, whole: np.ndarray) -> str:
    before = f"{title}: most of the error: " if title else "Most of the error: "
    if not np.any(whole):
        return titled(before, "", "none")
    first = int(np.nanargmax(whole))
    return titled(before, str(frame[LAYER].iloc[first]), f", {share(whole[first])}")


def _said(frame: pd.DataFrame, whole: np.ndarray, long: bool) -> list[str]:
    """Of each layer: its op, its whole share, what it inherits and adds."""
    figures = zip(frame[LAYER], frame[OP], whole, frame["inherited_db"], frame["added_db"], strict=True)
    return [
        (f"{plain(layer)}<br>" if long else "")
        + f"{plain(op)}, {share(all_of_it)} in all, inherited {decibel(inherited)}, added {decibel(added)}"
        for layer, op, all_of_it, inherited, added in figures
    ]
