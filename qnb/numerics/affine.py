"""Scale and zero_point from a range, and the way to integer codes and back."""

from __future__ import annotations

import torch
from torch import Tensor

from qnb.errors import PrecisionError
from qnb.numerics.grid import FloatGrid, Grid, parse_grid
from qnb.numerics.layout import align, check_layout


def smallest_scale(grid: Grid) -> float:
    """Floor of the scale: ``min(2^-23, 0.01 / (2^bits - 1))``, so that an all-zero tensor has a grid too."""
    return min(2.0**-23, 0.01 / (grid.qmax - grid.qmin))


def affine_parameters(minimum: Tensor, maximum: Tensor, grid: Grid | FloatGrid) -> tuple[Tensor, Tensor]:
    """Scale and zero_point whose grid covers ``[minimum, maximum]`` and contains 0 exactly.

    Asymmetric: ``scale = (max - min) / (2^b - 1)``, ``zero_point = round(-min / scale)`` clamped to the grid.
    Symmetric: ``scale = max(max / (2^(b-1) - 1), -min / 2^(b-1))``, zero_point 0. The range is first made to
    contain 0. An 8-bit float grid has its largest value at the range's end; 16-bit ones have scale 1.

    Args:
        minimum, maximum: any one shape, in the tensor's units.
        grid: where the values go.

    Returns:
        float32 (scale, zero_point) of the same shape; zero_point holds integers.

    Source: the conventions of AIMET 2.42.

    >>> affine_parameters(torch.tensor(-1.0), torch.tensor(1.55), Grid(8))
    (tensor(0.0100), tensor(100.))
    """
    low = minimum.detach().float().clamp(max=0.0)
    high = maximum.detach().float().clamp(min=0.0)
    if isinstance(grid, FloatGrid):
        extent = torch.maximum(high, -low)
        scale = (extent / grid.max).clamp(min=2.0**-23) if grid.scaled else torch.ones_like(extent)
        return scale, torch.zeros_like(scale)
    if grid.symmetric:
        scale = torch.maximum(high / grid.qmax, -low / -grid.qmin).clamp(min=smallest_scale(grid))
        return scale, torch.zeros_like(scale)
    # Halving first keeps the difference of two huge floats finite; it changes no digit otherwise.
    scale = ((high / 2 - low / 2) / grid.qmax * 2).clamp(min=smallest_scale(grid))
    zero_point = torch.round(-low / scale).clamp(grid.qmin, grid.qmax)
    return scale, zero_point


def _integer_grid(grid: str | Grid, operation: str) -> Grid:
    found = parse_grid(grid) if isinstance(grid, str) else grid
    if isinstance(found, FloatGrid):
        raise PrecisionError(operation, f"the float grid {found.name}", "cast to its dtype: it has no codes")
    return found


def quantize(
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    grid: str | Grid,
    axis: int | None = None,
    block_size: int | None = None,
) -> Tensor:
    """Integer codes ``clamp(round(x / scale) + zero_point, qmin, qmax)``, rounding half to even.

    Args:
        x: float tensor of any shape.
        scale, zero_point, axis, block_size: as in `fake_quantize`.
        grid: integer grid or its name. 32-bit grids are computed in float64.

    Returns:
        int32 codes of x's shape (int64 for ``"uint32"``, which int32 cannot hold).

    >>> quantize(torch.tensor([-9.0, 0.0, 0.26]), torch.tensor(0.1), torch.tensor(3.0), "uint4")
    tensor([0, 3, 6], dtype=torch.int32)
    """
    grid = _integer_grid(grid, "quantize")
    check_layout(x.shape, scale, zero_point, axis, block_size, "quantize")
    blocks, scale, zero_point = align(x.detach(), scale.detach(), zero_point.detach(), axis, block_size)
    compute = torch.float64 if grid.bits > 16 else torch.promote_types(x.dtype, torch.float32)
    zero_point = zero_point.to(compute)
    codes = (blocks.to(compute) / scale.to(compute)).round_()
    codes = codes.add_(zero_point).clamp_(grid.qmin, grid.qmax)
    return codes.reshape(x.shape).to(torch.int64 if grid.qmax > 2**31 - 1 else torch.int32)


def dequantize(
    codes: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    grid: str | Grid,
    axis: int | None = None,
    block_size: int | None = None,
) -> Tensor:
    """Real values ``(codes - zero_point) * scale`` as float32: the inverse of `quantize` on the grid.

    >>> dequantize(torch.tensor([0, 3, 6]), torch.tensor(0.5), torch.tensor(3.0), "uint4")
    tensor([-1.5000,  0.0000,  1.5000])
    """
    grid = _integer_grid(grid, "dequantize")
    check_layout(codes.shape, scale, zero_point, axis, block_size, "dequantize")
    blocks, scale, zero_point = align(codes, scale.detach(), zero_point.detach(), axis, block_size)
    compute = torch.float64 if grid.bits > 16 else torch.float32
    values = (blocks.to(compute) - zero_point.to(compute)) * scale.to(compute)
    return values.reshape(codes.shape).float()
