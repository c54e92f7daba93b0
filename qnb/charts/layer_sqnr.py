"""SQNR per layer, in graph order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from qnb.charts import worst as marks
from qnb.charts.frames import numbers, require
from qnb.charts.run_traces import LABEL_LENGTH, LABELS, RunTraces
from qnb.charts.theme import GREY, HEIGHT, OWN, PALETTE, empty, figure, plain, shorten
from qnb.columns import LAYER, OP, OWN_SQNR_DB, SQNR_DB
from qnb.errors import InputError
from qnb.modules import starts

SOURCE = "what qnb.compare_layers returns, or {run name: such a DataFrame}"
BARS_OF_RUNS, MODULE_LABELS = 3, 24
"""More runs than this are lines; so many names of modules have room."""


def layer_sqnr(
    comparison: pd.DataFrame | Mapping[str, pd.DataFrame],
    *,
    precisions: Sequence[str] | str | None = None,
    own: bool = False,
    threshold_db: float | None = None,
    worst: int = 3,
    modules: bool = False,
) -> go.Figure:
    """SQNR per layer in dB, x = layer names in graph order: bars, or lines where there are many.

    Args:
        comparison: what `qnb.compare_layers` returns, or ``{run name: such a DataFrame}``.
        precisions: names of the runs to show, in this order; of a single DataFrame, its name.
        own: also mark the error each layer makes on its own (``own_sqnr_db``), and look for the worst there.
        threshold_db: a line at this SQNR; the subtitle counts the layers below it.
        modules: lines between modules.
        worst: how many of the weakest layers are named in the chart, at most a third of all.

    Returns:
        A figure with one trace per run; what is lossless (``inf``) stands hatched at the upper end, what
        overflowed (``-inf``) is a cross at 0, NaN is left out.

    Raises:
        InputError: columns are missing, a layer stands twice, or a run is unknown.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"layer": ["conv", "fc"], "op": ["conv2d", "linear"], "sqnr_db": [41.0, 12.3],
    ...                       "own_sqnr_db": [41.0, 15.0]})
    >>> layer_sqnr({"w4a8": frame}).layout.title.text
    'w4a8: weakest layer fc, 12.3 dB'
    """
    runs = _runs(comparison, precisions)
    if not any(len(f) for f in runs.values()):
        return empty("No layers to show: run a step first, for example flow.run('w8a16').")
    order = list(dict.fromkeys(layer for f in runs.values() for layer in f[LAYER]))
    own = own and any(f[OWN_SQNR_DB].notna().any() for f in runs.values())
    found = marks.find(runs, OWN_SQNR_DB if own else SQNR_DB)
    low, cap = _ends(runs, [SQNR_DB, OWN_SQNR_DB] if own else [SQNR_DB], threshold_db)
    chart = figure(marks.title(runs, found, own), "layer, in graph order", "SQNR (dB), more is better")
    lines = len(runs) > BARS_OF_RUNS or len(order) > LABELS
    for i, (name, frame) in enumerate(runs.items()):
        run = RunTraces(name, frame, i, order, cap, lines)
        run.draw(chart)
        if own:
            run.draw_own(chart, OWN if len(runs) == 1 else PALETTE[i % len(PALETTE)])
    marks.annotate(chart, found[: min(worst, max(1, len(order) // 3))], order, low, cap)
    layer_axis(chart, order)
    if modules:
        _between_modules(chart, order)
    if threshold_db is not None:
        chart.add_hline(threshold_db, line={"color": GREY, "dash": "dot", "width": 1.5})
        chart.add_annotation(
            text=f"{threshold_db:g} dB", x=1, xref="paper", y=threshold_db, xanchor="left", showarrow=False
        )
        chart.update_layout(margin_r=60, title_subtitle_text=marks.count_below(runs, found, threshold_db))
    # Bars fill their layer's place; a larger distance would let a neighbour's value into the hover.
    chart.update_layout(hovermode="x unified", hoverdistance=20 if lines else 1, barmode="group", bargap=0.15)
    return chart.update_layout(showlegend=sum(t.showlegend is not False for t in chart.data) > 1)


def _runs(comparison, precisions) -> dict[str, pd.DataFrame]:
    """Run name -> frame; a single frame has no name of its own, unless its column ``run`` says it."""
    wanted = [precisions] if isinstance(precisions, str) else None if precisions is None else list(precisions)
    if isinstance(comparison, pd.DataFrame) and "run" in comparison.columns:
        comparison = dict(iter(comparison.groupby("run", sort=False)))
    if not isinstance(comparison, Mapping):
        comparison = {wanted[0] if wanted and len(wanted) == 1 else "": comparison}
    needed = (LAYER, OP, SQNR_DB, OWN_SQNR_DB)
    frames = {str(name): require(f, needed, "layer_sqnr", SOURCE) for name, f in comparison.items()}
    for name, frame in frames.items():
        twice = frame[LAYER][frame[LAYER].duplicated()].tolist()
        if twice:
            raise InputError("charts.layer_sqnr", f"layer {twice[0]!r} twice in run {name!r}", f"pass {SOURCE}")
    if wanted is not None and (unknown := [n for n in wanted if n not in frames]):
        raise InputError("charts.layer_sqnr", f"no run {unknown[0]!r}", f"choose from: {', '.join(frames)}")
    frames = frames if wanted is None else {n: frames[n] for n in wanted}
    return {plain(n): f.assign(**{LAYER: f[LAYER].map(plain)}) for n, f in frames.items()}


def _ends(runs: dict[str, pd.DataFrame], columns: list[str], threshold_db: float | None) -> tuple[float, float]:
    """(lowest, highest) dB to draw; what is lossless is drawn up to the highest."""
    values = np.concatenate([numbers(f[c]) for f in runs.values() for c in columns])
    finite = values[np.isfinite(values)]
    high = max([0.0, *finite, threshold_db or 0.0])
    if np.isposinf(values).any():
        high = high * 1.08 if high > 0 else 100.0
    return float(min([0.0, *finite])), float(f"{high or 1.0:.4g}")


def _module_ticks(order: list[str]) -> dict:
    """Names of modules where there is no room for those of layers: of as many as fit."""
    found = [(at, name) for at, name in starts(order) if name]
    if not found:
        return {"showticklabels": False}
    some = found[:: -(-len(found) // MODULE_LABELS)]
    return {
        "tickmode": "array",
        "tickvals": [at for at, _ in some],
        "ticktext": [shorten(name, LABEL_LENGTH) for _, name in some],
        "tickfont_size": 10,
    }


def _between_modules(chart: go.Figure, order: list[str]) -> None:
    line = {"color": "rgba(121,121,121,0.45)", "width": 1, "dash": "dot"}
    found = [at - 0.5 for at, _ in starts(order)[1:]]
    if len(found) <= LABELS:
        chart.update_layout(
            shapes=[
                *chart.layout.shapes,
                *(
                    {
                        "type": "line",
                        "x0": x,
                        "x1": x,
                        "y0": 0,
                        "y1": 1,
                        "yref": "paper",
                        "line": line,
                        "layer": "below",
                    }
                    for x in found
                ),
            ]
        )


def layer_axis(chart: go.Figure, order: list[str]) -> None:
    """The axis of layers: their names where there is room, else those of modules."""
    axis = {"type": "category", "showgrid": False}
    if list(chart.data[0].x) != order:
        axis |= {"categoryorder": "array", "categoryarray": order}
    if len(order) > LABELS:
        axis |= {"title_text": f"{len(order):,} layers, in graph order", **_module_ticks(order)}
    else:
        names = [shorten(n, LABEL_LENGTH) for n in order]
        axis |= {
            "tickmode": "array",
            "tickvals": order,
            "ticktext": names,
            "tickfont_size": 11 if len(order) <= 30 else 9,
        }
        chart.update_layout(height=HEIGHT + 4 * max(0, max(map(len, names)) - 8))
    chart.update_xaxes(**axis)
