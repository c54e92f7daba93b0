"""Simulation against runtime, per layer."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go

from qnb.charts.frames import require
from qnb.charts.layer_sqnr import layer_sqnr
from qnb.columns import LAYER, OP, OWN_SQNR_DB, SQNR_DB


def fidelity(fidelity: pd.DataFrame | Mapping[str, pd.DataFrame], *, threshold_db: float | None = None) -> go.Figure:
    """SQNR of a simulation against one or several runtimes, layers in graph order; ``inf`` is bit for bit.

    Args:
        fidelity: what `qnb.fidelity` returns, or ``{runtime: such a DataFrame}``.
        threshold_db: a line at this SQNR.
    """
    frames = fidelity if isinstance(fidelity, Mapping) else {"": fidelity}
    ready = {}
    for name, frame in frames.items():
        frame = require(frame, (LAYER, OP, SQNR_DB), "fidelity", "what qnb.fidelity returns")
        ready[name] = frame[frame[OP] != "output"].assign(**{OWN_SQNR_DB: float("nan")})
    chart = layer_sqnr(ready, threshold_db=threshold_db, worst=1)
    return chart.update_layout(yaxis_title_text="SQNR (dB), simulation against runtime")
