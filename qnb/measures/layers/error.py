"""Error of a simulated tensor against its FP32 reference, streamed over batches in constant memory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from qnb.sim.quantizer import Quantizer

CHUNK = 1 << 17
"""Elements handled at once: small enough that all passes over them stay in the processor's cache."""
READ_AT_ONCE, UNREAD = ("cpu",), 32
"""Devices whose figures nobody waits for; on others those of so many chunks may wait there."""


class NoiseStats:
    """Energy of the error, for a second simulated value against the same reference; the total in float64.

    ``update(reference, simulated)`` takes two tensors of one shape. What it computes of a chunk stays on a GPU until it
    is asked for, or `UNREAD` chunks are waiting: each reading waits for all that runs there.
    """

    def __init__(self):
        self._unread: list[torch.Tensor] = []
        self._noise = 0.0

    def update(self, reference: torch.Tensor, simulated: torch.Tensor) -> None:
        at_once = reference.device.type in READ_AT_ONCE
        reference, simulated = reference.reshape(-1), simulated.reshape(-1)
        for start in range(0, reference.numel(), CHUNK):
            end = start + CHUNK
            figures = self._figures(reference[start:end].float(), simulated[start:end].float())
            if at_once:
                self._add([figure.item() for figure in figures])
                continue
            self._unread.append(torch.stack(figures))
            if len(self._unread) == UNREAD:
                self._read()

    def _figures(self, reference: torch.Tensor, simulated: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Of a chunk, float32 scalars, in the order that `_add` takes."""
        error = simulated - reference
        return (torch.dot(error, error),)

    def _add(self, figures: list[float]) -> None:
        self._noise += figures[0] if math.isfinite(figures[0]) else math.inf

    def _read(self) -> None:
        rows = torch.stack(self._unread).tolist() if self._unread else ()
        self._unread.clear()
        for figures in rows:
            self._add(figures)

    @property
    def noise(self) -> float:
        self._read()
        return self._noise


class ErrorStats(NoiseStats):
    """Sums for SQNR, MSE, cosine and largest error; see `NoiseStats`."""

    def __init__(self):
        super().__init__()
        self.numel = 0
        self._signal = self._power = self._max_abs_error = 0.0
        self._minimum, self._maximum = math.inf, -math.inf

    def update(self, reference: torch.Tensor, simulated: torch.Tensor) -> None:
        self.numel += reference.numel()
        super().update(reference, simulated)

    def _figures(self, reference: torch.Tensor, simulated: torch.Tensor) -> tuple[torch.Tensor, ...]:
        error = simulated - reference
        energies = (torch.dot(x, x) for x in (error, reference, simulated))
        return *energies, *torch.aminmax(error), *torch.aminmax(reference)

    def _add(self, figures: list[float]) -> None:
        _, signal, power, least_error, most_error, minimum, maximum = figures
        super()._add(figures)
        self._signal, self._power = self._signal + signal, self._power + power
        largest = max(-least_error, most_error)
        self._max_abs_error = max(self._max_abs_error, largest if math.isfinite(largest) else math.inf)
        self._minimum, self._maximum = min(self._minimum, minimum), max(self._maximum, maximum)

    @property
    def signal(self) -> float:
        """Energy of the reference."""
        self._read()
        return self._signal

    @property
    def max_abs_error(self) -> float:
        """``inf`` where a value overflowed."""
        self._read()
        return self._max_abs_error

    @property
    def range(self) -> tuple[float, float]:
        """(smallest, largest) value of the reference."""
        self._read()
        return self._minimum, self._maximum

    @property
    def sqnr_db(self) -> float:
        """10 log10(signal / noise) in dB; inf where nothing was lost, -inf where a value overflowed."""
        return sqnr_db(self.signal, self.noise)

    @property
    def mse(self) -> float:
        return self.noise / self.numel if self.numel else 0.0

    @property
    def cosine(self) -> float:
        """Cosine of the angle between the two; 1 where both are zero, 0 where one is or one overflowed.

        It comes from the three energies, and is exact to about 1e-7 times the larger norm over the smaller.
        """
        if self.noise == 0:
            return 1.0
        norm = math.sqrt(self._signal) * math.sqrt(self._power) if math.isfinite(self._power) else math.inf
        product = (self._signal + self._power - self.noise) / 2  # |y - x|^2 = |x|^2 + |y|^2 - 2 xy
        return max(-1.0, min(1.0, product / norm)) if norm and math.isfinite(norm) else 0.0


def sqnr_db(signal: float, noise: float) -> float:
    """Signal-to-quantization-noise ratio in dB, never NaN."""
    if noise == 0:
        return math.inf
    if not math.isfinite(noise) or signal == 0:
        return -math.inf
    return 10 * math.log10(signal / noise)


def beyond(values: torch.Tensor, quantizer: Quantizer) -> int | torch.Tensor:
    """How many values lie outside a quantizer's range; within half a step of its ends they only round.

    On a GPU the number stays there: reading it would wait for all that runs.
    """
    if not values.numel():
        return 0
    low, high = quantizer.limits()
    half = 0.5 * quantizer.scale if quantizer.scale is not None else 0.0
    if values.device.type in READ_AT_ONCE:
        smallest, largest = torch.aminmax(values)
        if smallest >= low - half and largest <= high + half:
            return 0
    return torch.count_nonzero(values < low - half) + torch.count_nonzero(values > high + half)
