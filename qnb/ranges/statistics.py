"""Streaming statistics: what is remembered of tensors that are not kept."""

from __future__ import annotations

import torch
from torch import Tensor

from qnb.errors import CalibrationError, InputError
from qnb.ranges.bins import Bins
from qnb.ranges.rows import Rows, extremes


class MinMax:
    """Smallest and largest value, over all tensors it is updated with.

    Args:
        axis, block_size, channel_axis: one statistic per channel or block, see `Rows`; default one in all.

    Infinite and NaN values end up in min and max; whether they are allowed is the caller's question.

    >>> statistics = MinMax()
    >>> statistics.update(torch.tensor([-1.0, 2.0]))
    >>> statistics.update(torch.tensor([3.0]))
    >>> statistics.min, statistics.max, statistics.count
    (tensor(-1.), tensor(3.), 3)
    """

    def __init__(self, axis: int | None = None, block_size: int | None = None, channel_axis: int | None = None):
        self.rows = Rows(axis, block_size, channel_axis)
        self.count = 0
        self._min: Tensor | None = None
        self._max: Tensor | None = None

    @torch.no_grad()
    def update(self, x: Tensor) -> None:
        """Takes in a tensor of any shape (the same channels each time); one pass, nothing kept of x."""
        if x.numel() == 0:
            return
        rows, shape = self.rows.view(x)
        self._merge(*(value.view(shape) for value in extremes(rows)))
        self.count += x.numel()

    def _merge(self, low: Tensor, high: Tensor) -> None:
        if self._min is not None:
            if self._min.shape != low.shape:
                received = f"a tensor with scales of shape {tuple(low.shape)} after {tuple(self._min.shape)}"
                raise InputError("ranges", received, "use a statistic of its own for each tensor")
            low, high = torch.minimum(self._min, low), torch.maximum(self._max, high)
        self._min, self._max = low, high

    @property
    def min(self) -> Tensor:
        """Smallest value, float32, shaped like the scale: ``[]``, ``[channels]`` or blocks."""
        return self._seen(self._min)

    @property
    def max(self) -> Tensor:
        """Largest value, shaped like `min`."""
        return self._seen(self._max)

    def _seen(self, value: Tensor | None) -> Tensor:
        if value is None:
            raise CalibrationError("ranges", "no data was seen", "update the statistics with at least one tensor")
        return value

    def bins(self, n: int) -> Bins:
        """The values in n even bins, where there is a histogram."""
        received, remedy = f"{type(self).__name__} holds no histogram", "collect the rule's own statistics()"
        raise CalibrationError("ranges", received, remedy)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(axis={self.rows.axis}, count={self.count})"
