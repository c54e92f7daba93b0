"""A layer's values channel by channel, token by token and sample by sample, streamed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from qnb import columns
from qnb.measures.layers.moments import Moments

CHANNEL_FIRST = ("conv", "batch_norm", "pool", "prelu", "pixel", "upsample", "interpolate")
"""Ops whose outputs have their channels in dimension 1; all others in the last."""
MOST = 4096
"""Channels, and positions of tokens, in a table: of more channels those with the largest error, of tokens the first."""


def channel_first(op: str) -> bool:
    """Whether an op's output has its channels in dimension 1."""
    return any(name in op for name in CHANNEL_FIRST)


def view(x: Tensor, op: str) -> Tensor:
    """An output as ``[a, channels, b]``; one channel where it has fewer than two dimensions."""
    if x.dim() < 2 or not x.numel():
        return x.reshape(1, 1, -1)
    return x.reshape(*x.shape[:2], -1) if channel_first(op) else x.reshape(-1, x.shape[-1], 1)


class Channels:
    """Figures of each channel, as long as all batches have as many; else of all values together."""

    def __init__(self):
        self.moments: Moments | None = None
        self.sums: np.ndarray | None = None
        self.apart = True

    def update(
        self, signal: Tensor, squares: Tensor, keep: Tensor | None, saturated: Tensor | None, apart: bool
    ) -> None:
        """Take a batch.

        Args:
            signal, squares: FP32 values and QuantSim's squared error, ``[a, channels, b]``, zero where ``keep`` is not
                True.
            saturated: True where QuantSim's value is clipped; None where none is.
            apart: whether the values have channels.
        """
        moments = Moments.of(signal, keep)
        self.apart = self.apart and apart and (self.moments is None or self.moments.count.shape == moments.count.shape)
        if not self.apart:
            moments, known = moments.total(), self.moments
            self.moments = moments if known is None else known.total().merge(moments)
            return
        low, high = (signal, signal) if keep is None else (signal.where(keep, math.inf), signal.where(keep, -math.inf))
        rows = [squares.sum((0, 2)), low.amin((0, 2)), high.amax((0, 2))]
        rows += [torch.zeros_like(rows[0]) if saturated is None else saturated.sum((0, 2)).float()]
        found = torch.stack(rows).cpu().numpy().astype(np.float64)
        if self.moments is None or self.sums is None:
            self.moments, self.sums = moments, found
            return
        self.moments = self.moments.merge(moments)
        least, most = np.minimum(self.sums[1], found[1]), np.maximum(self.sums[2], found[2])
        self.sums = self.sums + found
        self.sums[1:3] = least, most

    @property
    def kurtosis(self) -> float:
        """Of all values."""
        return math.nan if self.moments is None else float(self.moments.total().kurtosis[0])

    def worst(self, most: int) -> pd.DataFrame | None:
        """`qnb.columns.WORST_CHANNELS`; None without channels."""
        if self.sums is None or self.moments is None or not self.apart:
            return None
        order = self._order(most)
        noise, low, high, _ = self.sums[:, order]
        db = decibel(self.moments.energy[order], noise)
        return frame(columns.WORST_CHANNELS, order, db, noise / self._count()[order], *_seen(low, high))

    def table(self, used: np.ndarray | None) -> pd.DataFrame | None:
        """`qnb.columns.CHANNEL_DISTRIBUTIONS`, in the order of the channels; None without any.

        Args:
            used: levels used by each channel.
        """
        if self.sums is None or self.moments is None or not self.apart:
            return None
        order = np.sort(self._order(MOST))
        noise, low, high, clipped = self.sums[:, order]
        levels = np.full(len(order), np.nan) if used is None else used[order]
        figures = decibel(self.moments.energy[order], noise), clipped / self._count()[order], levels
        return frame(columns.CHANNEL_DISTRIBUTIONS, order, *_seen(low, high), self.moments.kurtosis[order], *figures)

    @property
    def left_out(self) -> int:
        """How many channels are not in the table."""
        return max(0, self.sums.shape[1] - MOST) if self.sums is not None and self.apart else 0

    def _order(self, most: int) -> np.ndarray:
        return np.argsort(-self.sums[0], kind="stable")[:most]

    def _count(self) -> np.ndarray:
        return np.maximum(self.moments.count, 1)


@dataclass
class Tokens:
    """Figures of each position, of outputs ``[batch, tokens, features]``; the first `MOST` positions."""

    sums: np.ndarray = field(default_factory=lambda: np.zeros((3, 0)))
    largest: np.ndarray = field(default_factory=lambda: np.zeros((2, 0)))
    longest: int = 0

    def update(self, signal: Tensor, squares: Tensor) -> None:
        """Take the squares of FP32 values and of QuantSim's error, zero where they do not count."""
        self.longest = max(self.longest, signal.shape[1])
        both, dims = (signal[:, :MOST], squares[:, :MOST]), (0, 2)
        rows = torch.stack([*(x.sum(dims) for x in both), *(x.amax(dims).sqrt() for x in both)])
        found = rows.cpu().numpy().astype(np.float64)
        sums, largest = np.vstack([found[:2], np.full((1, found.shape[1]), len(signal) * signal.shape[2])]), found[2:]
        wide = max(sums.shape[1], self.sums.shape[1])
        self.sums = _wide(self.sums, wide) + _wide(sums, wide)
        self.largest = np.maximum(_wide(self.largest, wide), _wide(largest, wide))

    def table(self) -> pd.DataFrame | None:
        """`qnb.columns.TOKENS`; None without any."""
        if not self.longest:
            return None
        signal, noise, numel = self.sums
        found = np.arange(len(signal)), decibel(signal, noise), noise / np.maximum(numel, 1), *self.largest
        return frame(columns.TOKENS, *found)

    @property
    def left_out(self) -> int:
        """How many positions are not in the table."""
        return max(0, self.longest - MOST)


@dataclass
class Samples:
    """The input samples with the lowest SQNR; no more than ``most`` are kept.

    >>> samples = Samples(1)
    >>> samples.update(np.array([1.0, 1.0]), np.array([0.1, 0.01]), 0)
    >>> samples.update(np.array([1.0, 1.0]), np.array([0.2, 0.01]), 2)
    >>> samples.table()["sample"].tolist()
    [2]
    """

    most: int
    rows: np.ndarray = field(default_factory=lambda: np.zeros((3, 0)))

    def update(self, signal: np.ndarray, noise: np.ndarray, first: int) -> None:
        """Take the mean squares of a batch's samples; ``first`` is the number of its first one."""
        db = decibel(signal, noise)
        if self.rows.shape[1] == self.most and not (db < self.rows[1, -1]).any():
            return
        new = np.stack([first + np.arange(len(signal)), db, noise])
        rows = np.concatenate([self.rows, new], 1)
        self.rows = rows[:, np.argsort(rows[1], kind="stable")[: self.most]]

    def table(self) -> pd.DataFrame:
        """`qnb.columns.SAMPLES`."""
        return frame(columns.SAMPLES, self.rows[0].astype(np.int64), *self.rows[1:])


def decibel(signal: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """SQNR in dB, ``inf`` where nothing is lost."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(noise > 0, 10 * np.log10(signal / noise), np.inf)


def frame(names: tuple[str, ...], *values: np.ndarray) -> pd.DataFrame:
    """A DataFrame of columns with these names; those of floats are one array, which is quicker to make."""
    floats = [(n, v) for n, v in zip(names, values, strict=True) if v.dtype.kind == "f"]
    found = pd.DataFrame(np.column_stack([v for _, v in floats]), columns=[n for n, _ in floats])
    for place, (name, value) in enumerate(zip(names, values, strict=True)):
        if value.dtype.kind != "f":
            found.insert(place, name, value)
    return found


def _seen(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends, NaN where no value counted."""
    return np.where(low <= high, low, np.nan), np.where(low <= high, high, np.nan)


def _wide(rows: np.ndarray, wide: int) -> np.ndarray:
    return rows if rows.shape[1] == wide else np.pad(rows, ((0, 0), (0, wide - rows.shape[1])))
