"""Error of a simulated tensor against its FP32 reference, streamed over batches in constant memory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from qnb.sim.quantizer import Quantizer

CHUNK = 1 << 17
"""Elements handled at once: small enough that all passes over them stay in the processor's cache."""


class ErrorStats:
    """Sums for SQNR, MSE, cosine and largest error; totals in float64.

    ``update(reference, simulated)`` takes two tensors of one shape.
    """

    def __init__(self):
        self.signal = self.noise = self.product = self.power = 0.0
        self.numel = 0
        self.max_abs_error = 0.0
        self.minimum, self.maximum = math.inf, -math.inf

    def update(self, reference: torch.Tensor, simulated: torch.Tensor) -> None:
        reference, simulated = reference.reshape(-1), simulated.reshape(-1)
        self.numel += reference.numel()
        for start in range(0, reference.numel(), CHUNK):
            self._chunk(reference[start : start + CHUNK].float(), simulated[start : start + CHUNK].float())

    def _chunk(self, reference: torch.Tensor, simulated: torch.Tensor) -> None:
        error = simulated - reference
        low, high = torch.aminmax(error)
        largest = max(-float(low), float(high))
        if not math.isfinite(largest):
            largest = math.inf
        self.max_abs_error = max(self.max_abs_error, largest)
        low, high = torch.aminmax(reference)
        self.minimum, self.maximum = min(self.minimum, float(low)), max(self.maximum, float(high))
        self.signal += float(torch.dot(reference, reference))
        self.noise += math.inf if largest == math.inf else float(torch.dot(error, error))
        self.product += float(torch.dot(reference, simulated))
        self.power += float(torch.dot(simulated, simulated))

    @property
    def sqnr_db(self) -> float:
        """10 log10(signal / noise) in dB; inf where nothing was lost, -inf where a value overflowed."""
        return sqnr_db(self.signal, self.noise)

    @property
    def mse(self) -> float:
        return self.noise / self.numel if self.numel else 0.0

    @property
    def cosine(self) -> float:
        """Cosine of the angle between the two; 1 where both are zero, 0 where one is or one overflowed."""
        if self.noise == 0:
            return 1.0
        norm = math.sqrt(self.signal) * math.sqrt(self.power) if math.isfinite(self.power) else math.inf
        return max(-1.0, min(1.0, self.product / norm)) if norm and math.isfinite(norm) else 0.0


class NoiseStats:
    """Only the noise: for a second simulated value against the same reference."""

    def __init__(self):
        self.noise = 0.0

    def update(self, reference: torch.Tensor, simulated: torch.Tensor) -> None:
        reference, simulated = reference.reshape(-1), simulated.reshape(-1)
        for start in range(0, reference.numel(), CHUNK):
            error = simulated[start : start + CHUNK].float() - reference[start : start + CHUNK].float()
            noise = float(torch.dot(error, error))
            self.noise += noise if math.isfinite(noise) else math.inf


def sqnr_db(signal: float, noise: float) -> float:
    """Signal-to-quantization-noise ratio in dB, never NaN."""
    if noise == 0:
        return math.inf
    if not math.isfinite(noise) or signal == 0:
        return -math.inf
    return 10 * math.log10(signal / noise)


def beyond(values: torch.Tensor, quantizer: Quantizer) -> int:
    """How many values lie outside a quantizer's range; within half a step of its ends they only round."""
    if not values.numel():
        return 0
    low, high = quantizer.limits()
    half = 0.5 * quantizer.scale if quantizer.scale is not None else 0.0
    smallest, largest = torch.aminmax(values)
    if smallest >= low - half and largest <= high + half:
        return 0
    return int(torch.count_nonzero(values < low - half) + torch.count_nonzero(values > high + half))
