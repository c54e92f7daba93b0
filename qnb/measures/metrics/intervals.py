"""Intervals of means over samples: of shares, of numbers that are there, of numbers that are streamed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from torch import Tensor

DRAWS = 2000
"""Resamples of numbers that are there."""
RESAMPLES, MOST = 1000, 2000
"""Number of resamples of streamed numbers; with more samples than MOST, neighbouring samples are drawn together."""


def wilson(share: float, n: int, confidence: float) -> tuple[float, float]:
    """Wilson's score interval. scipy's takes whole counts only."""
    z2 = NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 / n * (share * (1 - share) + z2 / (4 * n))) / (1 + z2 / n)
    return (max(0.0, middle - half) if share > 0 else 0.0), (min(1.0, middle + half) if share < 1 else 1.0)


def unseen_share(n: int, confidence: float = 0.95) -> float:
    """The largest share of all samples that may change while none of n does: the exact binomial bound, about 3 / n.

    >>> f"{unseen_share(540):.4f}"
    '0.0055'
    """
    return 1 - (1 - confidence) ** (1 / n)


def bootstrap(rows: np.ndarray, values: Sequence[float], confidence: float) -> list[tuple[float, float]]:
    """Percentiles of the resampled mean of each of ``rows [rows, samples]``, which are drawn alike, moved to lie around
    its value: a metric need not be the samples' mean."""
    return around(values, rows.mean(1), resampled(rows), confidence)


def resampled(rows: np.ndarray, weights: np.ndarray | None = None, geometric: bool = False) -> np.ndarray:
    """Means of resamples, ``[DRAWS, rows]``: each draws samples with replacement, the same of all rows, with their
    weights."""
    rng, n = np.random.default_rng(0), rows.shape[1]
    drawn = (rng.integers(0, n, n) for _ in range(DRAWS))
    if weights is None and not geometric:
        return np.array([rows.take(one, axis=1).mean(1) for one in drawn])
    weights, logs = np.ones(n) if weights is None else weights, np.log(rows) if geometric else rows
    sums = np.vstack([logs * weights, weights])
    found = np.array([sums.take(one, axis=1).sum(1) for one in drawn])
    means = found[:, :-1] / found[:, -1:]
    return np.exp(means) if geometric else means


def mean_of(samples: np.ndarray, weights: np.ndarray | None, geometric: bool) -> float:
    """Their mean, weighted where there are weights.

    >>> mean_of(np.array([1.0, 4.0]), None, True), mean_of(np.array([1.0, 4.0]), np.array([2.0, 1.0]), False)
    (2.0, 2.0)
    """
    mean = np.average(np.log(samples) if geometric else samples, weights=weights)
    return float(np.exp(mean) if geometric else mean)


def around(
    values: Sequence[float], means: Sequence[float] | np.ndarray, draws: np.ndarray, confidence: float
) -> list[tuple[float, float]]:
    """Percentiles of ``draws [draws, values]``, resampled from samples with these means, moved to lie around values."""
    ends = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0).T
    shifts = [value - mean for value, mean in zip(values, means, strict=True)]
    shifts = [0.0 if abs(shift) < 1e-12 else shift for shift in shifts]
    return [(float(low + shift), float(high + shift)) for (low, high), shift in zip(ends, shifts, strict=True)]


class Ratio:
    """Sum of one thing per sample over the sum of another: a mean, or noise to signal; of several, their mean.

    >>> import torch
    >>> ratio = Ratio()
    >>> ratio.add(torch.tensor([1.0, 2.0, 3.0]), torch.ones(3))
    >>> ratio.value(), ratio.interval()
    (2.0, (1.0, 3.0))
    """

    def __init__(self):
        self.above: list[np.ndarray] = []
        self.below: list[np.ndarray] = []

    def add(self, above: Tensor, below: Tensor) -> None:
        """Two tensors ``[samples]``, or ``[samples, several]``."""
        self.above.append(above.double().cpu().numpy())
        self.below.append(below.double().cpu().numpy())

    def _sums(self) -> tuple[np.ndarray, np.ndarray]:
        above, below = np.concatenate(self.above), np.concatenate(self.below)
        return above.reshape(len(above), -1), below.reshape(len(below), -1)

    def value(self) -> float:
        above, below = self._sums()
        return float(_over(above.sum(0), below.sum(0)).mean())

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Bootstrap percentiles over samples (Efron 1979), the same each time; NaN of fewer than two samples."""
        above, below = self._sums()
        if len(above) < 2 or not np.isfinite(above).all():
            return math.nan, math.nan
        starts = np.arange(0, len(above), -(-len(above) // MOST))
        above, below = np.add.reduceat(above, starts), np.add.reduceat(below, starts)
        counts = _counts(len(above))
        means = _over(counts @ above, counts @ below).mean(1)
        ends = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
        return float(ends[0]), float(ends[1])


@lru_cache(maxsize=2)
def _counts(samples: int) -> np.ndarray:
    """How often each resample drew each sample, ``[RESAMPLES, samples]``."""
    return np.random.default_rng(0).multinomial(samples, np.full(samples, 1 / samples), RESAMPLES).astype(np.float64)


def _over(above, below):
    """Zero where both sums are zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(above == 0, 0.0, np.divide(above, below))
