"""Values of one layer and QuantSim's error, over the same bins."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from qnb.charts.frames import numbers, require, small, value
from qnb.charts.grid_ends import shade_clipped
from qnb.charts.theme import FP32, PURPLE, QUANTSIM, empty, figure, titled
from qnb.columns import DISTRIBUTION

SOURCE = "a table with columns qnb.columns.DISTRIBUTION, as flow.layer(run, layer).profile.distribution"
ZERO = 0.1
"""Where an empty bin stands on a logarithmic axis: below its lower end."""
_LOOKS = {
    "FP32": {"fill": "tozeroy", "fillcolor": "rgba(121,121,121,0.35)", "line": {"width": 1, "color": FP32}},
    "QuantSim": {"line": {"width": 1.8, "color": QUANTSIM}},
    "error": {"fill": "tozeroy", "fillcolor": "rgba(184,102,154,0.28)", "line": {"width": 1.4, "color": PURPLE}},
}


def distribution(
    distribution: pd.DataFrame,
    *,
    layer: str = "",
    low: float | None = None,
    high: float | None = None,
    kurtosis: float | None = None,
    effective_bits: float | None = None,
    log_y: bool = True,
) -> go.Figure:
    """FP32 values and QuantSim's error filled, QuantSim's values as a line, what lies outside the grid shaded.

    All three are over the same bins: how much narrower the error is than the values is what is lost.

    Args:
        distribution: counts per bin, columns `qnb.columns.DISTRIBUTION`, bins side by side and of one width.
        layer: what the title calls it.
        low, high: ends of the grid, in the values' units; infinite where there is none.
        kurtosis, effective_bits: for the title; NaN is not said.
        log_y: counts on a logarithmic axis, where rare values can be seen.

    Raises:
        InputError: columns are missing.

    >>> import pandas as pd
    >>> frame = pd.DataFrame(
    ...     {"bin_left": [0, 1], "bin_right": [1, 2], "fp32": [3, 1], "quantsim": [4, 0], "error": [4, 0]}
    ... )
    >>> distribution(frame, layer="fc", kurtosis=9.5, effective_bits=6.25).layout.title.text
    'fc: kurtosis 9.5, 6.25 effective bits'
    """
    require(distribution, DISTRIBUTION, "distribution", SOURCE)
    if distribution.empty:
        return empty("No values to show: run flow.layer(run, layer) first.")
    left, right, *counts = (numbers(distribution[c]) for c in DISTRIBUTION)
    chart = figure(_title(layer, kurtosis, effective_bits), "value", "values per bin")
    place = {"x0": float(left[0]), "dx": float(right[-1] - left[0]) / len(left)}
    for (name, look), count in zip(_LOOKS.items(), counts, strict=True):
        y = [*count, 0.0]
        look = look | {"line": look["line"] | {"shape": "hv"}}
        trace = {"y": small(np.maximum(y, ZERO) if log_y else y), "mode": "lines", "hovertemplate": "%{y:,.0f}"}
        chart.add_trace(go.Scatter(name=name, **trace, **look, **place))
    shade_clipped(chart, float(left[0]), float(right[-1]), low, high)
    top = max(1.0, *(c.max() for c in counts))
    if log_y:
        chart.update_yaxes(type="log", dtick=1, exponentformat="power", range=[math.log10(0.7), math.log10(2 * top)])
    else:
        chart.update_yaxes(range=[0, 1.12 * top])
    chart.update_xaxes(hoverformat=".4g", showgrid=False, range=[float(left[0]), float(right[-1])])
    return chart.update_layout(hovermode="x unified")


def _title(layer: str, kurtosis: float | None, effective_bits: float | None) -> str:
    said = [] if kurtosis is None or math.isnan(kurtosis) else [f"kurtosis {value(kurtosis)}"]
    if effective_bits is not None and not math.isnan(effective_bits):
        said.append(f"{value(effective_bits)} effective bits")
    return titled("", layer, (": " if layer else "") + (", ".join(said) or "values and error"))
