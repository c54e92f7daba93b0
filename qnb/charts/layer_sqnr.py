"""SQNR per layer, in graph order."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from qnb.charts import worst as marks
from qnb.charts.frames import numbers, require, small
from qnb.charts.theme import BAD, GREY, HEIGHT, OWN, PALETTE, empty, figure, shorten
from qnb.columns import LAYER, OP, OWN_SQNR_DB, SQNR_DB
from qnb.errors import InputError

SOURCE = "what qnb.compare_layers returns, or {run name: such a DataFrame}"
LABELS, LABEL_LENGTH = 60, 24
"""Beyond so many layers no names stand below the axis; the ends of longer names do."""
BARS_OF_RUNS = 3
"""More runs than this are lines."""


def layer_sqnr(
    comparison: pd.DataFrame | Mapping[str, pd.DataFrame], *, precisions: Sequence[str] | str | None = None,
    own: bool = False, threshold_db: float | None = None, worst: int = 3,
) -> go.Figure:  # fmt: skip
    """SQNR per layer in dB, x = layer names in graph order: bars, or lines where there are many.

    Args:
        comparison: what `qnb.compare_layers` returns, or ``{run name: such a DataFrame}``.
        precisions: names of the runs to show, in this order; of a single DataFrame, its name.
        own: also mark the error each layer makes on its own (``own_sqnr_db``), and look for the worst there.
        threshold_db: a line at this SQNR; the title counts the layers below it.
        worst: how many of the worst layers are named in the chart.

    Returns:
        A figure with one trace per run; ``inf`` (lossless) stands hatched at the upper end, ``-inf`` (overflow)
        is a cross at 0, NaN is left out.

    Raises:
        InputError: columns are missing, a layer stands twice, or a run is unknown.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"layer": ["conv", "fc"], "op": ["conv2d", "linear"], "sqnr_db": [41.0, 12.3],
    ...                       "own_sqnr_db": [41.0, 15.0]})
    >>> layer_sqnr({"w4a8": frame}).layout.title.text
    'w4a8: worst layer fc, 12.3 dB'
    """
    runs = _runs(comparison, precisions)
    if not any(len(f) for f in runs.values()):
        return empty("No layers to show: run a step first, for example flow.run('w8a16').")
    order = list(dict.fromkeys(layer for f in runs.values() for layer in f[LAYER]))
    own_values = [numbers(f[OWN_SQNR_DB]) for f in runs.values()]
    own = own and not np.isnan(np.concatenate(own_values)).all()
    found = marks.find(runs, OWN_SQNR_DB if own else SQNR_DB)
    everything = np.concatenate([numbers(f[SQNR_DB]) for f in runs.values()] + (own_values if own else []))
    low, cap = _ends(everything, threshold_db)
    chart = figure(marks.title(runs, found, own, threshold_db), "layer, in graph order", "SQNR (dB), more is better")
    lines = len(runs) > BARS_OF_RUNS or len(order) > LABELS
    for i, (name, frame) in enumerate(runs.items()):
        colour = PALETTE[i % len(PALETTE)]
        style = {"name": name or "SQNR", "legendgroup": str(i), "hovertext": _hover_names(order, i)}
        chart.add_traces(_traces(frame, order, i, style, colour, lines, cap, not own))
        if own:
            chart.add_trace(_own(frame, order, style, OWN if len(runs) == 1 else colour, cap))
    marks.annotate(chart, found[:worst], order, low, cap)
    _layer_axis(chart, order)
    if threshold_db is not None:
        chart.add_hline(threshold_db, line={"color": GREY, "dash": "dot", "width": 1.5},
                        annotation={"text": f"{threshold_db:g} dB", "xanchor": "right", "font_size": 11})  # fmt: skip
    return chart.update_layout(hovermode="x unified", showlegend=own or len(runs) > 1, barmode="group", bargap=0.15)


def _runs(comparison, precisions) -> dict[str, pd.DataFrame]:
    """Run name -> frame; a single frame has no name of its own (a column ``run`` may split it)."""
    wanted = [precisions] if isinstance(precisions, str) else None if precisions is None else list(precisions)
    if isinstance(comparison, pd.DataFrame) and "run" in comparison.columns:
        comparison = dict(iter(comparison.groupby("run", sort=False)))
    if not isinstance(comparison, Mapping):
        comparison = {wanted[0] if wanted and len(wanted) == 1 else "": comparison}
    frames = {str(k): require(f, (LAYER, OP, SQNR_DB, OWN_SQNR_DB), "layer_sqnr", SOURCE) for k, f in comparison.items()}
    for name, frame in frames.items():
        if frame[LAYER].duplicated().any():
            twice = frame[LAYER][frame[LAYER].duplicated()].iloc[0]
            raise InputError("charts.layer_sqnr", f"layer {twice!r} twice in one run {name!r}", f"pass {SOURCE}")
    if wanted is not None and (unknown := [n for n in wanted if n not in frames]):
        raise InputError("charts.layer_sqnr", f"no run {unknown[0]!r}", f"choose from: {', '.join(frames)}")
    return frames if wanted is None else {n: frames[n] for n in wanted}


def _ends(values: np.ndarray, threshold_db: float | None) -> tuple[float, float]:
    """(lowest, highest) dB to draw; what is lossless is drawn up to the highest."""
    finite = values[np.isfinite(values)]
    high = max([0.0, *finite, threshold_db or 0.0])
    if np.isposinf(values).any():
        high = high * 1.08 if high > 0 else 100.0
    return min([0.0, *finite]), float(f"{high or 1.0:.4g}")


def _place(frame: pd.DataFrame, order: list[str], first: bool) -> dict:
    """Names once: where another trace said them already, the first name and a step of one are enough."""
    names = frame[LAYER].tolist()
    return {"x0": names[0], "dx": 1} if names == order and not first else {"x": names}


def _hover_names(order: list[str], i: int) -> list[str] | None:
    """Full names for the hover, where the axis shortens them."""
    cut = len(order) <= LABELS and any(len(n) > LABEL_LENGTH for n in order)
    return order if cut and i == 0 else None


def _traces(frame, order, i, style, colour, lines, cap, say_own) -> list:
    """One run: its finite values, and apart from them what is lossless and what overflowed."""
    db = numbers(frame[SQNR_DB])
    place = _place(frame, order, i == 0)
    said = [marks.decibel(v) for v in numbers(frame[OWN_SQNR_DB])] if say_own else [""] * len(frame)
    customdata = list(zip(frame[OP], said, strict=True)) if any(said) else [[op] for op in frame[OP]]
    hover = "%{y:.1f} dB, %{customdata[0]}" + (", own %{customdata[1]}" if any(said) else "")
    if style["hovertext"]:
        hover = "%{hovertext}<br>" + hover
    style = {**style, "customdata": customdata}
    if lines:
        kind, look = go.Scatter, {"mode": "lines+markers", "marker_size": 4 if len(order) > LABELS else 6,
                                  "line_width": 1.5, "line_color": colour}  # fmt: skip
    else:
        kind, look = go.Bar, {"marker_color": colour, "offsetgroup": str(i)}
    found = [kind(y=small(db), hovertemplate=hover, **place, **style, **look)]
    for which, y, hatched, word in ((np.isposinf(db), cap, True, "lossless"), (np.isneginf(db), 0.0, False, "overflow")):
        at = np.flatnonzero(which)
        if not at.size:
            continue
        rest = {**style, "customdata": [customdata[j] for j in at], "x": frame[LAYER].iloc[at].tolist(),
                "y": [y] * at.size, "showlegend": False, "hovertext": None,
                "hovertemplate": word + hover.removeprefix("%{hovertext}<br>").removeprefix("%{y:.1f} dB")}  # fmt: skip
        if hatched and not lines:
            pattern = {"shape": "/", "size": 6, "solidity": 0.25, "fillmode": "overlay", "fgcolor": colour}
            found.append(go.Bar(**rest, offsetgroup=str(i), opacity=0.55,
                                marker={"color": "rgba(0,0,0,0)", "pattern": pattern, "line": {"color": colour, "width": 1}}))  # fmt: skip
        else:
            symbol = "triangle-up-open" if hatched else "x"
            found.append(go.Scatter(**rest, mode="markers", cliponaxis=False, marker={
                "symbol": symbol, "size": 9, "color": colour if hatched else BAD}))  # fmt: skip
    return found


def _own(frame, order, style, colour, cap) -> go.Scatter:
    """Own error as markers; what is lossless stands at the upper end and says so."""
    db = numbers(frame[OWN_SQNR_DB])
    y = np.where(np.isposinf(db), cap, np.where(np.isneginf(db), 0.0, db))
    single = len(order) <= 400
    hover = {"customdata": [marks.decibel(v) for v in db], "hovertemplate": "own %{customdata}"}
    if np.isfinite(db[~np.isnan(db)]).all() or not single:
        hover = {"hovertemplate": "own %{y:.1f} dB"}
    name = f"{style['name']}, own" if style["name"] != "SQNR" else "own"
    return go.Scatter(y=small(y), name=name, legendgroup=style["legendgroup"], mode="markers", cliponaxis=False,
                      marker={"symbol": "diamond", "size": 7 if single else 4, "color": colour},
                      **_place(frame, order, False), **hover)  # fmt: skip


def _layer_axis(chart: go.Figure, order: list[str]) -> None:
    axis = {"type": "category", "categoryorder": "array", "categoryarray": order, "showgrid": False}
    if chart.data[0].x is not None and list(chart.data[0].x) == order:
        del axis["categoryorder"], axis["categoryarray"]
    if len(order) > LABELS:
        axis |= {"showticklabels": False, "title_text": f"{len(order):,} layers, in graph order"}
    else:
        axis |= {"tickmode": "array", "tickvals": order, "ticktext": [shorten(n, LABEL_LENGTH) for n in order],
                 "tickfont_size": 11 if len(order) <= 30 else 9}  # fmt: skip
        chart.update_layout(height=HEIGHT + 4 * max(0, min(LABEL_LENGTH, max(map(len, order))) - 8))
    chart.update_xaxes(**axis)


def is_lossless(db: float) -> bool:
    return math.isinf(db) and db > 0
