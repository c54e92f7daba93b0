"""What `qnb.calibration_curve` returns, and when samples are enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from qnb.columns import SAME_DB, SQNR_DB
from qnb.document import Document, Shown, Table, Text
from qnb.text import decibel, share

if TYPE_CHECKING:
    import plotly.graph_objects as go

ENOUGH_DB = SAME_DB
"""SQNR at the outputs that differs by no more is the same: other batches of 32 to 64 samples make as much."""
ENOUGH_RANGE = 0.05
"""So much of a range, in the median over layers, is no difference: steps 5 % coarser are 0.4 dB, less than
`ENOUGH_DB`."""
DOUBLING = 2
"""A count is enough only where at least so many times as many samples were looked at, and changed nothing."""


@dataclass(frozen=True, repr=False)
class CalibrationCurve(Shown):
    """How ranges, and the error at a model's outputs, follow the number of calibration samples.

    Samples are enough from the smallest count on from which SQNR at the outputs stays within `ENOUGH_DB` of that of all
    samples, and the ranges within `ENOUGH_RANGE` in the median over layers, if there are at least twice as many.

    Args:
        table: one row per count, `qnb.columns.CALIBRATION_CURVE`; the last one has all samples.
        ranges: one row per layer and count, `qnb.columns.CALIBRATION_RANGES`.
    """

    table: pd.DataFrame
    ranges: pd.DataFrame

    @property
    def samples(self) -> int:
        """How many there are in all."""
        return int(self.table["samples"].iloc[-1])

    @property
    def enough(self) -> int | None:
        """How many are enough; None where more may still change the result."""
        found = self.table.loc[self.table["enough"], "samples"]
        return int(found.iloc[0]) if len(found) else None

    def of_layer(self, layer: str) -> pd.DataFrame:
        """The ranges of one input or layer, `qnb.columns.CALIBRATION_RANGES`; no rows where calibration data does not
        set them."""
        found = self.ranges[self.ranges["layer"] == layer]
        return found[found["kind"] == found["kind"].iloc[-1]] if len(found) else found  # of a name for both, the layer

    def chart(self, *, title: str = "") -> go.Figure:
        """SQNR at the outputs and the ranges against the number of samples, as a Plotly figure; ``title`` says what
        of."""
        from qnb import charts

        return charts.calibration_curve(self.table, title=title)

    def caption(self) -> str:
        """The answer in a line."""
        level, count = decibel(self.table[SQNR_DB].iloc[-1]), f"{self.samples:,}"
        if self.enough is not None:
            said = f"{self.enough:,} of {count} calibration samples are enough"
            near = f"within {ENOUGH_DB:g} dB of {level}, the median range within {share(ENOUGH_RANGE)}"
            return f"{said}: from there on the output stays {near}"
        if len(self.table) == 1:
            return f"Whether {count} calibration samples are enough is not known: there is no smaller count ({level})"
        first, last = self._changed(), self.table.iloc[-1]
        moved = []
        if not _near(first[SQNR_DB], last[SQNR_DB]):
            moved.append(f"SQNR at the output from {decibel(first[SQNR_DB])} to {level}")
        if not abs(first.range_share - 1) <= ENOUGH_RANGE:
            moved.append(f"the median range from {share(first.range_share)} to 100 % of its width")
        said = f"{count} calibration samples are not enough yet: the last doubling still changed {', '.join(moved)}"
        worse = last[SQNR_DB] < first[SQNR_DB] - ENOUGH_DB
        return f"{said}; add samples" + (", or leave out those that widen the ranges" if worse else "")

    def _changed(self) -> pd.Series:
        """Of the counts of the last doubling the one that differs most from all samples."""
        before = int((self.table["samples"] * DOUBLING <= self.samples).sum())
        recent = self.table.iloc[max(0, before - 1) :]
        levels, last = recent[SQNR_DB].to_numpy(float), recent[SQNR_DB].iloc[-1]
        with np.errstate(invalid="ignore"):  # of two infinities
            moved = np.where(levels == last, 0.0, np.abs(levels - last) / ENOUGH_DB)
        far = np.fmax(moved, np.abs(recent["range_share"].to_numpy(float) - 1) / ENOUGH_RANGE)
        return recent.iloc[int(np.nanargmax(far))]

    def document(self) -> Document:
        forms = {SQNR_DB: decibel, "range_share": share, "least_range_share": share}
        forms["enough"] = lambda v: "yes" if v else "no"
        blocks = (
            Text(
                "Ranges of the first calibration samples, and SQNR at the outputs with them, each on the same batches."
            ),
            Table(self.table, "By number of samples; ranges as a share of those of all samples", 12, forms),
        )
        return Document("calibration-curve", self.caption(), blocks, "neutral" if self.enough is not None else "warn")


def with_enough(table: pd.DataFrame) -> pd.DataFrame:
    """The table with its column ``enough`` filled in.

    >>> rows = [(8, 20.0, 0.5), (16, 30.2, 0.97), (32, 30.1, 1.0), (64, 30.0, 1.0)]
    >>> with_enough(pd.DataFrame(rows, columns=["samples", "sqnr_db", "range_share"])).enough.tolist()
    [False, True, True, True]
    """
    last = table.iloc[-1]
    shares = table["range_share"].to_numpy(float)
    near = np.array([_near(level, last[SQNR_DB]) for level in table[SQNR_DB]]) & (np.abs(shares - 1) <= ENOUGH_RANGE)
    stays = np.flip(np.logical_and.accumulate(np.flip(near)))
    seen = bool((stays & (table["samples"].to_numpy() * DOUBLING <= last["samples"])).any())
    return table.assign(enough=stays & seen)


def _near(level: float, last: float) -> bool:
    """Whether two SQNRs are as good as one; two infinities are."""
    return level == last or abs(level - last) <= ENOUGH_DB
