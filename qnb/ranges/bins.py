"""Histograms with even bins over each row's own range: what calibration methods search."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Bins:
    """Counts in ``n`` even bins over ``[low, high]``, one histogram per row.

    Args:
        low, high: float32 ``[rows]``, ends of the first and last bin.
        counts: int64 ``[rows, n]``.
    """

    low: Tensor
    high: Tensor
    counts: Tensor

    @property
    def step(self) -> Tensor:
        """Bin width, ``[rows]``."""
        return (self.high - self.low) / self.counts.shape[1]

    @property
    def edges(self) -> Tensor:
        """Left edge of each bin, and the last one's right edge, ``[rows, n + 1]``."""
        n = self.counts.shape[1]
        return torch.arange(n + 1, device=self.low.device) * self.step[:, None] + self.low[:, None]

    @property
    def midpoints(self) -> Tensor:
        """Middle of each bin, ``[rows, n]``."""
        n = self.counts.shape[1]
        steps = torch.arange(n, device=self.low.device) * self.step[:, None]
        return (self.low + self.step / 2)[:, None] + steps


def span(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """A range wide enough for bins: a constant row's range reaches half a unit to both sides."""
    flat = low == high
    return torch.where(flat, low - 0.5, low), torch.where(flat, high + 0.5, high)


def place(values: Tensor, low: Tensor, high: Tensor, n: int) -> Tensor:
    """Bin index of values ``[rows, k]`` among n even bins over ``[low, high]`` of each row, int64."""
    index = (values - low[:, None]) * (n / (high - low))[:, None]
    return index.to(torch.int32).clamp_(0, n - 1).long()


def count_rows(index: Tensor, n: int, weights: Tensor | None = None) -> Tensor:
    """How often each of n bins occurs in each row of ``index`` ``[rows, k]``; int64 ``[rows, n]``."""
    rows = index.shape[0]
    flat = (index + torch.arange(rows, device=index.device)[:, None] * n).flatten()
    if weights is None:
        return torch.bincount(flat, minlength=rows * n).view(rows, n)
    counts = torch.zeros(rows * n, dtype=weights.dtype, device=index.device)
    return counts.index_add_(0, flat, weights.flatten()).view(rows, n)
