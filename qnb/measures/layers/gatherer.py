"""What one layer's profile is made of, taken batch by batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from qnb import columns
from qnb.measures.layers.bins import Even, Values
from qnb.measures.layers.channels import Channels, Samples, Tokens, channel_first, frame, view
from qnb.measures.layers.codes import Codes
from qnb.measures.layers.error import beyond
from qnb.measures.sensitivity.samples import per_sample
from qnb.sim.placement.masking import attended

if TYPE_CHECKING:
    from qnb.measures.layers.lockstep import LayerValues
    from qnb.sim.quantizer import Quantizer

PAIRS, CHANNELS, SAMPLES = 1000, 12, 12
"""Pairs of values that are kept, and how many of the worst."""
FP32_BINS, ERROR_BINS = 1 << 12, 1 << 11
"""Fine bins, of which those of a histogram are made."""


class Gatherer:
    """Streaming figures of one layer.

    Args:
        op: its op.
        quantizer: of its output.
        shape: of its output as captured, None where a dimension varies.
    """

    def __init__(self, op: str, quantizer: Quantizer, shape: Sequence[int | None] | None):
        self.op, self.quantizer, self.shape = op, quantizer, shape
        self.reference, self.errors = Values(FP32_BINS), Values(ERROR_BINS)
        self.codes = Codes(quantizer) if Codes.countable(quantizer) else None
        self.simulated = Values(FP32_BINS) if self.codes is None else None
        self.channels, self.tokens, self.samples = Channels(), Tokens(), Samples(SAMPLES)
        self.clipped = self.saturated = self.numel = 0
        self.pairs: tuple[np.ndarray, ...] | None = None
        self.reach: tuple[float, float] | None = None

    def update(self, values: LayerValues, first: int, count: int) -> None:
        """Take a batch of ``count`` samples, of which ``first`` is the number of the first."""
        reference, simulated = values.reference.float(), values.simulated.float()
        keep = attended(values.reference) if values.masked else None
        signal, noise = reference, simulated - reference
        if keep is not None:  # what is masked counts as equal
            signal, noise = torch.where(keep, signal, 0.0), torch.where(keep, noise, 0.0)
        finite = keep
        if not math.isfinite(float(noise.sum())):
            finite = torch.isfinite(noise) if keep is None else keep & torch.isfinite(noise)
        chosen = [x if finite is None else x[finite] for x in (reference, simulated, noise)]
        self._distribute(*chosen, *(x if x is None else view(x, self.op) for x in (simulated, finite)))
        counted = reference if keep is None else reference[keep]
        self.numel += counted.numel()
        if self.quantizer.active:
            self.clipped += self._outside(counted)
        energy, squares = signal.square(), noise.square()
        mask = None if keep is None else view(keep, self.op)
        rows = view(signal, self.op), view(squares, self.op), mask, self._saturated(values.unclipped, values.masked)
        self.channels.update(*rows, signal.dim() > 1)
        if signal.dim() == 3 and signal.numel() and not channel_first(self.op):
            self.tokens.update(energy, squares)
        self._samples(energy, squares, first, count)

    def _distribute(
        self, reference: Tensor, simulated: Tensor, noise: Tensor, apart: Tensor, finite: Tensor | None
    ) -> None:
        """Finite values that count; and QuantSim's of all channels, with where they do."""
        self.reference.update(reference)
        self.errors.update(noise)
        if self.codes is not None:
            self.codes.update(apart, finite)
        if self.simulated is not None:
            self.simulated.update(simulated)
        if self.pairs is None:
            step = max(1, -(-reference.numel() // PAIRS))
            self.pairs = tuple(x.reshape(-1)[::step].cpu().numpy() for x in (reference, simulated))

    def _outside(self, x: Tensor) -> int:
        """How many values the grid clips: those that do not only round to its ends, as `beyond` has it."""
        if not x.numel():
            return 0
        if self.reach is None:
            low, high = self.quantizer.limits()
            half = 0.5 * self.quantizer.scale if self.quantizer.scale is not None else 0.0
            self.reach = float(low - half), float(high + half)
        low, high = torch.aminmax(x)
        if low >= self.reach[0] and high <= self.reach[1]:
            return 0
        return int(beyond(x, self.quantizer))

    def _saturated(self, before: Tensor, masked: bool) -> Tensor | None:
        """Where QuantSim's values are clipped, as ``[a, channels, b]``; None where none is."""
        if not self.quantizer.active:
            return None
        keep = attended(before) if masked else None
        count = self._outside(before if keep is None else before[keep])
        if not count or self.reach is None:
            return None
        self.saturated += count
        outside = (before < self.reach[0]) | (before > self.reach[1])
        return view(outside if keep is None else outside & keep, self.op)

    def _samples(self, energy: Tensor, squares: Tensor, first: int, count: int) -> None:
        if not energy.dim() or not energy.numel():
            return
        sums = [per_sample(x, count, self.shape).numpy() for x in (energy, squares)]
        if len(sums[0]) == count:
            mean = count / energy.numel()
            self.samples.update(sums[0] * mean, sums[1] * mean, first)

    def found(self) -> dict[str, Any]:
        """The fields of a `LayerProfile` but for the layer's name and its weights."""
        codes, quantizer = self.codes, self.quantizer
        low, high = (float(v) for v in quantizer.limits()) if quantizer.active else (-math.inf, math.inf)
        numel = max(self.numel, 1)
        return {
            **self._histograms(),
            "scatter": frame(columns.SCATTER, *(self.pairs or (np.zeros(0), np.zeros(0)))),
            "channels": self.channels.worst(CHANNELS),
            "samples": self.samples.table(),
            "low": low,
            "high": high,
            "scale": float(quantizer.scale) if quantizer.active and quantizer.scale is not None else None,
            "clipped_fraction": self.clipped / numel,
            "kurtosis": self.channels.kurtosis,
            "saturated_fraction": self.saturated / numel,
            "levels": codes.levels if codes else None,
            "levels_used": codes.used if codes else None,
            "effective_bits": codes.effective_bits if codes else math.nan,
            "channel_table": self.channels.table(codes.used_by_channel if codes else None),
            "channels_left_out": self.channels.left_out,
            "tokens": self.tokens.table(),
            "tokens_left_out": self.tokens.left_out,
        }

    def _histograms(self) -> dict[str, Any]:
        fine = [self.reference] + ([self.simulated] if self.simulated is not None else [])
        ends = [v.ends for v in fine if v.ends is not None]
        simulated = (self.codes or self.simulated).values()
        if len(simulated[0]):
            ends.append((float(simulated[0].min()), float(simulated[0].max())))
        bins = Even.over(ends, [v.exponent for v in fine if v.exponent is not None])
        both = self.reference.values(), simulated
        wide = bins.reaching(self.errors.ends)
        error = self.errors.values()
        seen = self.errors.ends is not None
        own = Even.over([self.errors.ends] if seen else [], [self.errors.exponent] if seen else [])
        return {
            "histogram": _histogram(columns.HISTOGRAM, bins, *both),
            "distribution": _histogram(columns.DISTRIBUTION, wide, *both, error),
            "errors": _histogram(columns.ERRORS, own, error),
        }


def _histogram(names: tuple[str, ...], bins: Even, *values: tuple[np.ndarray, np.ndarray]):
    return frame(names, bins.edges[:-1], bins.edges[1:], *(bins.counts(v) for v in values))
