"""Cost against loss over mixes of precisions: the predicted front, and what was measured."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from qnb.charts.frames import numbers, require, small, value
from qnb.charts.theme import BLUE, GREEN, GREY, ORANGE, empty, figure, plain
from qnb.columns import FRONT, title
from qnb.text import count, metric_text

UNKNOWN = "units of cost"
SOURCE = "a search's front, as result.tables['front'] of qnb.methods.mixed_precision"


def pareto(front: pd.DataFrame, *, cost: str | None = None, selected: int | None = None) -> go.Figure:
    """The predicted front as a line, and the drop of the metric of measured points, with their intervals.

    Prediction (a divergence, left) and metric (right) have different units, so each has its axis; both fall as the
    cost rises. The line is logarithmic: what is 0 is left out of it.

    Args:
        front: columns `qnb.columns.FRONT`, the cheapest point first.
        cost: name of the cost and its unit; None takes what ``front.attrs["cost"]`` says.
        selected: number of a point to mark in place of the chosen one.

    Raises:
        InputError: columns are missing.

    >>> import pandas as pd
    >>> rows = [(0, 1e6, .25, .5, .04, .02, .06, .93, False), (1, 4e6, 1., .01, 0., 0., 0., .97, True)]
    >>> pareto(pd.DataFrame(rows, columns=list(FRONT)), cost="BOPs").layout.title.text
    'Chosen: 4 M BOPs (100 % of the most expensive), measured drop 0'
    """
    require(front, FRONT, "pareto", SOURCE)
    if front.empty:
        return empty("No mixes of precisions to show: run flow.recover(run, 'mixed_precision') first.")
    cost = cost or title(front.attrs.get("cost", UNKNOWN))
    front = front.reset_index(drop=True)
    marked = _marked(front, selected)
    chart = figure(_title(front, marked, cost), plain(cost), "predicted loss")
    chart.add_trace(
        go.Scatter(
            x=small(front["cost"]),
            y=small(numbers(front["predicted"])),
            mode="lines+markers",
            name="predicted (left)",
            line={"color": BLUE, "width": 1.5},
            marker={"size": 5, "color": BLUE},
            hovertext=[_hover(row, cost) for row in front.itertuples()],
            hoverinfo="text",
        )
    )
    measured = front[np.isfinite(numbers(front["measured"]))]
    if len(measured):
        _measured(chart, measured, cost)
    if marked is not None:
        x = small([front["cost"][marked]])[0]
        chart.add_shape(
            type="line",
            x0=x,
            x1=x,
            y0=0,
            y1=1,
            yref="paper",
            layer="below",
            line={"color": GREEN, "dash": "dot", "width": 1.5},
        )
        chart.add_annotation(
            text="selected" if selected is not None else "chosen",
            x=x,
            y=1,
            yref="paper",
            yanchor="top",
            showarrow=False,
            font={"color": GREEN, "size": 12},
            xanchor="left" if _left_half(front, marked) else "right",
        )
    chart.update_layout(yaxis_type="log", yaxis_exponentformat="power")
    return chart.update_xaxes(range=small([0.0, 1.04 * front["cost"].max()]), exponentformat="SI")


def _measured(chart: go.Figure, measured: pd.DataFrame, cost: str) -> None:
    drop = numbers(measured["measured"])
    low, high = (np.where(np.isfinite(v), v, drop) for v in (numbers(measured["low"]), numbers(measured["high"])))
    error = {
        "array": small(high - drop),
        "arrayminus": small(drop - low),
        "width": 4,
        "thickness": 1.3,
        "color": ORANGE,
    }
    chart.add_trace(
        go.Scatter(
            x=small(measured["cost"]),
            y=small(drop),
            mode="markers",
            name="measured (right)",
            yaxis="y2",
            error_y=error,
            marker={"symbol": "diamond", "size": 9, "color": ORANGE},
            cliponaxis=False,
            hovertext=[_hover(row, cost) for row in measured.itertuples()],
            hoverinfo="text",
        )
    )
    chart.update_layout(
        margin_r=70,
        yaxis2={
            "title": {"text": "measured drop of the metric", "standoff": 10},
            "overlaying": "y",
            "side": "right",
            "showgrid": False,
            "zeroline": False,
            "tickmode": "auto",
            "linecolor": GREY,
            "automargin": True,
        },
    )


def _marked(front: pd.DataFrame, selected: int | None) -> int | None:
    """Row of the point to mark."""
    rows = front["point"] == selected if selected is not None else front["chosen"].fillna(False).astype(bool)
    return int(np.flatnonzero(rows)[0]) if rows.any() else None


def _left_half(front: pd.DataFrame, row: int) -> bool:
    return front["cost"][row] <= front["cost"].max() / 2  # pyright: ignore[reportReturnType]


def _title(front: pd.DataFrame, marked: int | None, cost: str) -> str:
    done = int(np.isfinite(numbers(front["measured"])).sum())
    if marked is None:
        return f"{len(front)} best mixes of precisions, {done} of them measured"
    row = front.loc[marked]
    which = "Chosen" if row["chosen"] else f"Point {int(row['point'])}"
    drop = f"measured drop {value(row['measured'])}" if math.isfinite(row["measured"]) else "not measured"
    return plain(
        f"{which}: {count(row['cost'])} {cost} ({row['cost_fraction']:.0%} of the most expensive), {drop}".replace(
            "%", " %"
        )
    )


def _hover(row, cost: str) -> str:
    lines = [
        f"<b>point {row.point}</b>: {count(row.cost)} {plain(cost)} ({row.cost_fraction:.0%})",
        f"predicted loss {row.predicted:.3g}",
    ]
    if math.isfinite(row.measured):
        known = math.isfinite(row.low) and math.isfinite(row.high)
        lines.append(
            f"metric {metric_text(row.metric)}, drop {row.measured:.2g}"
            + (f" ({row.low:.2g} to {row.high:.2g})" if known else "")
        )
    return "<br>".join(lines)
