"""A mean over samples, streamed, with its interval."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from torch import Tensor

RESAMPLES, MOST = 1000, 2000
"""Number of resamples; with more samples than MOST, neighbouring samples are drawn together."""


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
