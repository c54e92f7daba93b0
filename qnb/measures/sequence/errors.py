"""What a simulation loses by token position and by attention head, and what that does to its predictions."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from qnb import columns
from qnb.document import Document, Facts, Shown, Table
from qnb.text import decibel, number, percent

ROWS = 12
"""Of a table in a document."""


@dataclass(frozen=True, repr=False)
class SequenceErrors(Shown):
    """Errors by token position and by attention head, and of what is predicted.

    Args:
        positions: `qnb.columns.POSITIONS`, layers in graph order.
        heads: `qnb.columns.HEADS`; empty without attention.
        predictions: `qnb.columns.PREDICTIONS`; empty where no output is known to be logits.
        kl_nats, kl_p95_nats: KL(FP32 || QuantSim) of what is predicted, mean and 95th percentile over all positions,
            in nats; NaN without predictions.
        top1_agreement: share of predictions whose most likely class is the same; NaN without predictions.
    """

    positions: pd.DataFrame
    heads: pd.DataFrame
    predictions: pd.DataFrame
    kl_nats: float
    kl_p95_nats: float
    top1_agreement: float

    def caption(self) -> str:
        """The answer in a line."""
        said = []
        for frame, column, what in ((self.positions, "position", "position"), (self.heads, "head", "head")):
            if len(frame):
                row = frame.loc[frame[columns.OWN_SQNR_DB].idxmin()]
                where = f"weakest {what} {row[column]} of {row[columns.LAYER]}, {decibel(row.own_sqnr_db)} on its own"
                said.append(where if row.own_sqnr_db < float("inf") else f"every {what} lossless on its own")
        if len(self.predictions):
            same = f"{percent(self.top1_agreement)} of predictions agree"
            said.append(f"{same}, KL {number(self.kl_nats)} nats")
        return "; ".join(said) or "no token positions"

    def document(self) -> Document:
        blocks: list = []
        if len(self.predictions):
            blocks.append(Facts(self.facts()))
        for frame, what in ((self.positions, "token positions"), (self.heads, "attention heads")):
            if len(frame):
                rows = frame.nsmallest(ROWS, columns.OWN_SQNR_DB).drop(columns="last_position", errors="ignore")
                blocks.append(Table(rows, f"The weakest {what}, by their own error (of {len(frame):,})", ROWS, FORMS))
        if len(self.predictions):
            blocks.append(Table(self.predictions, "Predictions by token position", ROWS, FORMS))
        return Document("sequence", self.caption(), tuple(blocks))

    def facts(self) -> dict[str, str]:
        """What is known of predictions."""
        return {
            "KL(FP32 || QuantSim)": f"{number(self.kl_nats)} nats on average",
            "95th percentile": f"{number(self.kl_p95_nats)} nats",
            "top-1 agreement": percent(self.top1_agreement),
            "predictions": f"{int(self.predictions.n.sum()):,}",
        }


FORMS = {
    columns.SQNR_DB: decibel,
    columns.OWN_SQNR_DB: decibel,
    "kl_nats": number,
    "kl_p95_nats": number,
    "top1_agreement": percent,
}
