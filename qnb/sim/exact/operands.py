"""Values between simulated layers as integer codes, and back. A float32 value on its grid has exactly one code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from qnb.sim.base import SimBase


@dataclass(frozen=True)
class Operand:
    """How one value is quantized: float32 scale, integer zero_point, first and last code."""

    scale: float
    zero_point: int
    qmin: int
    qmax: int

    @staticmethod
    def of(sim: SimBase, key: str, factor: float = 1.0) -> Operand:
        """The encoding of an activation quantizer, times a factor; unsigned, as files hold it."""
        quantizer = sim.activation(key)
        scale, zero_point = quantizer.encoding()
        scale = float((scale.double() * factor).float())
        shift = -quantizer.grid.qmin
        return Operand(scale, int(zero_point) + shift, 0, quantizer.grid.qmax + shift)

    def codes(self, value: Tensor) -> Tensor:
        """float32 values on the grid -> float64 codes."""
        return torch.round(value.double() / self.scale) + self.zero_point

    def centred(self, value: Tensor) -> Tensor:
        """``code - zero_point``, float64."""
        return torch.round(value.double() / self.scale)

    def real(self, codes: Tensor) -> Tensor:
        """float64 codes -> float32 values, as DequantizeLinear gives them."""
        return (codes - self.zero_point).float() * torch.tensor(self.scale, dtype=torch.float32)

    @property
    def encoding(self) -> tuple[float, int]:
        return self.scale, self.zero_point

    @property
    def ends(self) -> tuple[int, int]:
        return self.qmin, self.qmax
