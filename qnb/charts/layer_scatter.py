"""QuantSim against FP32, value by value."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from qnb.charts.frames import numbers, require, small, value
from qnb.charts.theme import GREY, QUANTSIM, empty, figure, titled
from qnb.columns import SCATTER

SOURCE = "a sample of values with columns qnb.columns.SCATTER, as flow.layer(run, layer).scatter"
POINTS = 3000


def layer_scatter(scatter: pd.DataFrame, *, layer: str = "") -> go.Figure:
    """QuantSim against FP32 values with the line of equality; both axes have the same scale.

    Args:
        scatter: one row per value, columns `qnb.columns.SCATTER`; of more than 3,000 rows evenly spaced ones
            are drawn, rows that are not finite are left out.
        layer: what the title calls it.

    Raises:
        InputError: columns are missing.

    >>> import pandas as pd
    >>> layer_scatter(pd.DataFrame({"fp32": [0.0, 1.0], "quantsim": [0.0, 0.75]}), layer="fc").layout.title.text
    'fc: largest difference 0.25 (2 values)'
    """
    require(scatter, SCATTER, "layer_scatter", SOURCE)
    fp32, quantsim = (numbers(scatter[c]) for c in SCATTER)
    kept = np.isfinite(fp32) & np.isfinite(quantsim)
    if not kept.any():
        what = "No finite values to show" if len(kept) else "No values to show"
        return empty(f"{what}: run flow.layer(run, layer) on other data.")
    fp32, quantsim = fp32[kept], quantsim[kept]
    chart = figure(
        _title(layer, np.abs(fp32 - quantsim).max(), len(fp32), int((~kept).sum())),
        "FP32 value",
        "QuantSim value",
        height=420,
        hovermode="closest",
        showlegend=False,
    )
    ends = min(fp32.min(), quantsim.min()), max(fp32.max(), quantsim.max())
    pad = 0.04 * (ends[1] - ends[0]) or 0.5
    ends = small([ends[0] - pad, ends[1] + pad])
    chart.add_trace(go.Scatter(x=ends, y=ends, mode="lines", line={"color": GREY, "width": 1}, hoverinfo="skip"))
    step = -(-len(fp32) // POINTS)
    chart.add_trace(
        go.Scatter(
            x=small(fp32[::step]),
            y=small(quantsim[::step]),
            mode="markers",
            marker={"size": 4, "opacity": 0.55, "color": QUANTSIM},
            hovertemplate="FP32 %{x:.4g}<br>QuantSim %{y:.4g}<extra></extra>",
        )
    )
    chart.update_xaxes(range=ends, constrain="domain")
    return chart.update_yaxes(range=ends, scaleanchor="x", constrain="domain")


def _title(layer: str, largest: float, count: int, left_out: int) -> str:
    off = f"largest difference {value(largest)}" if largest > 0 else "no difference"
    rest = f", {left_out:,} not finite" if left_out else ""
    return titled("", layer, f"{': ' if layer else ''}{off} ({count:,} values{rest})")
