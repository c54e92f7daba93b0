"""What Qualcomm's HTP computes for 8-bit graphs, code for code.

The rules were found by running one-op graphs of random integers on the HTP emulator (v75) and looking at where the
outputs step; no source is public. Activations are uint8 (scale s, zero_point z), weights int8 or int4 with one scale
per output channel. Codes and integer sums are held in float64 tensors, which are exact up to 2^53; scales are Python
floats or tensors that hold float32 values.

Measured with onnxruntime-qnn 2.7, share of equal elements (no other element is further than one step):
Conv (3x3, 1x1, depthwise), ConvTranspose and Gemm, with and without bias and ReLU, weights of 8 and 4 bits: 100 %.
Add, Sub, GlobalAveragePool, ReduceMean, Sigmoid, Tanh, Gelu, HardSwish: 100 %; AveragePool: see `average_pool`.
Mul and MatMul of two activations: 99.9 to 100 % (see `mul`, `second_input`). Softmax: 98.8 to 99.9 %.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


def _float32(value: float | Tensor) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float32)


def _round(value: Tensor) -> Tensor:
    """To the nearest integer, halves up: what adding one half and shifting right does."""
    return torch.floor(value + 0.5)


def bias(codes: Tensor, s_x: float | Tensor, s_w: float | Tensor) -> Tensor:
    """The bias that the runtime adds: the int32 codes of the file, at times one step closer to zero.

    With ``unit = s_x * max(s_w)``, the codes are turned to real values, these to integers of 28 bits relative to the
    largest of them, those back to real values and, cut instead of rounded, to multiples of ``unit``; all in float32.

    Args:
        codes: int32 codes of shape (C,), any dtype, at scale ``s_x * s_w``.
        s_w: the weight's scales, one or C of any shape.

    Returns:
        float64 codes of shape (C,).
    """
    unit = _float32(s_x) * _float32(s_w).max()
    real = codes.float() * unit
    scale = real.abs().max() / 2**28
    if scale == 0:
        return codes.double()
    return torch.trunc(torch.round(real * (1 / scale)) * scale / unit).double()


def requantize(
    acc: Tensor, s_x: float | Tensor, s_w: float | Tensor, s_y: float | Tensor, zero_point: int, qmin: int, qmax: int
) -> Tensor:
    """Output codes of Conv, Gemm and MatMul: the accumulator shifted, then multiplied by a 12-bit mantissa.

    With ``s_x * s_w / s_y = m * 2^-e``, m in [0.5, 1) rounded to 12 bits, and ``t = floor(acc / 2^(e - 3))``, the code
    is ``clamp(round((t + 0.5) * m / 8) + zero_point)``, halves up. The shift drops bits: each t stands for a whole
    range of sums, and its middle is what is multiplied.

    Args:
        acc: exact integers ``sum((x_q - z_x) * w_q) + bias``, float64, the bias as `bias` gives it.
        s_x, s_w, s_y: scales of input, weight (shaped to broadcast against acc) and output.
        zero_point, qmin, qmax: of the output. A ReLU that follows is part of the clamp: qmin = zero_point.

    Returns:
        float64 codes of acc's shape.
    """
    multiplier = (_float32(s_x) * _float32(s_w) / _float32(s_y)).double()
    mantissa, exponent = torch.frexp(multiplier)
    mantissa = _round(mantissa * 4096) / 4096
    t = torch.floor(torch.ldexp(acc, exponent + 3))
    return (_round((t + 0.5) * mantissa / 8) + zero_point).clamp(qmin, qmax)


def second_input(b: Tensor, z_b: int) -> tuple[Tensor, Tensor]:
    """What MatMul multiplies by: ``b - z_b`` in int8, and per column the ratio by which its scale has grown.

    A column that fits int8 stays. Another is divided by ``ratio = max(top / 127, -bottom / 128)``, whose mantissa has
    12 bits, and rounded. Use the sums with the first as ``acc`` and ``s_w = s_b * ratio`` in `requantize`.

    Args:
        b: float64 codes of shape (..., K, N).

    Returns:
        float64 integers of b's shape and float64 ratios of shape (..., 1, N).
    """
    centred = b - z_b
    top, bottom = centred.amax(-2, keepdim=True), centred.amin(-2, keepdim=True)
    mantissa, exponent = torch.frexp(torch.maximum(top / 127, -bottom / 128).clamp(min=1.0))
    ratio = torch.ldexp(_round(mantissa * 4096), exponent - 12)
    scaled = centred / ratio
    return (torch.sign(scaled) * _round(scaled.abs())).clamp(-128, 127), ratio


def requantize_strided(
    acc: Tensor, s_x: float | Tensor, s_w: float | Tensor, s_y: float | Tensor, zero_point: int, qmin: int, qmax: int
) -> Tensor:
    """As `requantize`, for depthwise convolutions with a stride, which have a kernel of their own.

    With ``k = s_x * s_w / s_y`` in 15 bits, the zero point joins the accumulator as ``round(zero_point / k)``, k not
    rounded here; the code is ``clamp(round((acc + that) * k))``, halves up. The bias is the file's, not that of `bias`.
    100 % of elements equal with 8-bit weights.
    """
    multiplier = (_float32(s_x) * _float32(s_w) / _float32(s_y)).double()
    mantissa, exponent = torch.frexp(multiplier)
    rounded = torch.ldexp(_round(mantissa * 2**15), exponent - 15)
    return _round((acc + _round(zero_point / multiplier)) * rounded).clamp(qmin, qmax)


def add(
    a: Tensor, s_a: float, z_a: int, b: Tensor, s_b: float, z_b: int, s_y: float, z_y: int, qmin: int, qmax: int
) -> Tensor:
    """Output codes of Add: ``clamp(floor((a * k_a + b * k_b + offset) / 2^shift + 0.5))`` with integers k and offset.

    ``shift = min(15, 13 - floor(log2(s_a / s_y + s_b / s_y)))``, ``k_a = round(2^shift * s_a / s_y)``, k_b alike, and
    ``offset = z_y * 2^shift - k_a * z_a - k_b * z_b`` rounded to a multiple of 256, halves down: with a zero point of
    128, as values around zero have it, every other offset is such a half.

    Args:
        a, b: float64 codes of shapes that broadcast.
    """
    r_a, r_b = float(s_a) / float(s_y), float(s_b) / float(s_y)
    return _weighted(a, r_a, z_a, b, r_b, z_b, r_a + r_b, z_y).clamp(qmin, qmax)


def sub(
    a: Tensor, s_a: float, z_a: int, b: Tensor, s_b: float, z_b: int, s_y: float, z_y: int, qmin: int, qmax: int
) -> Tensor:
    """Output codes of Sub: as `add` with ``-s_b``, but the larger of the two ratios, not their sum, sets the shift."""
    r_a, r_b = float(s_a) / float(s_y), float(s_b) / float(s_y)
    return _weighted(a, r_a, z_a, b, -r_b, z_b, max(r_a, r_b), z_y).clamp(qmin, qmax)


def _weighted(a: Tensor, r_a: float, z_a: int, b: Tensor, r_b: float, z_b: int, top: float, z_y: int) -> Tensor:
    """``r_a * (a - z_a) + r_b * (b - z_b) + z_y`` in fixed point whose shift is chosen so that ``top`` fits."""
    one = 2.0 ** min(15, 13 - math.floor(math.log2(top)))
    k_a, k_b = math.floor(r_a * one + 0.5), math.floor(r_b * one + 0.5)
    offset = 256 * math.ceil((z_y * one - k_a * z_a - k_b * z_b) / 256 - 0.5)
    return _round((a * k_a + b * k_b + offset) / one)


def mul(
    a: Tensor, s_a: float, z_a: int, b: Tensor, s_b: float, z_b: int, s_y: float, z_y: int, qmin: int, qmax: int
) -> Tensor:
    """Output codes of Mul: ``clamp(floor(((p - 256 r) * k + 2^15 * offset) / 2^shift + 0.5))``, all integers.

    ``p = (a - z_a) * (b - z_b)`` is taken relative to ``256 r``, ``r = round((127.5 - z_a) * (127.5 - z_b) / 128)``;
    ``k = round(2^shift * s_a * s_b / s_y)`` has up to 15 bits; ``offset = round(r * k / 128) + z_y * 2^(shift - 15)``
    puts it back, rounded. The shift is the largest one up to 22 with which both fit 16 bits. Halves go up.

    100 % of elements equal where ``s_a * s_b < s_y`` (but for 2 codes of one case in 250); beyond, where most codes are
    clamped, 99 %.
    """
    ratio = float(s_a) * float(s_b) / float(s_y)
    centre = math.floor((127.5 - z_a) * (127.5 - z_b) / 128 + 0.5)
    shift = min(22, 15 - math.frexp(ratio)[1])
    while True:
        k = math.floor(math.ldexp(ratio, shift) + 0.5)
        offset = math.floor(centre * k / 128 + 0.5) + math.ldexp(z_y, shift - 15)
        if -(2**15) <= offset < 2**15:
            break
        shift -= 1
    products = (a - z_a) * (b - z_b) - 256 * centre
    return _round((products * k + 2**15 * offset) / 2.0**shift).clamp(qmin, qmax)


def mean(
    total: Tensor, count: int, s_x: float, z_x: int, s_y: float, z_y: int, qmin: int, qmax: int, higher: int = 0
) -> Tensor:
    """Output codes of GlobalAveragePool and ReduceMean: ``clamp(round((total - count * z_x) * k) + z_y)``.

    ``k = s_x / (s_y * count)`` with its mantissa rounded to 15 bits; halves go up.

    Args:
        total: exact integer sums of the codes over the window, float64.
        count: number of elements in a window.
        higher: what is added before rounding, in units of k's last bit.
    """
    mantissa, exponent = math.frexp(float(s_x) / (float(s_y) * count))
    unit = math.ldexp(1.0, exponent - 15)
    multiplier = math.floor(mantissa * 2**15 + 0.5) * unit
    return (_round((total - count * z_x) * multiplier + higher * unit) + z_y).clamp(qmin, qmax)


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
    """Output codes of AveragePool: `mean` of each window, but for two kinds that have kernels of their own.

    Square windows of an odd size at stride 1 are depthwise convolutions with weights ``1 / count``: `requantize`. Those
    of 2x2 at stride 2 round ``2^11`` of `mean`'s fixed-point units higher where ``k < 0.5``. Where a window is the
    whole image or reaches across one of its sides, `mean` holds. Exact for these and for most others; of windows that
    overlap up to 2 % of the codes are one step off, and 4x4 at stride 4 is wrong on the emulator itself, by up to 31.

    Args:
        windows: float64 codes of shape (..., rows, columns, elements of a window); z_x where padding is.
        count: what the sum is divided by.
        kernel, stride: rows and columns of a window and between windows.
    """
    total = windows.sum(-1) - (windows.shape[-1] - count) * z_x
    rows, columns = total.shape[-2:]
    if stride == (1, 1) and kernel[0] == kernel[1] and kernel[0] % 2 and min(rows, columns) > 1:
        return requantize(total - count * z_x, s_x, 1 / count, s_y, z_y, qmin, qmax)
    finer = kernel == stride == (2, 2) and rows * columns > 1 and float(s_x) < 2 * float(s_y)
    return mean(total, count, s_x, z_x, s_y, z_y, qmin, qmax, 2**11 if finer else 0)


def softmax(x: Tensor, s_x: float, z_x: int, s_y: float, z_y: int, qmin: int, qmax: int) -> Tensor:
    """Output codes of Softmax over the last axis, as float32 gives them: no integer rule was found.

    98.8 to 99.9 % of the codes equal the runtime's, the others are one step off.
    """
    return unary(x, lambda real: torch.softmax(real, -1), s_x, z_x, s_y, z_y, qmin, qmax)


def unary(
    x: Tensor, function: Callable[[Tensor], Tensor], s_x: float, z_x: int, s_y: float, z_y: int, qmin: int, qmax: int
) -> Tensor:
    """Output codes of an elementwise op: ``clamp(round(function((x - z_x) * s_x) / s_y + z_y))`` in float32.

    Half to even, z_y inside the rounding. Sigmoid, Tanh, Gelu and HardSwish are tables of 256 codes built this way;
    ReLU, LeakyReLU and MaxPool agree where input and output scales are those of their ranges.
    """
    real = function((x.float() - z_x) * _float32(s_x))
    return torch.round(real / _float32(s_y) + z_y).clamp(qmin, qmax).double()
