"""Where a grid ends, over a chart of values."""

from __future__ import annotations

import math

import plotly.graph_objects as go

from qnb.charts.frames import value
from qnb.charts.theme import BAD


def shade_clipped(chart: go.Figure, start: float, end: float, low: float | None, high: float | None) -> None:
    """Shade what the grid does not reach."""
    for edge, x0, x1, side in ((low, start, low, "left"), (high, high, end, "right")):
        if edge is None or not math.isfinite(edge) or not start < edge < end:
            continue
        chart.add_vrect(x0, x1, fillcolor=BAD, opacity=0.13, line_width=0, layer="below")
        chart.add_vline(edge, line={"color": BAD, "width": 1.5, "dash": "dash"})
        outside = x1 - x0 > 0.25 * (end - start)
        anchor = side if not outside else {"left": "right", "right": "left"}[side]
        chart.add_annotation(
            x=edge,
            y=1,
            yref="paper",
            yanchor="top",
            xanchor=anchor,
            showarrow=False,
            text=f"clips at {value(edge)}",
            font={"color": BAD, "size": 11},
        )
