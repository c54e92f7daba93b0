"""The one quantize-dequantize operator, ``torch.ops.qnb.fake_quantize``."""

from __future__ import annotations

import torch
from torch import Tensor

from qnb.errors import InputError
from qnb.numerics import kernel
from qnb.numerics.layout import align, check_layout


@torch.library.custom_op("qnb::fake_quantize", mutates_args=())
def _operator(
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    grid: str,
    axis: int | None = None,
    block_size: int | None = None,
) -> Tensor:
    check_layout(x.shape, scale, zero_point, axis, block_size, "fake_quantize")
    return kernel.run(x, scale, zero_point, grid, axis, block_size)


@_operator.register_fake
def _fake(x, scale, zero_point, grid, axis=None, block_size=None):
    kernel.float_format(grid)  # an unknown grid is an error while tracing too
    return torch.empty_like(x)


def _setup_context(ctx, inputs, output) -> None:
    x, scale, zero_point, ctx.grid, ctx.axis, ctx.block_size = inputs
    ctx.save_for_backward(x, scale, zero_point)


def _backward(ctx, grad: Tensor):
    """Straight-through gradients, each of its input's shape and dtype, or None where not needed.

    With q = x / s, level = clamp(round(q), lo, hi): inside (nothing clamped) d/dx = 1, d/ds = level - q,
    d/dz = 0; outside d/dx = 0, d/ds = level, d/dz = -s.
    """
    x, scale, zero_point = ctx.saved_tensors
    need_x, need_scale, need_zero_point = ctx.needs_input_grad[:3]
    compute = kernel.compute_dtype(x.dtype, ctx.grid)
    values, s, z = align(x.to(compute), scale.to(compute), zero_point.to(compute), ctx.axis, ctx.block_size)
    upstream = grad.to(compute).reshape(values.shape)
    q = values / s
    level, margin = kernel.nearest_level(q, z, ctx.grid)
    # threshold_backward keeps its first argument where the second is positive: one vectorized pass, where
    # masks of booleans take four times as long.
    keep = torch.ops.aten.threshold_backward
    inner = keep(upstream, margin, 0)
    grad_x = grad_scale = grad_zero_point = None
    if need_scale:
        slope = level.sub_(keep(q, margin, 0)).mul_(upstream)
        grad_scale = slope.sum_to_size(s.shape).reshape(scale.shape).to(scale.dtype)
    if need_zero_point:
        # A float grid has no zero_point: nothing depends on it.
        slope = (inner - upstream).mul_(s) if kernel.float_format(ctx.grid) is None else torch.zeros_like(q)
        grad_zero_point = slope.sum_to_size(z.shape).reshape(zero_point.shape).to(zero_point.dtype)
    if need_x:
        grad_x = inner.reshape(x.shape).to(x.dtype)
    return grad_x, grad_scale, grad_zero_point, None, None, None


_operator.register_autograd(_backward, setup_context=_setup_context)


def fake_quantize(
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    grid: str,
    axis: int | None = None,
    block_size: int | None = None,
) -> Tensor:
    """Rounds x to the values of a grid: ``clamp(round(x / s), qmin - z, qmax - z) * s``, half to even.

    It divides by the scale (a product with its reciprocal differs in about 0.06 % of 16-bit codes) and never
    returns a view of its inputs. This is ``torch.ops.qnb.fake_quantize``, the same in eager mode,
    ``torch.compile`` and export.

    Args:
        x: float tensor of any shape. float16 and bfloat16 are computed in float32; NaN stays NaN.
        scale: positive floats. With axis None one element; with an axis, 1-D of length ``x.shape[axis]``;
            with block_size too, x's rank with ``x.shape[axis] / block_size`` at axis, and elsewhere either
            the full size or 1.
        zero_point: float tensor of integers, of scale's shape.
        grid: a `Grid`'s or `FloatGrid`'s name: ``"int4"``, ``"uint16"``, ``"fp16"``, ``"fp8_e4m3"``. Float
            grids ignore zero_point; 8-bit ones saturate, 16-bit ones overflow to infinity as the format does.
        axis: the dimension that scales run along, or None.
        block_size: elements per block along axis, or None.

    Returns:
        A new tensor of x's shape and dtype. Its gradients: straight through to x inside the range, 0 outside;
        to scale ``round(x/s) - x/s`` inside and the clamped level outside (learned step size, Esser et al.
        2020); to zero_point 0 inside and ``-s`` outside.

    Raises:
        InputError: shapes that do not fit. PrecisionError: an unknown grid.

    >>> fake_quantize(torch.tensor([0.12, 9.0]), torch.tensor(0.1), torch.tensor(0.0), "int8")
    tensor([0.1000, 9.0000])
    """
    return _operator(x, scale, zero_point, grid, axis, block_size)


@torch.no_grad()
def fake_quantize_(
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    grid: str,
    axis: int | None = None,
    block_size: int | None = None,
) -> Tensor:
    """`fake_quantize` written over x: the same numbers, about half the time, no gradient.

    Only for tensors that the caller just made: never for inputs, views or storage used elsewhere.

    Raises:
        InputError: x requires grad, or shapes that do not fit.

    >>> fake_quantize_(torch.tensor([0.12, 9.0]), torch.tensor(0.1), torch.tensor(0.0), "int4")
    tensor([0.1000, 0.7000])
    """
    if x.requires_grad:
        raise InputError("fake_quantize_", "a tensor that requires grad", "use fake_quantize")
    check_layout(x.shape, scale, zero_point, axis, block_size, "fake_quantize_")
    return kernel.run_(x, scale, zero_point, grid, axis, block_size)
