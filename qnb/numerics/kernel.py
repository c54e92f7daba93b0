"""The arithmetic of quantize-dequantize, free of autograd: what every entry point computes."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from qnb.numerics.grid import FloatGrid, parse_grid
from qnb.numerics.layout import align


@cache
def levels(grid: str) -> tuple[int, int]:
    """(qmin, qmax) of an integer grid's name."""
    parsed = parse_grid(grid)
    return parsed.qmin, parsed.qmax  # pyright: ignore[reportAttributeAccessIssue]


@cache
def float_format(grid: str) -> FloatGrid | None:
    """The float grid of that name, or None for an integer grid."""
    parsed = parse_grid(grid)
    return parsed if isinstance(parsed, FloatGrid) else None


def compute_dtype(dtype: torch.dtype, grid: str) -> torch.dtype:
    """float32 for half-precision inputs; float64 for 32-bit codes, which float32 cannot hold."""
    wide = torch.float64 if not float_format(grid) and levels(grid)[1] > 2**16 else torch.float32
    return torch.promote_types(dtype, wide)


def bounds(zero_point: Tensor, grid: str, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Smallest and largest level ``q - zero_point`` of the grid, shaped like zero_point."""
    qmin, qmax = levels(grid)
    zero_point = zero_point.to(dtype)
    return qmin - zero_point, qmax - zero_point


def nearest_level(q: Tensor, zero_point: Tensor, grid: str) -> tuple[Tensor, Tensor]:
    """The grid's level nearest to q = x / scale, and a margin that is positive where q is within the grid."""
    form = float_format(grid)
    if form is not None:
        # What still rounds to the largest value counts as within.
        # The level is clamped, though 16-bit formats overflow to infinity: a gradient must stay finite.
        return _to_format(q.clone(), form).clamp_(-form.max, form.max), form.max * (1 + 2**-12) - q.abs()
    low, high = bounds(zero_point, grid, q.dtype)
    rounded = q.round()
    level = torch.maximum(rounded, low)
    torch.minimum(level, high, out=level)
    return level, 0.5 - rounded.sub_(level).abs_()


def to_grid(out: Tensor, scale: Tensor, zero_point: Tensor, grid: str) -> Tensor:
    """Rounds ``out``, which holds x / scale, to the grid's levels and multiplies by scale, all in place.

    Dividing comes first and outside, because that is where in-place and out-of-place differ.
    """
    form = float_format(grid)
    if form is not None:
        return _to_format(out, form).mul_(scale)
    out.round_()
    if zero_point.numel() == 1 and zero_point.is_cpu and not torch.compiler.is_compiling():
        # One pass with plain numbers; a GPU would make the host wait for them, a compiler not know them.
        qmin, qmax = levels(grid)
        shift = float(zero_point)
        out.clamp_(qmin - shift, qmax - shift)
    else:
        # Two passes, yet faster than clamp_ with tensor bounds.
        low, high = bounds(zero_point, grid, out.dtype)
        torch.minimum(torch.maximum(out, low, out=out), high, out=out)
    return out.mul_(scale)


def per_tensor(x: Tensor, scale: Tensor, low: float, high: float, in_place: bool) -> Tensor:
    """`run` or `run_` for one scale and an integer grid whose levels ``qmin - zero_point``, ``qmax - zero_point`` are
    known as plain numbers: nothing but the four passes."""
    q = x.div_(scale) if in_place else x.div(scale)
    return q.round_().clamp_(low, high).mul_(scale)


def _beside(scale: Tensor, out: Tensor) -> Tensor:
    """Scale with out's dtype and device: CUDA would turn division by a CPU scalar into a product."""
    if scale.dtype == out.dtype and scale.device == out.device:
        return scale
    return scale.to(out)


def _to_format(out: Tensor, form: FloatGrid) -> Tensor:
    """Rounds to the float format, half to even. 8-bit formats saturate; 16-bit ones overflow to infinity."""
    if form.scaled:
        out.clamp_(-form.max, form.max)
    return out.copy_(out.to(form.dtype))


def run(x: Tensor, scale: Tensor, zero_point: Tensor, grid: str, axis: int | None, block_size: int | None) -> Tensor:
    """Quantize-dequantize out of place: a new tensor with x's shape and dtype and dense strides."""
    compute = compute_dtype(x.dtype, grid)
    values = x if x.dtype == compute else x.to(compute)
    # Written into a tensor shaped by empty_like, so that strides are those the fake implementation promises.
    result = torch.empty_like(values)
    source, scale, zero_point = align(values, scale, zero_point, axis, block_size)
    out = result if block_size is None else result.unflatten(axis, (-1, block_size))  # pyright: ignore[reportArgumentType]
    scale = _beside(scale, out)
    torch.div(source, scale, out=out)
    to_grid(out, scale, zero_point, grid)
    return result if x.dtype == compute else result.to(x.dtype)


def run_(x: Tensor, scale: Tensor, zero_point: Tensor, grid: str, axis: int | None, block_size: int | None) -> Tensor:
    """The same numbers as `run`, written over x."""
    compute = compute_dtype(x.dtype, grid)
    if x.dtype != compute:
        return x.copy_(run(x, scale, zero_point, grid, axis, block_size))
    out, scale, zero_point = align(x, scale, zero_point, axis, block_size)
    scale = _beside(scale, out)
    out.div_(scale)
    to_grid(out, scale, zero_point, grid)
    return x
