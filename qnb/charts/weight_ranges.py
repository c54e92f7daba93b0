"""Range of a layer's weights per output channel."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from qnb.charts.frames import numbers, require, small, value
from qnb.charts.theme import BAD, QUANTSIM, empty, figure, shorten
from qnb.columns import CHANNELS, LAYER
from qnb.errors import InputError

SOURCE = "weight ranges with columns qnb.columns.CHANNELS, as flow.layer(run, layer).weights"
GAPS = 120
"""Up to so many channels there is a gap between the bars."""


def weight_ranges(channels: pd.DataFrame, *, layer: str = "") -> go.Figure:
    """A bar from the smallest to the largest weight of each output channel.

    Args:
        channels: one row per channel, columns `qnb.columns.CHANNELS`; scale is NaN where there is none.
        layer: which layer, where the frame holds several; what the title calls it.

    Raises:
        InputError: columns are missing, or the frame holds several layers and ``layer`` is none of them.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"layer": "fc", "channel": [0, 1, 2], "min": [-1.0, -1.0, -6.0], "max": [1.0, 1.0, 8.0],
    ...                       "scale": [0.1, 0.1, 0.8]})
    >>> weight_ranges(frame).layout.title.text
    'fc: channel 2 reaches 8 times as far as the median'
    """
    require(channels, CHANNELS, "weight_ranges", SOURCE)
    names = list(dict.fromkeys(channels[LAYER]))
    if layer in names:
        channels = channels[channels[LAYER] == layer]
    elif len(names) > 1:
        raise InputError("charts.weight_ranges", f"{len(names)} layers, and {layer!r} is none of them",
                         f"choose one with layer=, for example layer={names[0]!r}")  # fmt: skip
    if channels.empty:
        return empty("No weights to show: this layer has none, or no step was run.")
    low, high, scale = (numbers(channels[c]) for c in ("min", "max", "scale"))
    numbered = numbers(channels["channel"])
    reach = np.maximum(np.abs(low), np.abs(high))
    place = {} if np.array_equal(numbered, np.arange(len(low))) else {"x": channels["channel"].tolist()}
    hover = "channel %{x}<br>%{base:.4g} to %{customdata[0]:.4g}"
    custom = [small(high)]
    if np.isfinite(scale).all():
        hover, custom = hover + "<br>scale %{customdata[1]:.4g}", [small(high), small(scale)]
    chart = figure(_title(layer or str(names[0]), numbered, reach), f"output channel (0 to {len(low) - 1})", "weight",
                   showlegend=False, bargap=0.2 if len(low) <= GAPS else 0.0, hovermode="closest")  # fmt: skip
    chart.add_trace(go.Bar(base=small(low), y=small(high - low), marker={"color": QUANTSIM, "line_width": 0},
                           customdata=list(zip(*custom, strict=True)), hovertemplate=hover + "<extra></extra>", **place))  # fmt: skip
    widest = int(np.nanargmax(reach)) if np.isfinite(reach).any() else None
    if widest is not None and _stands_out(reach):
        up = abs(high[widest]) >= abs(low[widest])
        chart.add_annotation(x=numbered[widest], y=small([(high if up else low)[widest]])[0], ay=-18 if up else 18, ax=0,
                             text=f"channel {int(numbered[widest])}", arrowhead=0, arrowcolor=BAD, font_color=BAD)  # fmt: skip
    chart.update_xaxes(showgrid=False, tickformat="d", rangemode="tozero")
    return chart


def _stands_out(reach: np.ndarray) -> bool:
    return bool(np.nanmax(reach) > 2 * np.nanmedian(reach) > 0)


def _title(layer: str, numbered: np.ndarray, reach: np.ndarray) -> str:
    name = shorten(layer, 40)
    if not np.isfinite(reach).any() or np.nanmax(reach) == 0:
        return f"{name}: all weights are zero"
    if _stands_out(reach):
        times = np.nanmax(reach) / np.nanmedian(reach)
        channel = int(numbered[np.nanargmax(reach)])
        return f"{name}: channel {channel} reaches {value(times)} times as far as the median"
    return f"{name}: weights within {value(np.nanmax(reach))}, no channel stands out"
