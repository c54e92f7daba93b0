"""Simulation against runtime, per layer."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go

from qnb.charts.frames import require
from qnb.charts.layer_sqnr import layer_sqnr
from qnb.charts.run_traces import LABELS
from qnb.charts.theme import TEMPLATE, empty
from qnb.columns import LAYER, OP, OWN_SQNR_DB, SQNR_DB
from qnb.html import LOSSLESS

LEGEND_TOP = 98


def fidelity(fidelity: pd.DataFrame | Mapping[str, pd.DataFrame], *, threshold_db: float | None = None) -> go.Figure:
    """SQNR of a simulation against one or several runtimes, layers in graph order; ``inf``: the same values.

    Args:
        fidelity: what `qnb.fidelity` returns, or ``{runtime: such a DataFrame}``.
        threshold_db: a line at this SQNR.
    """
    frames = fidelity if isinstance(fidelity, Mapping) else {"": fidelity}
    ready = {}
    for name, frame in frames.items():
        frame = require(frame, (LAYER, OP, SQNR_DB), "fidelity", "what qnb.fidelity returns")
        ready[name] = frame[frame[OP] != "output"].assign(**{OWN_SQNR_DB: float("nan")})
    if not any(len(frame) for frame in ready.values()):
        return empty("No layers to show: deploy a run first, for example flow.deploy('w8a16', 'deploy').")
    chart = layer_sqnr(ready, threshold_db=threshold_db, worst=1)
    chart.update_layout(title_subtitle_text=chart.layout.title.subtitle.text or "simulation against runtime")
    if chart.layout.showlegend:  # runtimes' names are long: two lines of them, below the subtitle
        chart.update_layout(margin_t=LEGEND_TOP, height=chart.layout.height + LEGEND_TOP - TEMPLATE.layout.margin.t)
    for trace in chart.data:
        if trace.name == LOSSLESS and isinstance(trace, go.Scatter) and len(trace.x) > LABELS:
            trace.marker.size = 4  # nearly all layers, often
    return chart
