"""The statistics interface over values that are at hand: weights."""

from __future__ import annotations

import torch
from torch import Tensor

from qnb.ranges.bins import Bins, count_rows, place, span
from qnb.ranges.statistics import MinMax


class Values(MinMax):
    """Statistics of the rows of a matrix, computed from the values themselves whenever a rule asks.

    >>> Values(torch.tensor([[0.0, 1.0], [-2.0, 2.0]])).max
    tensor([1., 2.])
    """

    def __init__(self, rows: Tensor):
        super().__init__(axis=0)
        self.values = rows
        self.update(rows)

    @torch.no_grad()
    def bins(self, n: int) -> Bins:
        """Histogram in n even bins over ``[min, max]`` of each row."""
        low, high = span(self.min, self.max)
        return Bins(low, high, count_rows(place(self.values, low, high, n), n))
