"""Simulation against runtime, per layer."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go

from qnb.charts.frames import require
from qnb.charts.layer_sqnr import layer_sqnr
from qnb.charts.run_traces import LABELS
from qnb.charts.theme import BAD, TEMPLATE, empty, plain, titled
from qnb.columns import LAYER, OP, OWN_SQNR_DB, SQNR_DB
from qnb.text import LOSSLESS, decibel

LEGEND_TOP = 98


def fidelity(
    fidelity: pd.DataFrame | Mapping[str, pd.DataFrame],
    *,
    threshold_db: float | None = None,
    begins: Mapping[str, str] | None = None,
) -> go.Figure:
    """SQNR of a simulation against one or several runtimes, layers in graph order; ``inf``: the same values.

    Args:
        fidelity: what `qnb.fidelity` returns, or ``{runtime: such a DataFrame}``.
        threshold_db: a line at this SQNR.
        begins: runtime to the layer where it begins to disagree with the simulation: marked, and said in the title.
    """
    frames = fidelity if isinstance(fidelity, Mapping) else {"": fidelity}
    ready = {}
    for name, frame in frames.items():
        frame = require(frame, (LAYER, OP, SQNR_DB), "fidelity", "what qnb.fidelity returns")
        ready[name] = frame[frame[OP] != "output"].assign(**{OWN_SQNR_DB: float("nan")})
    if not any(len(frame) for frame in ready.values()):
        return empty("No layers to show: deploy a run first, for example flow.deploy('w8a16', 'deploy').")
    chart = layer_sqnr(ready, threshold_db=threshold_db, worst=1)
    chart.update_layout(title_subtitle_text=chart.layout.title.subtitle.text or "simulation vs runtime")
    if chart.layout.showlegend:  # runtimes' names are long: two lines of them, below the subtitle
        chart.update_layout(margin_t=LEGEND_TOP, height=chart.layout.height + LEGEND_TOP - TEMPLATE.layout.margin.t)
    for name, layer in (begins or {}).items():
        if name in ready and layer in set(ready[name][LAYER]):
            _mark(chart, name, layer, float(ready[name].set_index(LAYER)[SQNR_DB][layer]))
    for trace in chart.data:
        if trace.name == LOSSLESS and isinstance(trace, go.Scatter) and len(trace.x) > LABELS:
            trace.marker.size = 4  # nearly all layers, often
    return chart


def _mark(chart: go.Figure, runtime: str, layer: str, db: float) -> None:
    """A line through the layer where a runtime begins to disagree; the title says which and how much."""
    order = list(dict.fromkeys(x for trace in chart.data for x in (trace.x if trace.x is not None else ())))
    shown = plain(layer)
    at = order.index(shown)
    line = {"color": BAD, "width": 2, "dash": "dash"}
    mark = {"type": "line", "x0": at, "x1": at, "y0": 0, "y1": 1, "yref": "paper", "line": line, "layer": "below"}
    chart.update_layout(shapes=[*chart.layout.shapes, mark])
    before = f"{runtime} disagrees from layer " if runtime else "Disagrees from layer "
    chart.update_layout(title_text=titled(before, layer, f" on: {decibel(db)}"))
