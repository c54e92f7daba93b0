"""Which of a grid's levels are used, and how often."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from qnb.measures.layers.error import CHUNK
from qnb.numerics import Grid

if TYPE_CHECKING:
    from qnb.sim.quantizer import Quantizer

MOST_BITS, MOST_CELLS = 16, 1 << 20
"""Finer grids are not counted; of more channels times levels than this, no channel's levels are remembered."""


class Codes:
    """Counts of each code of a quantizer that has one scale; memory depends on its levels alone.

    Args:
        quantizer: calibrated; see `countable`.
    """

    def __init__(self, quantizer: Quantizer):
        grid, (scale, zero_point) = quantizer.grid, quantizer.encoding()
        self.scale, self.zero_point, self.qmin = float(scale), float(zero_point), grid.qmin
        self.levels = grid.qmax - grid.qmin + 1
        self.counts: Tensor | None = None
        self._used: Tensor | None = None

    @staticmethod
    def countable(quantizer: Quantizer) -> bool:
        """Whether values of this quantizer have integer codes that can be counted."""
        grid, scale = quantizer.grid, quantizer.scale
        whole = quantizer.active and isinstance(grid, Grid) and scale is not None and scale.numel() == 1
        return whole and grid.bits <= MOST_BITS

    def update(self, x: Tensor, keep: Tensor | None) -> None:
        """Take quantized values, ``[a, channels, b]``; those count where ``keep`` is True, all where it is None."""
        if self.counts is None:
            self.counts = torch.zeros(self.levels, dtype=torch.int64, device=x.device)
        if self._used is None:
            channels = x.shape[1] if x.shape[1] * self.levels <= MOST_CELLS else 0
            self._used = torch.zeros(channels, self.levels, dtype=torch.bool, device=x.device)
        apart = len(self._used) == x.shape[1]
        first = torch.arange(x.shape[1], device=x.device, dtype=torch.int32)[:, None] * self.levels if apart else 0
        step = max(1, CHUNK * len(x) // max(x.numel(), 1))
        for i, part in enumerate(x.split(step)):
            mask = None if keep is None else keep[i * step : (i + 1) * step]
            part = part if mask is None else torch.where(mask, part, 0.0)
            codes = (part / self.scale).round_().add_(self.zero_point - self.qmin).clamp_(0, self.levels - 1)
            places = codes.int().add_(first)
            self._count(places.flatten() if mask is None else places[mask], apart)

    def _count(self, places: Tensor, apart: bool) -> None:
        """Codes, where channels are told apart each channel's behind those of the one before."""
        if not apart:
            self.counts += torch.bincount(places, minlength=self.levels)
        elif self._used.numel() <= places.numel():
            found = torch.bincount(places, minlength=self._used.numel()).view_as(self._used)
            self.counts += found.sum(0)
            self._used |= found > 0
        else:
            self.counts += torch.bincount(places % self.levels, minlength=self.levels)
            self._used.view(-1)[places.long()] = True

    @property
    def used(self) -> int:
        """How many levels occur."""
        return 0 if self.counts is None else int((self.counts > 0).sum())

    @property
    def used_by_channel(self) -> np.ndarray | None:
        """How many levels occur in each channel; None where they were too many to remember."""
        if self._used is None or not self._used.numel():
            return None
        return self._used.sum(1).cpu().numpy()

    @property
    def effective_bits(self) -> float:
        """The codes' entropy in bits: what a value takes that is stored as well as can be; NaN without values."""
        counts = np.zeros(1) if self.counts is None else self.counts.cpu().numpy()
        return entropy(counts)

    def values(self) -> tuple[np.ndarray, np.ndarray]:
        """The levels that occur, as float64 values, and how often."""
        counts = np.zeros(self.levels, np.int64) if self.counts is None else self.counts.cpu().numpy()
        codes = np.flatnonzero(counts)
        return ((codes + self.qmin - self.zero_point) * self.scale).astype(np.float32).astype(np.float64), counts[codes]


def entropy(counts: np.ndarray) -> float:
    """Bits per value of a code that occurs with these counts; NaN without any.

    >>> entropy(np.array([2, 2, 0, 4]))
    1.5
    """
    counts = counts[counts > 0]
    if not len(counts):
        return math.nan
    share = counts / counts.sum()
    return float(-(share * np.log2(share)).sum()) + 0.0
