"""A streaming histogram whose result depends on the data alone, not on how it came in batches."""

from __future__ import annotations

import torch
from torch import Tensor

from qnb.ranges.bins import Bins, count_rows, place, span
from qnb.ranges.rows import extremes
from qnb.ranges.statistics import MinMax

_CHUNK = 2**18  # elements counted at once: temporaries stay in the cache
_SMALLEST = -120  # exponent of the finest bin: 2^120 is still a float32


class Histogram(MinMax):
    """Counts in bins of width ``2^e`` whose edges are multiples of ``2^e``.

    The exponent is the smallest one with which the range seen so far fits into ``bins`` bins. When the range
    grows, neighbouring bins merge in pairs, which is exact; so the same data give the same counts in any
    order and any batches. At least half of the bins lie inside the range (unless float32 itself is coarser).

    Args:
        axis, block_size, channel_axis: as `MinMax`.
        bins: how many; 16,384 for a tensor, 2,048 per channel or block.

    >>> histogram = Histogram(bins=4)
    >>> histogram.update(torch.tensor([0.0, 0.1, 0.9]))
    >>> histogram.update(torch.tensor([1.6]))
    >>> histogram.counts.tolist(), histogram.width.tolist()
    ([[2, 1, 0, 1]], [0.5])
    """

    def __init__(
        self,
        axis: int | None = None,
        block_size: int | None = None,
        channel_axis: int | None = None,
        bins: int | None = None,
    ):
        super().__init__(axis, block_size, channel_axis)
        self.size = bins or (2**14 if axis is None else 2**11)
        self.counts: Tensor | None = None
        self._exponent: Tensor | None = None  # int32 [rows]
        self._first: Tensor | None = None  # int64 [rows]: left edge of bin 0, in widths

    @property
    def width(self) -> Tensor:
        """Bin width, float64 ``[rows]``."""
        return _power_of_two(self._exponent)

    @torch.no_grad()
    def update(self, x: Tensor) -> None:
        """Takes in a tensor in about five passes. After infinite or NaN values only min and max are kept."""
        if x.numel() == 0:
            return
        rows, shape = self.rows.view(x)
        low, high = (value.view(shape) for value in extremes(rows))
        within = self._min is not None and bool(((low >= self._min) & (high <= self._max)).all())
        self.count += x.numel()
        if not within:
            self._merge(low, high)
            if not bool((torch.isfinite(self._min) & torch.isfinite(self._max)).all()):
                return  # min and max say so; there is nothing to count them in
            self._grow()
        self._count(rows)

    def _grow(self) -> None:
        """Chooses the layout for the range seen so far and moves the counts there."""
        exponent, first = _layout(self._min.flatten(), self._max.flatten(), self.size)
        if self.counts is None:
            self.counts = torch.zeros(len(first), self.size, dtype=torch.int64, device=first.device)
        else:
            bins = self._first[:, None] + torch.arange(self.size, device=first.device)
            shift = (exponent - self._exponent).long()[:, None].clamp(max=62)
            index = (torch.bitwise_right_shift(bins, shift) - first[:, None]).clamp_(0, self.size - 1)
            self.counts = count_rows(index, self.size, self.counts)
        self._exponent, self._first = exponent, first

    def _count(self, rows: Tensor) -> None:
        if rows.shape[0] == 1:
            scale, first = 2.0 ** -int(self._exponent[0]), int(self._first[0])
            counts = self.counts[0]
            for part in rows[0].split(_CHUNK) if rows.numel() > _CHUNK else rows:
                # A power of two scales without rounding, so that floor finds the true bin.
                index = (part * scale).floor_().sub_(first).to(torch.int32)
                counts += torch.bincount(index, minlength=self.size)
            return
        scale = _power_of_two(-self._exponent).to(rows.dtype)
        index = (rows * scale[:, None]).floor_().sub_(self._first[:, None]).to(torch.int32)
        self.counts += count_rows(index, self.size)

    def bins(self, n: int) -> Bins:
        """The histogram in n even bins over ``[min, max]``; a fine bin goes where its middle lies."""
        minimum, maximum = self.min.flatten(), self.max.flatten()
        low, high = span(minimum, maximum)
        steps = torch.arange(self.size, device=low.device) + 0.5
        middle = (self._first[:, None] + steps) * self.width[:, None]
        # The outermost fine bins reach past the range; their values do not.
        middle = middle.float().clamp(minimum[:, None], maximum[:, None])
        return Bins(low, high, count_rows(place(middle, low, high, n), n, self.counts))


def _layout(low: Tensor, high: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """(exponent, first bin) of the finest layout in which each row's range takes at most ``size`` bins."""
    low, high = low.double(), high.double()
    exponent = _ceil_log2((high - low) / size)
    # float32 values are no finer than 2^-23 of their own size: finer bins would not have exact indices.
    exponent = torch.maximum(exponent, _ceil_log2(torch.maximum(high, -low)) - 23).clamp(min=_SMALLEST)
    width = _power_of_two(exponent)
    # Wide enough, but where the range lies across the edges it may take one bin more than there are.
    crowded = torch.floor(high / width) - torch.floor(low / width) >= size
    exponent = exponent + crowded.int()
    return exponent, torch.floor(low / _power_of_two(exponent)).long()


def _power_of_two(exponent: Tensor) -> Tensor:
    """2^exponent as float64."""
    return torch.ldexp(torch.ones_like(exponent, dtype=torch.float64), exponent)


def _ceil_log2(value: Tensor) -> Tensor:
    """Smallest k with value < 2^k, int32; the coarsest that counts as none for 0."""
    return torch.where(value > 0, torch.frexp(value).exponent.int(), _SMALLEST)
