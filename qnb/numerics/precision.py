"""Precision: which grid weights and activations are on."""

from __future__ import annotations

import re
from dataclasses import dataclass

from qnb.arguments import nearest, short
from qnb.errors import PrecisionError
from qnb.numerics.grid import FloatGrid, Grid

_FLOATS = ("fp16", "bf16", "fp8_e4m3", "fp8_e5m2")


@dataclass(frozen=True)
class Precision:
    """Grids for weights and for activations; None leaves them in FP32.

    ``Precision.parse("w8a16")`` gives symmetric per-channel weights and asymmetric per-tensor activations.

    >>> Precision.parse("w4a8").weights.bits
    4
    >>> Precision(weights=Grid(4, True, "block", 32)).name
    'custom(weights=int4 block 32, activations=fp32)'
    """

    weights: Grid | FloatGrid | None = None
    activations: Grid | FloatGrid | None = None

    def __post_init__(self):
        for what, grid in (("weights", self.weights), ("activations", self.activations)):
            if grid is not None and not isinstance(grid, (Grid, FloatGrid)):
                raise PrecisionError("Precision", f"{what}={grid!r}", "use a Grid, a FloatGrid or None")

    @classmethod
    def parse(cls, precision: str | Precision) -> Precision:
        """The precision behind a name; a `Precision` is returned as it is.

        Names: ``"fp32" "fp16" "bf16" "fp8_e4m3" "fp8_e5m2"`` and ``"w{2..16}a{4..16}"``, in either case.

        Raises:
            PrecisionError: a name that does not exist.
        """
        if isinstance(precision, Precision):
            return precision
        name = precision.strip().lower() if isinstance(precision, str) else ""
        if name == "fp32":
            return cls()
        if name in _FLOATS:
            return cls(FloatGrid(name), FloatGrid(name))
        match = re.fullmatch(r"w(\d{1,2})a(\d{1,2})", name)
        if match and 2 <= int(match[1]) <= 16 and 4 <= int(match[2]) <= 16:
            return _integer(int(match[1]), int(match[2]))
        near, names = _nearest(name), f"fp32, {', '.join(_FLOATS)}, w{{2..16}}a{{4..16}} such as w8a16"
        remedy = f"Did you mean {near!r}? There are {names}" if near else f"use {names}, or a qnb.Precision"
        raise PrecisionError("Precision.parse", f"unknown precision {short(precision)}", remedy)

    @property
    def name(self) -> str:
        """The name that `parse` takes, or ``custom(...)`` where there is none."""
        if self.weights is None and self.activations is None:
            return "fp32"
        if isinstance(self.weights, FloatGrid) and self.weights == self.activations:
            return self.weights.name
        if isinstance(self.weights, Grid) and isinstance(self.activations, Grid):
            bits = self.weights.bits, self.activations.bits
            if bits[0] <= 16 and 4 <= bits[1] <= 16 and self == _integer(*bits):
                return f"w{bits[0]}a{bits[1]}"
        return f"custom(weights={_describe(self.weights)}, activations={_describe(self.activations)})"

    def __str__(self) -> str:
        return self.name


def _integer(weight_bits: int, activation_bits: int) -> Precision:
    return Precision(Grid(weight_bits, symmetric=True, granularity="channel"), Grid(activation_bits))


def _nearest(name: str) -> str:
    """The precision that an unknown name means, as far as one can tell; else empty.

    >>> [_nearest(name) for name in ("int8", "int4", "a8w4", "w1a8", "half", "bfloat16", "fp8")]
    ['w8a8', 'w4a8', 'w4a8', 'w2a8', 'fp16', 'bf16', 'fp8_e4m3']
    """
    name = name[:40]
    found = next((float_name for spelt, float_name in _SPELT if re.search(spelt, name)), "")
    bits = {letter: int(number) for letter, number in re.findall(r"([wa])\D?(\d{1,4})", name)}
    whole = re.fullmatch(r"u?(?:int)?\D?(\d{1,2})\D*", name)
    if not found and (bits or whole):
        both = int(whole[1]) if whole and not bits else next(iter(bits.values()))
        weights, activations = bits.get("w", both), bits.get("a", max(both, 8))
        found = f"w{min(max(weights, 2), 16)}a{min(max(activations, 4), 16)}"
    return found or next(iter(nearest(name, ("fp32", *_FLOATS, "w8a16", "w8a8"))), "")


_SPELT = (
    (r"^(bf|bfloat|brain)", "bf16"),
    (r"e5m2", "fp8_e5m2"),
    (r"e4m3|^(fp|float|f)_?8", "fp8_e4m3"),
    (r"^half|^(fp|float|f)_?16", "fp16"),
    (r"^(full|single)|^(fp|float|f)_?32|^float$", "fp32"),
)
"""How the formats are called elsewhere."""


def _describe(grid: Grid | FloatGrid | None) -> str:
    if grid is None:
        return "fp32"
    if isinstance(grid, FloatGrid) or grid.granularity == "tensor":
        return grid.name
    return f"{grid.name} {grid.granularity}" + (f" {grid.block_size}" if grid.block_size else "")
