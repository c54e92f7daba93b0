"""Results that show as a chart with a table beside it. Charts are bound when shown, not when imported."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from qnb.html import card, paragraph, table
from qnb.workflow import reprs

PLOTLY = "application/vnd.plotly.v1+json"
SHOWN = ["layer", "op", "sqnr_db", "own_sqnr_db", "saturated_fraction", "fp32_min", "fp32_max"]


def figure_json(figure) -> dict[str, Any]:
    """A figure as Plotly's own MIME type takes it, as wide as its cell."""
    import json

    return json.loads(figure.to_json()) | {"config": {"responsive": True, "displaylogo": False}}


class Shown:
    """Base of what shows as figures and tables: live charts where Plotly can draw, text and HTML elsewhere."""

    def figures(self) -> list:
        raise NotImplementedError

    def caption(self) -> str:
        raise NotImplementedError

    def tables(self) -> str:
        raise NotImplementedError

    def __repr__(self) -> str:
        return self.caption()

    def _repr_html_(self) -> str:
        return self.tables()

    def _ipython_display_(self) -> None:
        from IPython.display import display

        for figure in self.figures():
            title = figure.layout.title.text or ""
            display({PLOTLY: figure_json(figure), "text/plain": title, "text/html": paragraph(title)}, raw=True)
        display({"text/plain": self.caption(), "text/html": self.tables()}, raw=True)


@dataclass(frozen=True, repr=False)
class Comparison(Shown):
    """FP32 against QuantSim per layer, for one or several runs.

    Args:
        frames: run name to a DataFrame with columns `qnb.columns.COMPARISON`.
    """

    frames: dict[str, pd.DataFrame]

    @property
    def table(self) -> pd.DataFrame:
        """The figures of one run; with several, all of them with a column ``run`` first."""
        if len(self.frames) == 1:
            return next(iter(self.frames.values()))
        return pd.concat([f.assign(run=n)[["run", *f.columns]] for n, f in self.frames.items()], ignore_index=True)

    def chart(self):
        """Bars of SQNR per layer as a Plotly figure; with one run, its own error too."""
        from qnb import charts

        return charts.layer_sqnr(self.frames, own=len(self.frames) == 1)

    def figures(self) -> list:
        return [self.chart()]

    def caption(self) -> str:
        return reprs.comparison_text(self.frames)

    def tables(self) -> str:
        parts = []
        for name, frame in self.frames.items():
            worst = frame.nsmallest(5, "own_sqnr_db")[SHOWN]
            parts += [paragraph(f"{name}: the layers that lose most on their own (of {len(frame)})"), table(worst)]
        return card("FP32 against QuantSim", {}, *parts)


@dataclass(frozen=True, repr=False)
class LayerView(Shown):
    """One layer of one run.

    Args:
        run, layer: which.
        row: its figures, columns `qnb.columns.COMPARISON`.
        histogram, scatter, weights: DataFrames (`qnb.columns`); weights is None where it has none.
    """

    run: str
    layer: str
    row: pd.Series
    histogram: pd.DataFrame
    scatter: pd.DataFrame
    weights: pd.DataFrame | None = field(default=None)

    @staticmethod
    def of(run, layer: str, batches) -> LayerView:
        from qnb.errors import InputError
        from qnb.measures.distributions import layer_histogram, layer_scatter, weight_channels

        if run.sim is None:
            raise InputError("Workflow.layer", f"run {run.name!r}, which has no simulation", "name another run")
        histogram, scatter = layer_histogram(run.sim, batches, layer), layer_scatter(run.sim, batches, layer)
        has_weights = any(s.layer == layer for s in run.sim.plan.weights.values())
        weights = weight_channels(run.sim, layer) if has_weights else None
        run.sim.drop_cache()
        row = run.comparison.set_index("layer", drop=False).loc[layer]
        return LayerView(run.name, layer, row, histogram, scatter, weights)

    def figures(self) -> list:
        from qnb import charts

        attrs = self.histogram.attrs
        title = f"{self.run}, {self.layer}"
        found = [
            charts.layer_histogram(self.histogram, layer=title, low=attrs["low"], high=attrs["high"],
                                   clipped_fraction=attrs["clipped_fraction"]),
            charts.layer_scatter(self.scatter, layer=title),
        ]  # fmt: skip
        if self.weights is not None:
            found.append(charts.weight_ranges(self.weights, layer=self.layer))
        return found

    def caption(self) -> str:
        return (f"{self.run}, {self.layer}: SQNR {self.row.sqnr_db:.1f} dB accumulated, "
                f"{self.row.own_sqnr_db:.1f} dB on its own")  # fmt: skip

    def tables(self) -> str:
        return card(self.caption(), {}, table(self.row.to_frame().T[SHOWN]))


def summary_chart(flow):
    """Metric against size, a point per run."""
    from qnb import charts

    return charts.summary(flow.summary(), tolerance=flow.tolerance)
