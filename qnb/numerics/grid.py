"""Grids: the sets of values that a quantized tensor may take."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

import torch

from qnb.errors import PrecisionError

GRANULARITIES = ("tensor", "channel", "block")
_BITS = (*range(2, 17), 32)
_FORMATS = {
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "fp8_e4m3": torch.float8_e4m3fn,
    "fp8_e5m2": torch.float8_e5m2,
}


@dataclass(frozen=True)
class Grid:
    """Evenly spaced values ``(q - zero_point) * scale`` with integer codes ``qmin <= q <= qmax``.

    Args:
        bits: 2 to 16, or 32 for a bias.
        symmetric: signed codes ``[-2^(bits-1), 2^(bits-1) - 1]`` and zero_point 0;
            otherwise unsigned codes ``[0, 2^bits - 1]``.
        granularity: one scale per ``"tensor"``, per ``"channel"`` or per ``"block"`` of a channel.
        block_size: elements per block; needed for ``"block"``, not allowed otherwise.

    Raises:
        PrecisionError: invalid values, or values that contradict each other.

    >>> Grid(4, symmetric=True).name, Grid(8).qmax
    ('int4', 255)
    """

    bits: int = 8
    symmetric: bool = False
    granularity: str = "tensor"
    block_size: int | None = None

    def __post_init__(self):
        if isinstance(self.bits, bool) or not isinstance(self.bits, int) or self.bits not in _BITS:
            raise PrecisionError("Grid", f"bits={self.bits!r}", "use 2 to 16, or 32 for a bias")
        if not isinstance(self.symmetric, bool):
            raise PrecisionError("Grid", f"symmetric={self.symmetric!r}", "use True or False")
        if self.granularity not in GRANULARITIES:
            raise PrecisionError("Grid", f"granularity={self.granularity!r}", f"use one of {', '.join(GRANULARITIES)}")
        blocks = self.granularity == "block"
        if blocks and (type(self.block_size) is not int or self.block_size < 1):
            raise PrecisionError("Grid", f"block_size={self.block_size!r}", "give a positive block_size")
        if not blocks and self.block_size is not None:
            raise PrecisionError(
                "Grid",
                f"block_size={self.block_size!r} with granularity={self.granularity!r}",
                "use granularity='block', or leave block_size out",
            )

    @property
    def qmin(self) -> int:
        """Smallest integer code."""
        return -(2 ** (self.bits - 1)) if self.symmetric else 0

    @property
    def qmax(self) -> int:
        """Largest integer code."""
        return 2 ** (self.bits - 1) - 1 if self.symmetric else 2**self.bits - 1

    @property
    def name(self) -> str:
        """``"int8"``, ``"uint16"``, ...: signedness and bits, as `qnb.numerics.fake_quantize` takes it."""
        return f"{'' if self.symmetric else 'u'}int{self.bits}"


@dataclass(frozen=True)
class FloatGrid:
    """The values of a floating-point format, times one scale per tensor.

    Args:
        format: ``"fp16"``, ``"bf16"``, ``"fp8_e4m3"`` (OCP e4m3fn: no infinity) or ``"fp8_e5m2"``.

    Raises:
        PrecisionError: a format that does not exist.

    >>> FloatGrid("fp8_e4m3").max
    448.0
    """

    format: str

    def __post_init__(self):
        if self.format not in _FORMATS:
            raise PrecisionError("FloatGrid", f"format={self.format!r}", f"use one of {', '.join(_FORMATS)}")

    @property
    def dtype(self) -> torch.dtype:
        """The torch dtype that holds the format."""
        return _FORMATS[self.format]

    @property
    def bits(self) -> int:
        return torch.finfo(self.dtype).bits

    @property
    def name(self) -> str:
        return self.format

    @property
    def max(self) -> float:
        """Largest finite value."""
        return torch.finfo(self.dtype).max

    @property
    def smallest_normal(self) -> float:
        """Smallest positive value held with full precision; smaller ones lose bits, then become 0."""
        return torch.finfo(self.dtype).smallest_normal

    @property
    def scaled(self) -> bool:
        """Whether a tensor's range is scaled to the format's (8 bits), or stored as it is (16 bits)."""
        return self.bits == 8

    # A float grid answers the questions that an integer grid does, so that callers need not ask which it is.
    symmetric = True
    granularity = "tensor"
    block_size = None


@cache
def parse_grid(name: str) -> Grid | FloatGrid:
    """The grid behind a name such as ``"int4"``, ``"uint16"`` or ``"fp16"`` (granularity is not in the name).

    Raises:
        PrecisionError: a name that does not exist.
    """
    if name in _FORMATS:
        return FloatGrid(name)
    match = re.fullmatch(r"(u?)int(\d+)", name)
    if match is None:
        raise PrecisionError("parse a grid", f"{name!r}", f"use intN, uintN or one of {', '.join(_FORMATS)}")
    return Grid(int(match[2]), symmetric=not match[1])
