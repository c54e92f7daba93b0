"""What ONNX Runtime's CPU kernels compute for 8-bit graphs, code for code.

With all optimizations on, ONNX Runtime replaces DequantizeLinear -> op -> QuantizeLinear by an integer kernel where
it has one. These are those kernels' formulas, in float32 as there, for uint8 activations (scale s, zero_point z)
and int8 or int4 weights with one scale per output channel. Codes and integer sums are held in float64 tensors, which
are exact up to 2^53; scales are Python floats or tensors that hold float32 values.

Measured on ONNX Runtime 1.32 (x86-64 with VNNI) over one-op graphs of random integers and random scales: every
element of every function here was equal. Only convolutions with int4 weights, which have no integer kernel and run in
float32, differ in 3 codes of 10,000 by one step.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def _float32(value: float | Tensor) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float32)


def _multiply_add(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """``a * b + c`` with one rounding, as a fused instruction does: the product of two float32 is exact in float64."""
    return (a.double() * b.double() + c.double()).float()


def _codes(real: Tensor, zero_point: int, qmin: int, qmax: int) -> Tensor:
    """Round half to even, shift, clamp: float64 codes."""
    return (torch.round(real) + zero_point).clamp(qmin, qmax).double()


def bias(codes: Tensor, s_x: float | Tensor, s_w: float | Tensor) -> Tensor:
    """The bias that the runtime adds, float64: the file's int32 codes (another runtime changes some)."""
    return codes.double()


def requantize(
    acc: Tensor, s_x: float | Tensor, s_w: float | Tensor, s_y: float | Tensor, zero_point: int, qmin: int, qmax: int
) -> Tensor:
    """Output codes of Conv, Gemm and MatMul: ``clamp(round(float32(acc) * (s_x * s_w / s_y)) + zero_point)``.

    Args:
        acc: exact integers ``sum((x_q - z_x) * w_q) + bias``, float64.
        s_x, s_w, s_y: scales of input, weight (shaped to broadcast against acc) and output.
        zero_point, qmin, qmax: of the output. A ReLU that follows is part of the clamp: qmin = zero_point.

    Returns:
        float64 codes of acc's shape. Every rounding, the multiplier's included, is to float32.
    """
    multiplier = _float32(s_x) * _float32(s_w) / _float32(s_y)
    return _codes(acc.float() * multiplier, zero_point, qmin, qmax)


def second_input(b: Tensor, z_b: int) -> tuple[Tensor, Tensor]:
    """What MatMul multiplies by: ``b - z_b``, and the ratio 1 by which its scale grows (another runtime rescales)."""
    return b - z_b, torch.ones((), dtype=torch.float64)


def add(
    a: Tensor, s_a: float, z_a: int, b: Tensor, s_b: float, z_b: int, s_y: float, z_y: int, qmin: int, qmax: int
) -> Tensor:
    """Output codes of Add: ``clamp(round(a * r_a + (b * r_b + fixed)))``, each multiply-add fused.

    ``r_a = s_a / s_y``, ``r_b = s_b / s_y``, ``fixed = z_y - (r_a * z_a + r_b * z_b)``; z_y is inside the rounding.

    Args:
        a, b: float64 codes of shapes that broadcast.
    """
    r_a, r_b = _float32(s_a) / _float32(s_y), _float32(s_b) / _float32(s_y)
    fixed = z_y - _multiply_add(r_a, _float32(z_a), r_b * z_b)
    return _codes(_multiply_add(a.float(), r_a, _multiply_add(b.float(), r_b, fixed)), 0, qmin, qmax)


def sub(
    a: Tensor, s_a: float, z_a: int, b: Tensor, s_b: float, z_b: int, s_y: float, z_y: int, qmin: int, qmax: int
) -> Tensor:
    """Output codes of Sub, which has no integer kernel: a float32 difference of the real values."""
    real = (a.float() - z_a) * _float32(s_a) - (b.float() - z_b) * _float32(s_b)
    return _codes(real / _float32(s_y), z_y, qmin, qmax)


def mul(
    a: Tensor, s_a: float, z_a: int, b: Tensor, s_b: float, z_b: int, s_y: float, z_y: int, qmin: int, qmax: int
) -> Tensor:
    """Output codes of Mul: ``clamp(round((a - z_a) * (b - z_b) * (s_a * s_b / s_y) + z_y))``.

    Unlike `requantize`, z_y is added before rounding, so an odd z_y turns ties the other way.
    """
    multiplier = _float32(s_a) * _float32(s_b) / _float32(s_y)
    return _codes(((a - z_a) * (b - z_b)).float() * multiplier + z_y, 0, qmin, qmax)


def mean(total: Tensor, count: int, s_x: float, z_x: int, s_y: float, z_y: int, qmin: int, qmax: int) -> Tensor:
    """Output codes of GlobalAveragePool: ``clamp(round((total - count * z_x) * (s_x / (s_y * count))) + z_y)``.

    Args:
        total: exact integer sums of the codes over the window, float64.
        count: number of elements in a window.
    """
    multiplier = _float32(s_x) / (_float32(s_y) * count)
    return _codes((total - count * z_x).float() * multiplier, z_y, qmin, qmax)


def average_pool(
    windows: Tensor,
    count: int,
    s_x: float,
    z_x: int,
    s_y: float,
    z_y: int,
    qmin: int,
    qmax: int,
    kernel: tuple[int, int] = (0, 0),
    stride: tuple[int, int] = (0, 0),
) -> Tensor:
    """Output codes of AveragePool: a float32 sum in the window's order, over count and s_y, z_y inside the rounding.

    Args:
        windows: float64 codes of shape (..., elements of a window in row-major order); z_x where padding is.
        count: what the sum is divided by.
        kernel, stride: all windows are computed alike (another runtime has kernels for some).
    """
    values = (windows.float() - z_x) * _float32(s_x)
    total = torch.zeros_like(values[..., 0])
    for element in values.unbind(-1):
        total = total + element
    return _codes(total / count / _float32(s_y) + z_y, 0, qmin, qmax)


def softmax(x: Tensor, s_x: float, z_x: int, s_y: float, z_y: int, qmin: int, qmax: int) -> Tensor:
    """Output codes of Softmax over the last axis: ``clamp(round(e * floor(1 / s_y) / sum(e)) + z_y)``.

    ``e`` is read from a float32 table of exponentials relative to the row's largest code, scaled up so that a row's
    sum stays in range. An s_y of 1/255 becomes 1/254 where float32(1 / s_y) falls short of 255: prefer 1/256.

    Args:
        x: float64 codes; z_x plays no part.
    """
    length = x.shape[-1]
    headroom = max(0.0, float(torch.log(_float32(torch.finfo(torch.float32).max) / length)) - 5.0)
    table = torch.exp(torch.arange(-255, 1, dtype=torch.float64) * s_x + headroom).float()
    e = table[(x - x.amax(-1, keepdim=True) + 255).long()]
    total = torch.zeros_like(e[..., :1])
    for element in e.split(1, dim=-1):
        total = total + element
    return _codes(e * torch.floor(1.0 / _float32(s_y)) / total, z_y, qmin, qmax)


def unary(
    x: Tensor, function: Callable[[Tensor], Tensor], s_x: float, z_x: int, s_y: float, z_y: int, qmin: int, qmax: int
) -> Tensor:
    """Output codes of an elementwise op, or any op that has no integer kernel: float32 in, the function, float32 out.

    ``clamp(round(function((x - z_x) * s_x) / s_y) + z_y)``, measured for Sigmoid, LeakyRelu (tables built with this
    formula) and for Relu, Tanh, Gelu, HardSwish, MaxPool, ReduceMean (float kernels). HardSwish runs as ``x *
    clamp(x * float32(1 / 6) + 0.5, 0, 1)``. An Add with a ReLU whose output's zero_point is not qmin is float32 too.
    """
    return _codes(function((x.float() - z_x) * _float32(s_x)) / _float32(s_y), z_y, qmin, qmax)
