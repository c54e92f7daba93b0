"""What ``torch.ops.qnb.fake_quantize`` becomes in an ONNX file (opset 21)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

import qnb.numerics.fake_quantize as _registers_the_operator  # noqa: F401
from qnb.errors import PrecisionError
from qnb.numerics.grid import FloatGrid, Grid, parse_grid

OPSET = 21


def translation_table() -> dict[Callable, Callable]:
    """For ``torch.onnx.export(..., dynamo=True, opset_version=21, custom_translation_table=...)``.

    An integer grid becomes QuantizeLinear and DequantizeLinear of its type. Bit-widths that ONNX lacks take
    the next of 8 and 16, with a Clip of the codes in between; 32 bits, which QuantizeLinear lacks, become
    arithmetic in double. An 8-bit float grid is a QuantizeLinear too, a 16-bit one a pair of Casts.

    >>> list(translation_table())
    [<OpOverload(op='qnb.fake_quantize', overload='default')>]
    """
    return {torch.ops.qnb.fake_quantize.default: _translate}


def _translate(x, scale, zero_point, grid: str, axis: int | None = None, block_size: int | None = None):
    parsed = parse_grid(grid)
    axis = None if axis is None else axis % len(x.shape)
    if parsed.scaled if isinstance(parsed, FloatGrid) else parsed.bits <= 16:
        scale, zero_point = (_laid_out(value, x, axis, block_size) for value in (scale, zero_point))
        attributes = {"axis": axis, "block_size": block_size}
        attributes = {name: value for name, value in attributes.items() if value is not None}
        return _linear(x, scale, zero_point, parsed, attributes)
    if block_size is not None:
        raise PrecisionError(
            "export to ONNX", f"blocks on the grid {grid}", "use one scale per tensor or channel"
        )
    shape = [] if axis is None else [-1 if i == axis else 1 for i in range(len(x.shape))]
    scale, zero_point = (_reshape(value, shape) for value in (scale, zero_point))
    return _half(x, scale, parsed) if isinstance(parsed, FloatGrid) else _wide(x, scale, zero_point, parsed)


def _linear(x, scale, zero_point, grid: Grid | FloatGrid, attributes: dict):
    """QuantizeLinear and DequantizeLinear, the codes clipped in between where their type is wider."""
    from onnx import TensorProto
    from onnxscript import opset21 as op

    stored, exact = _storage(grid)
    zero_point = op.Cast(zero_point, to=stored)
    codes = op.QuantizeLinear(x, scale, zero_point, **attributes)
    if not exact:
        # ONNX's Clip takes no 16-bit integers in every runtime.
        low, high = (_constant([q], TensorProto.INT32, []) for q in (grid.qmin, grid.qmax))
        codes = op.Cast(op.Clip(op.Cast(codes, to=TensorProto.INT32), low, high), to=stored)
    return op.DequantizeLinear(codes, scale, zero_point, **attributes)


def _storage(grid: Grid | FloatGrid) -> tuple[int, bool]:
    """(ONNX type that holds the codes, whether it holds nothing else)."""
    from onnx import TensorProto

    if isinstance(grid, FloatGrid):
        types = {"fp8_e4m3": TensorProto.FLOAT8E4M3FN, "fp8_e5m2": TensorProto.FLOAT8E5M2}
        return types[grid.format], True
    bits = grid.bits if grid.bits in (4, 8, 16) else 8 if grid.bits < 8 else 16
    return getattr(TensorProto, f"{'' if grid.symmetric else 'U'}INT{bits}"), bits == grid.bits


def _wide(x, scale, zero_point, grid: Grid):
    """32-bit codes, in double: float32 cannot hold them."""
    from onnx import TensorProto
    from onnxscript import opset21 as op

    double = TensorProto.DOUBLE
    x, scale, zero_point = (op.Cast(value, to=double) for value in (x, scale, zero_point))
    codes = op.Add(op.Round(op.Div(x, scale)), zero_point)
    codes = op.Clip(codes, *(_constant([float(q)], double, []) for q in (grid.qmin, grid.qmax)))
    return op.Cast(op.Mul(op.Sub(codes, zero_point), scale), to=TensorProto.FLOAT)


def _half(x, scale, grid: FloatGrid):
    """A 16-bit float grid."""
    from onnx import TensorProto
    from onnxscript import opset21 as op

    to = TensorProto.FLOAT16 if grid.format == "fp16" else TensorProto.BFLOAT16
    return op.Mul(op.Cast(op.Cast(op.Div(x, scale), to=to), to=TensorProto.FLOAT), scale)


def _laid_out(value, x, axis: int | None, block_size: int | None):
    """Scale or zero_point as QuantizeLinear has it: a scalar, 1-D, or full size but for the block axis."""
    from onnx import TensorProto
    from onnxscript import opset21 as op

    if axis is None:
        return _reshape(value, [])
    if block_size is None:
        return value
    shape = [n // block_size if i == axis else n for i, n in enumerate(x.shape)]
    return value if list(value.shape) == shape else op.Expand(value, _constant(shape, TensorProto.INT64))


def _reshape(value, shape: list[int]):
    from onnx import TensorProto
    from onnxscript import opset21 as op

    return (
        value
        if len(value.shape) == len(shape) < 2
        else op.Reshape(value, _constant(shape, TensorProto.INT64))
    )


def _constant(values: Sequence, data_type: int, shape: list[int] | None = None):
    import onnx
    from onnxscript import opset21 as op

    shape = [len(values)] if shape is None else shape
    return op.Constant(value=onnx.helper.make_tensor("constant", data_type, shape, list(values)))
