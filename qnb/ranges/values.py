"""The statistics interface over a tensor that is at hand: weights."""

from __future__ import annotations

import torch
from torch import Tensor

from qnb.ranges.bins import Bins, count_rows, place, span
from qnb.ranges.statistics import MinMax


class Values(MinMax):
    """Statistics of one tensor, computed from the tensor itself whenever a rule asks.

    >>> Values(torch.tensor([[0.0, 1.0], [-2.0, 2.0]]), axis=0).max
    tensor([1., 2.])
    """

    def __init__(
        self, x: Tensor, axis: int | None = None, block_size: int | None = None, channel_axis: int | None = None
    ):
        super().__init__(axis, block_size, channel_axis)
        self.update(x)
        self.values, _ = self.rows.view(x)

    @torch.no_grad()
    def bins(self, n: int) -> Bins:
        """Histogram in n even bins over ``[min, max]`` of each row."""
        low, high = span(self.min.flatten(), self.max.flatten())
        return Bins(low, high, count_rows(place(self.values, low, high, n), n))
