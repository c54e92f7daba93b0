"""What `qnb.attribute` returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from qnb.columns import LAYER, OUTPUT_SHARE, SHARES
from qnb.document import Document, Shown, Table, Text
from qnb.text import decibel, share

if TYPE_CHECKING:
    import plotly.graph_objects as go

MUCH = 0.1
"""A residual from here on is said: shares are first-order, and so much is not."""
NAMED = 3
"""How many layers the caption names."""


@dataclass(frozen=True, repr=False)
class Attribution(Shown):
    """Which layers the error at a model's outputs comes from.

    Args:
        table: one row per input and layer in graph order, `qnb.columns.ATTRIBUTION`: SQNR in dB at the layer's output
            of the error that it inherits and of that which it adds; shares of the error's energy at the model's
            outputs, negative where an error cancels others.
        residual: the share that no layer accounts for: what is not first-order in the errors.
        output_sqnr_db: SQNR of the mean noise-to-signal ratio of the outputs' parts.
        passes: over the data at most, each forward or backward through an op counted.
    """

    table: pd.DataFrame
    residual: float
    output_sqnr_db: float
    passes: int

    def chart(self, *, title: str = "") -> go.Figure:
        """Bars of shares in graph order, as a Plotly figure; ``title`` says what of."""
        from qnb import charts

        return charts.attribution(self.table, title=title)

    def caption(self) -> str:
        """The layers with the largest shares, in one line."""
        first = self.table.nlargest(NAMED, OUTPUT_SHARE)
        named = ", ".join(f"{r[LAYER]} ({share(r[OUTPUT_SHARE])})" for _, r in first.iterrows())
        return f"Output {decibel(self.output_sqnr_db)}; the error comes from {named}"

    def document(self) -> Document:
        blocks: list = [Text(self._sums())]
        if abs(self.residual) >= MUCH:
            blocks.append(Text(f"{share(self.residual)} of it is not first-order in the errors.", "warn"))
        largest = self.table.sort_values(OUTPUT_SHARE, key=abs, ascending=False, kind="stable")
        forms = {name: share for name in (*SHARES, OUTPUT_SHARE)} | dict.fromkeys(("inherited_db", "added_db"), decibel)
        blocks.append(Table(largest, "The largest shares first", 12, forms))
        return Document("attribution", self.caption(), tuple(blocks))

    def _sums(self) -> str:
        said = [f"{name.removesuffix('_share')}s {share(self.table[name].sum())}" for name in SHARES]
        said = [word.replace("biass", "biases") for word in said]
        return f"Of the output's error: {', '.join(said)}, unexplained {share(self.residual)}"
