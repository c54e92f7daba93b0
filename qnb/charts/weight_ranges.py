"""Range of a layer's weights per output channel."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from qnb.charts.frames import numbers, require, small, value
from qnb.charts.theme import BAD, QUANTSIM, empty, figure, titled
from qnb.columns import CHANNELS, LAYER
from qnb.errors import InputError

SOURCE = "weight ranges with columns qnb.columns.CHANNELS, as flow.layer(run, layer).weights"
GAPS, BARS = 120, 1024
"""Up to so many bars there are gaps between them; of more channels than BARS, neighbours share one."""
STANDS_OUT = 2.0
"""A channel that reaches so many times as far as the median channel has a name in the chart."""


def weight_ranges(channels: pd.DataFrame, *, layer: str = "") -> go.Figure:
    """A bar from the smallest to the largest weight of each output channel.

    Args:
        channels: one row per channel, columns `qnb.columns.CHANNELS`; scale is NaN where there is none. Of more
            than 1,024 channels, neighbours share a bar: their smallest and largest weight, and largest scale.
        layer: which layer, where the frame holds several; what the title calls it.

    Raises:
        InputError: columns are missing, or the frame holds several layers and ``layer`` is none of them.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"layer": "fc", "channel": [0, 1, 2], "min": [-1.0, -1.0, -6.0], "max": [1.0, 1.0, 8.0],
    ...                       "scale": [0.1, 0.1, 0.8]})
    >>> weight_ranges(frame).layout.title.text
    'fc: channel 2 reaches 8 times as far as the median'
    """
    frame = _one_layer(require(channels, CHANNELS, "weight_ranges", SOURCE), layer)
    if frame.empty:
        return empty("No weights to show: choose a layer that has weights.")
    channel, low, high, scale = (numbers(frame[c]) for c in CHANNELS[1:])
    together = -(-len(low) // BARS)
    starts = np.arange(0, len(low), together)
    tops, bottoms = np.fmax.reduceat(high, starts), np.fmin.reduceat(low, starts)
    chart = figure(
        _title(layer or str(frame[LAYER].iloc[0]), channel, low, high),
        f"output channel ({len(low):,})",
        "weight",
        showlegend=False,
        bargap=0.2 if len(starts) <= GAPS else 0.0,
    )
    regular = np.array_equal(channel, np.arange(len(low)))
    place = {"x0": 0, "dx": together} if regular else {"x": [int(c) for c in channel[starts]]}
    # A bar's y is where it ends, so that the hover needs no copy of the largest weight.
    hover = "channel %{x}" + (f" and the next {together - 1}" if together > 1 else "") + "<br>%{base:.4g} to %{y:.4g}"
    if np.isfinite(scale).any():
        hover += "<br>scale %{customdata:.3g}"
        place["customdata"] = small(np.fmax.reduceat(scale, starts), 3)
    chart.add_trace(
        go.Bar(
            base=small(bottoms, 4),
            y=small(tops - bottoms, 4),
            marker={"color": QUANTSIM, "line": {"width": 0}},
            hovertemplate=hover + "<extra></extra>",
            **place,
        )
    )
    _name_the_widest(chart, channel, low, high)
    return chart.update_xaxes(showgrid=False, hoverformat="d", tickformat=",d")


def _one_layer(channels: pd.DataFrame, layer: str) -> pd.DataFrame:
    names = list(dict.fromkeys(channels[LAYER]))
    if layer in names:
        return channels[channels[LAYER] == layer]  # pyright: ignore[reportReturnType]
    if len(names) > 1:
        said = f"not {layer!r}" if layer else "and layer= chooses none"
        raise InputError("charts.weight_ranges", f"weights of {len(names)} layers, {said}", f"pass layer={names[0]!r}")
    return channels


def _widest(low: np.ndarray, high: np.ndarray) -> tuple[int, float] | None:
    """(row of the channel that reaches farthest from 0, how many times as far as the median), if it stands out."""
    reach = np.fmax(np.abs(low), np.abs(high))
    median = np.nanmedian(reach) if np.isfinite(reach).any() else 0.0
    if not median > 0 or np.nanmax(reach) <= STANDS_OUT * median:
        return None
    return int(np.nanargmax(reach)), float(np.nanmax(reach) / median)


def _name_the_widest(chart: go.Figure, channel: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
    found = _widest(low, high)
    if found is not None:
        up = abs(high[found[0]]) >= abs(low[found[0]])
        end = (high if up else low)[found[0]]
        chart.add_annotation(
            x=int(channel[found[0]]),
            y=small([end])[0],
            ax=0,
            ay=-18 if up else 18,
            arrowhead=0,
            arrowcolor=BAD,
            text=f"channel {int(channel[found[0]])}",
            font={"size": 11, "color": BAD},
        )


def _title(layer: str, channel: np.ndarray, low: np.ndarray, high: np.ndarray) -> str:
    found = _widest(low, high)
    if found is not None:
        times = value(found[1], 2)
        return titled("", layer, f": channel {int(channel[found[0]])} reaches {times} times as far as the median")
    reach = np.fmax(np.abs(low), np.abs(high))
    if not np.nanmax(reach, initial=0.0) > 0:
        return titled("", layer, ": all weights are zero")
    return titled("", layer, f": weights within ±{value(np.nanmax(reach))}, no channel stands out")
