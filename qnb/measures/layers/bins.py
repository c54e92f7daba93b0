"""Even bins laid over streamed histograms: their edges are edges of the fine bins, so that counts stay exact."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from qnb.ranges import Histogram

BINS = 100
"""Of a histogram that is shown."""
SIDES = 2
"""Errors are counted so many histograms' widths to either side of the values; what lies beyond, in the last bin."""


class Values:
    """A streaming histogram of finite values.

    Args:
        bins: fine ones, at least half of them inside the values' range.
    """

    def __init__(self, bins: int):
        self.histogram = Histogram(bins=bins)

    def update(self, x: Tensor) -> None:
        """Take finite float32 values of any shape."""
        self.histogram.update(x)

    @property
    def exponent(self) -> int | None:
        """Fine bins are ``2^exponent`` wide; None without values."""
        return None if self.histogram.counts is None else int(math.log2(float(self.histogram.width)))

    @property
    def ends(self) -> tuple[float, float] | None:
        """Smallest and largest value."""
        if self.histogram.counts is None:
            return None
        return float(self.histogram.min), float(self.histogram.max)

    def values(self) -> tuple[np.ndarray, np.ndarray]:
        """The middles of the fine bins that hold values, and how many each holds."""
        if self.histogram.counts is None:
            return np.zeros(0), np.zeros(0)
        counts = self.histogram.counts[0].cpu().numpy()
        full = np.flatnonzero(counts)
        return (full + 0.5 + float(self.histogram._first[0])) * float(self.histogram.width), counts[full]


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
        fine = 2.0 ** max(exponents, default=-120)
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
