"""Even bins laid over streamed histograms: their edges are edges of the fine bins, so that counts stay exact."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from qnb.measures.layers.error import CHUNK

SMALLEST, MANTISSA = -120, 23
"""Exponent of the finest bin, 2^120 is still a float32; and how much finer than a float32 is no bin."""
BINS = 100
"""Of a histogram that is shown."""
SIDES = 2
"""Errors are counted so many histograms' widths to either side of the values; what lies beyond, in the last bin."""


class Values:
    """A streaming histogram of a tensor's finite values, laid out as `qnb.ranges.Histogram` is.

    That one counts rows side by side; this one has one row, and for small tensors takes half the time.

    Args:
        bins: fine ones, at least half of them inside the values' range.

    >>> values = Values(4)
    >>> values.update(torch.tensor([0.0, 0.1, 0.9]))
    >>> values.update(torch.tensor([1.6]))
    >>> values.counts.tolist(), values.exponent
    ([2, 1, 0, 1], -1)
    """

    def __init__(self, bins: int):
        self.size, self.counts = bins, np.zeros(bins, np.int64)
        self.low, self.high = math.inf, -math.inf
        self.exponent: int | None = None
        self._first = 0

    def update(self, x: Tensor) -> None:
        """Take finite float32 values of any shape."""
        if not x.numel():
            return
        x = x.reshape(-1)
        low, high = torch.stack(torch.aminmax(x)).tolist()
        if low < self.low or high > self.high:
            self._grow(min(low, self.low), max(high, self.high))
        scale, counts = 2.0 ** -(self.exponent or 0), 0
        for part in x.split(CHUNK):
            # A power of two scales without rounding, so that floor finds the true bin.
            index = (part * scale).floor_().sub_(self._first).int()
            counts = counts + torch.bincount(index, minlength=self.size)
        self.counts += counts.cpu().numpy()

    def _grow(self, low: float, high: float) -> None:
        """Choose the bins for this range, and move the counts there."""
        exponent = max(_ceil_log2((high - low) / self.size), _ceil_log2(max(high, -low)) - MANTISSA)
        while math.floor(high * 2.0**-exponent) - math.floor(low * 2.0**-exponent) >= self.size:
            exponent += 1
        first = math.floor(low * 2.0**-exponent)
        if self.exponent is not None:
            bins = ((np.arange(self.size) + self._first) >> min(exponent - self.exponent, 62)) - first
            self.counts = np.bincount(bins.clip(0, self.size - 1), self.counts, self.size).astype(np.int64)
        self.low, self.high, self.exponent, self._first = low, high, exponent, first

    @property
    def ends(self) -> tuple[float, float] | None:
        """Smallest and largest value; None without values."""
        return None if self.exponent is None else (self.low, self.high)

    def values(self) -> tuple[np.ndarray, np.ndarray]:
        """The middles of the fine bins that hold values, float64, and how many each holds."""
        full = np.flatnonzero(self.counts)
        return (full + 0.5 + self._first) * 2.0 ** (self.exponent or 0), self.counts[full]


def _ceil_log2(value: float) -> int:
    """Smallest k with value < 2^k; the coarsest that counts as none for 0."""
    return max(math.frexp(value)[1], SMALLEST) if value > 0 else SMALLEST


@dataclass(frozen=True)
class Even:
    """Bins side by side: where the first begins, how wide each is, how many there are."""

    start: float
    width: float
    count: int = BINS

    @classmethod
    def over(cls, ends: list[tuple[float, float]], exponents: list[int]) -> Even:
        """Over all of these ranges; edges are multiples of ``2^max(exponents)``.

        >>> Even.over([(-1.0, 1.0)], [-9])
        Even(start=-1.0, width=0.021484375, count=100)
        """
        if not ends:  # nothing finite, or every position masked
            return cls(0.0, 1.0 / BINS)
        low, high = min(e[0] for e in ends), max(e[1] for e in ends)
        if low == high:
            low, high = low - 0.5, low + 0.5
        fine = 2.0 ** max(exponents, default=SMALLEST)
        first, last = math.floor(low / fine), math.floor(high / fine)
        return cls(first * fine, -(-(last - first + 1) // BINS) * fine)

    def reaching(self, ends: tuple[float, float] | None) -> Even:
        """With more bins of the same width, as far as the ends, at most `SIDES` times as many at either side."""
        if ends is None:
            return self
        before = math.ceil((self.start - ends[0]) / self.width)
        after = math.floor((ends[1] - self.start) / self.width) + 1 - self.count
        before, after = (min(max(n, 0), SIDES * self.count) for n in (before, after))
        return Even(self.start - before * self.width, self.width, self.count + before + after)

    @property
    def edges(self) -> np.ndarray:
        """Of all bins, one more than there are."""
        return self.start + self.width * np.arange(self.count + 1)

    def counts(self, values: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """How many values lie in each bin; what lies beyond counts in the last one. float64."""
        place = np.floor((values[0] - self.start) / self.width).clip(0, self.count - 1).astype(np.int64)
        return np.bincount(place, weights=values[1], minlength=self.count).astype(np.float64)
