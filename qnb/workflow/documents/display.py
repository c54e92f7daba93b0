"""Results that show as a chart with a table beside it. Charts are bound when shown, not when imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from qnb.document import Document, Shown, Table
from qnb.html import paragraph
from qnb.measures import LayerProfile, SequenceErrors
from qnb.text import decibel
from qnb.workflow.documents import layers as layer_documents
from qnb.workflow.documents.figures import figure_json, figure_title, histogram

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from qnb.workflow.workflow import Workflow

PLOTLY = "application/vnd.plotly.v1+json"


class Charted(Shown):
    """Base of what shows as figures and a document: live charts where Plotly can draw, text and HTML elsewhere."""

    def figures(self) -> list:
        raise NotImplementedError

    def caption(self) -> str:
        raise NotImplementedError

    def __repr__(self) -> str:
        return self.caption()

    def _ipython_display_(self) -> None:
        from IPython.display import display

        for figure in self.figures():
            title = figure_title(figure)
            display({PLOTLY: figure_json(figure), "text/plain": title, "text/html": paragraph(title)}, raw=True)
        display(self.document().bundle() | {"text/plain": self.caption()}, raw=True)


@dataclass(frozen=True, repr=False)
class Comparison(Charted):
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
        return pd.concat([f.assign(run=n)[["run", *f.columns]] for n, f in self.frames.items()], ignore_index=True)  # pyright: ignore[reportReturnType]

    def chart(self) -> go.Figure:
        """Bars of SQNR per layer as a Plotly figure; with one run, its own error too."""
        from qnb import charts

        return charts.layer_sqnr(self.frames, own=len(self.frames) == 1)

    def figures(self) -> list:
        return [self.chart()]

    def caption(self) -> str:
        return layer_documents.comparison_text(self.frames)

    def document(self) -> Document:
        return layer_documents.comparison(self.frames)


@dataclass(frozen=True, repr=False)
class LayerView(Charted):
    """One layer of one run.

    Args:
        run: its name.
        row: the layer's figures, columns `qnb.columns.COMPARISON`.
        profile: its values; ``histogram``, ``scatter`` and ``weights`` are its DataFrames.
    """

    run: str
    row: pd.Series
    profile: LayerProfile

    @property
    def layer(self) -> str:
        return self.profile.layer

    @property
    def histogram(self) -> pd.DataFrame:
        return self.profile.histogram

    @property
    def scatter(self) -> pd.DataFrame:
        return self.profile.scatter

    @property
    def weights(self) -> pd.DataFrame | None:
        """None where the layer has no weights."""
        return self.profile.weights

    def figures(self) -> list:
        from qnb import charts

        title = f"{self.run}, {self.layer}"
        found = [histogram(self.profile, title), charts.layer_scatter(self.scatter, layer=title)]
        return found + ([] if self.weights is None else [charts.weight_ranges(self.weights, layer=self.layer)])

    def caption(self) -> str:
        return (
            f"{self.run}, {self.layer}: SQNR {decibel(self.row.sqnr_db)} accumulated, "
            f"{decibel(self.row.own_sqnr_db)} on its own"
        )

    def document(self) -> Document:
        frame = self.row.to_frame().T[layer_documents.SHOWN].infer_objects()
        return Document("layer", self.caption(), (Table(frame, formats=layer_documents.FORMS),))


@dataclass(frozen=True, repr=False)
class SequenceView(Charted):
    """Errors of one run by token position and by attention head, and of what it predicts.

    Args:
        run: its name.
        errors: `qnb.measures.SequenceErrors`; its DataFrames are ``positions``, ``heads`` and ``predictions``.
    """

    run: str
    errors: SequenceErrors

    @property
    def positions(self) -> pd.DataFrame:
        """`qnb.columns.POSITIONS`."""
        return self.errors.positions

    @property
    def heads(self) -> pd.DataFrame:
        """`qnb.columns.HEADS`; empty without attention."""
        return self.errors.heads

    @property
    def predictions(self) -> pd.DataFrame:
        """`qnb.columns.PREDICTIONS`; empty where no output is known to be logits."""
        return self.errors.predictions

    def figures(self) -> list:
        from qnb import charts

        found = [charts.position_sqnr(self.positions, own=True, title=self.run)] if len(self.positions) else []
        found += [charts.head_sqnr(self.heads, title=self.run)] if len(self.heads) else []
        return found + ([charts.position_kl(self.predictions, title=self.run)] if len(self.predictions) > 1 else [])

    def caption(self) -> str:
        return f"{self.run}: {self.errors.caption()}"

    def document(self) -> Document:
        return Document("sequence", self.caption(), self.errors.document().blocks)


def summary_chart(flow: Workflow, x: str = "size_bytes") -> go.Figure:
    """Metric against size or latency, a point per run."""
    from qnb import charts

    return charts.summary(flow.summary(), tolerance=flow.tolerance, x=x)
