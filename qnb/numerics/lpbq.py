"""LPBQ: low-power blockwise quantization, whose block scales are small integers times a channel's scale."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from qnb.errors import PrecisionError


@dataclass(frozen=True)
class BlockScales:
    """Integer block scales and float channel scales.

    Args:
        integers: int32, ``1 .. 2^(decompressed_bits - bits)``; the block scales' shape.
        channel: float32, the same shape with 1 at the block axis.
    """

    integers: Tensor
    channel: Tensor

    @property
    def scale(self) -> Tensor:
        """float32 scale of each block, ``integers * channel``, as `fake_quantize` takes it."""
        return self.integers * self.channel


def lpbq(scale: Tensor, bits: int, decompressed_bits: int, axis: int = 1) -> BlockScales:
    """Splits block scales, so that a ``bits``-bit weight becomes a per-channel ``decompressed_bits``-bit one.

    A channel's float scale is its largest block scale over ``2^(decompressed_bits - bits)``; each block's
    integer is its own scale in those units, rounded half to even and at least 1.

    Args:
        scale: float block scales, ``[out, in / block_size, ...]``.
        bits: of the stored weight, such as 4.
        decompressed_bits: of the weight that the hardware multiplies with, such as 8.
        axis: the dimension that blocks run along.

    Raises:
        PrecisionError: decompressed_bits not above bits.

    Source: AIMET's grouped block quantization, encoding type LPBQ.

    >>> lpbq(torch.tensor([[0.8, 0.25]]), 4, 8).integers
    tensor([[16,  5]], dtype=torch.int32)
    """
    if not 2 <= bits < decompressed_bits <= 32:
        received = f"bits={bits}, decompressed_bits={decompressed_bits}"
        raise PrecisionError("lpbq", received, "use more decompressed_bits than bits, such as 4 and 8")
    largest = 2 ** (decompressed_bits - bits)
    scale = scale.detach().float()
    channel = scale.amax(dim=axis, keepdim=True) / largest
    integers = torch.round(scale / channel).clamp(1, largest).to(torch.int32)
    return BlockScales(integers, channel)
