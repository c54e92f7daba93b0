"""Moments of each channel's values, streamed in float64; of them the kurtosis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from qnb.measures.layers.error import CHUNK


@dataclass(frozen=True)
class Moments:
    """How many values, their mean, and the sums of their deviations from it to the powers 2, 3 and 4.

    Two are merged exactly, whatever their means (Pébay 2008, SAND2008-6212): sums of plain powers would cancel where
    the mean is far from zero. All fields are float64 arrays, ``[channels]``.

    >>> moments = Moments.of(torch.tensor([[[0.0, 1.0]], [[2.0, 3.0]]]))
    >>> moments.mean.tolist(), moments.kurtosis.tolist()
    ([1.5], [1.64])
    """

    count: np.ndarray
    mean: np.ndarray
    square: np.ndarray
    cube: np.ndarray
    fourth: np.ndarray

    @classmethod
    def of(cls, x: Tensor, keep: Tensor | None = None) -> Moments:
        """Of the values ``[a, channels, b]``; ``keep`` is True where one counts, None where all do."""
        step = max(1, CHUNK * len(x) // max(x.numel(), 1))
        parts = x.split(step)
        masks = [None] * len(parts) if keep is None else keep.split(step)
        found = [_of(part, mask) for part, mask in zip(parts, masks, strict=True)]
        return cls(*found[0]) if len(found) == 1 else _combined(np.stack(found, 1))

    def merge(self, other: Moments) -> Moments:
        """Both together, channel by channel."""
        return _combined(np.stack([self._fields(), other._fields()], 1))

    def total(self) -> Moments:
        """All channels as one, ``[1]``."""
        return _combined(np.stack(self._fields())[:, :, None])

    def _fields(self) -> tuple[np.ndarray, ...]:
        return self.count, self.mean, self.square, self.cube, self.fourth

    @property
    def energy(self) -> np.ndarray:
        """Sum of the values' squares."""
        return self.square + self.count * self.mean**2

    @property
    def kurtosis(self) -> np.ndarray:
        """``E[(x - mean)^4] / E[(x - mean)^2]^2``: 1.8 for an even spread, 3 for a normal one, more with outliers.

        NaN where all values are the same, or one is not finite.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.square > 0, self.count * self.fourth / self.square**2, np.nan)


def _of(x: Tensor, keep: Tensor | None) -> np.ndarray:
    """The five fields, ``[5, channels]``."""
    x, dims = x.double(), (0, 2)
    if keep is None:
        count = torch.full((x.shape[1],), x.shape[0] * x.shape[2], dtype=torch.float64, device=x.device)
        mean = x.sum(dims).div_(max(x.shape[0] * x.shape[2], 1))
        off = x - mean[:, None]
    else:
        count = keep.sum(dims, dtype=torch.float64)
        mean = torch.where(keep, x, 0.0).sum(dims) / count.clamp(min=1)
        off = torch.where(keep, x - mean[:, None], 0.0)
    square = off.square()
    sums = square.sum(dims), off.mul_(square).sum(dims), square.square_().sum(dims)
    return torch.stack([count, mean, *sums]).cpu().numpy()


def _combined(fields: np.ndarray) -> Moments:
    """Of ``[5, parts, channels]``, all parts together."""
    count, mean, square, cube, fourth = fields
    total = count.sum(0)
    middle = (count * mean).sum(0) / np.maximum(total, 1)
    off = np.where(count > 0, mean - middle, 0.0)
    second = off**2
    return Moments(
        total,
        middle,
        (square + count * second).sum(0),
        (cube + 3 * off * square + count * off * second).sum(0),
        (fourth + 4 * off * cube + 6 * second * square + count * second**2).sum(0),
    )
