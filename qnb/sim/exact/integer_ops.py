"""Ops on integer codes: one function per kind, which asks the runtime's rules how it rounds.

Each takes ``(rules, layer, *args)``: the runtime's module of rules, the `Layer`, and the op's own arguments with
dequantized values; it returns the dequantized output.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from qnb.sim.exact.operands import Operand
from qnb.sim.quantizer import spread

aten = torch.ops.aten


@dataclass(frozen=True)
class Layer:
    """One layer's encodings.

    Args:
        op: the original ATen op.
        inputs: encoding per argument; None where it is no quantized activation.
        output: encoding of the result.
        weight, weight_scale, bias: float64 codes and scales, None without.
    """

    op: Callable
    inputs: tuple[Operand | None, ...]
    output: Operand
    weight: Tensor | None = None
    weight_scale: Tensor | None = None
    bias: Tensor | None = None


def conv(
    rules: ModuleType, layer: Layer, x: Tensor, weight: Tensor, bias: Tensor | None = None, *rest: Any, **named: Any
) -> Tensor:
    strided = layer.weight.shape[1] == 1 < x.shape[1] and any(n > 1 for n in (rest[0] if rest else ()))
    rule = "requantize_strided" if strided and hasattr(rules, "requantize_strided") else "requantize"
    return conv_transpose(rules, layer, x, weight, bias, *rest, rule=rule, **named)


def conv_transpose(
    rules: ModuleType,
    layer: Layer,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *rest: Any,
    rule: str = "requantize",
    **named: Any,
) -> Tensor:
    """Any convolution: its sums, and a rule."""
    channels = [1, -1] + [1] * (x.dim() - 2)
    total = layer.op(layer.inputs[0].centred(x), layer.weight, None, *rest, **named)
    return _requantized(rules, layer, total, layer.inputs[0].scale, layer.weight_scale.reshape(-1), channels, rule)


def linear(rules: ModuleType, layer: Layer, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    total = layer.inputs[0].centred(x) @ layer.weight.T
    return _requantized(rules, layer, total, layer.inputs[0].scale, layer.weight_scale.reshape(-1), [-1])


def matmul(rules: ModuleType, layer: Layer, a: Tensor, b: Tensor) -> Tensor:
    """Two activations, or an activation and a constant."""
    first, second = layer.inputs
    if layer.weight is not None:
        total = first.centred(a) @ layer.weight
        return _requantized(rules, layer, total, first.scale, layer.weight_scale.reshape(-1), [-1])
    integers, ratio = rules.second_input(second.codes(b), second.zero_point)
    y = layer.output
    scale = (torch.tensor(second.scale, dtype=torch.float32).double() * ratio).float()
    total = first.centred(a) @ integers
    return y.real(rules.requantize(total, first.scale, scale, y.scale, y.zero_point, *y.ends))


def _requantized(
    rules, layer: Layer, total: Tensor, s_x: float, s_w: Tensor, shape: list[int], rule: str = "requantize"
) -> Tensor:
    """Accumulator -> output: the bias added, then the runtime's rule. ``shape`` lines channels up with the sums."""
    wide = spread(s_w, total.shape[shape.index(-1) - len(shape)])
    if layer.bias is not None:
        as_it_is = rule == "requantize_strided"  # that kernel takes the file's codes
        total = total + (layer.bias if as_it_is else rules.bias(layer.bias, s_x, wide)).view(shape)
    y = layer.output
    return y.real(getattr(rules, rule)(total, s_x, wide.view(shape), y.scale, y.zero_point, *y.ends))


def two(rule: str) -> Callable:
    """Add, Sub or Mul of two activations."""

    def run(rules: ModuleType, layer: Layer, a: Tensor, b: Tensor) -> Tensor:
        left, right, y = *layer.inputs, layer.output
        codes = getattr(rules, rule)(
            left.codes(a), *left.encoding, right.codes(b), *right.encoding, *y.encoding, *y.ends
        )
        return y.real(codes)

    return run


def mean(rules: ModuleType, layer: Layer, x: Tensor, axes: list[int], keepdim: bool = False, **_: Any) -> Tensor:
    """Over some axes; an adaptive pooling to one element is the mean over the last two."""
    operand, y = layer.inputs[0], layer.output
    if layer.op is aten.adaptive_avg_pool2d.default:
        axes, keepdim = [-2, -1], True
    total = operand.codes(x).sum(axes, keepdim=keepdim)
    return y.real(rules.mean(total, x.numel() // max(total.numel(), 1), *operand.encoding, *y.encoding, *y.ends))


def average_pool(
    rules: ModuleType, layer: Layer, x: Tensor, kernel: int | Sequence[int], stride: int | Sequence[int] = (), *_: Any
) -> Tensor:
    """2-D, without padding."""
    operand, y = layer.inputs[0], layer.output
    (high, wide), steps = _pair(kernel), _pair(stride or kernel)
    windows = operand.codes(x).unfold(-2, high, steps[0]).unfold(-2, wide, steps[1]).flatten(-2)
    encodings = *operand.encoding, *y.encoding, *y.ends
    return y.real(rules.average_pool(windows, high * wide, *encodings, (high, wide), steps))


def _pair(value) -> tuple[int, int]:
    values = [value] if isinstance(value, int) else list(value)
    return (values[0], values[-1])


def softmax(rules: ModuleType, layer: Layer, x: Tensor, *_: Any) -> Tensor:
    operand, y = layer.inputs[0], layer.output
    return y.real(rules.softmax(operand.codes(x), *operand.encoding, *y.encoding, *y.ends))


def silu(rules: ModuleType, layer: Layer, *args: Tensor, at: int) -> Tensor:
    """``x * sigmoid(x)``, x the argument ``at``, which the runtime reads from one table: nothing between is rounded."""
    return _table(rules, layer, args[at], torch.nn.functional.silu, at)


def unary(rules: ModuleType, layer: Layer, x: Tensor, *rest: Any, **named: Any) -> Tensor:
    """An elementwise op that the runtime reads from a table."""
    return _table(rules, layer, x, lambda real: layer.op(real, *rest, **named))


def _table(rules: ModuleType, layer: Layer, x: Tensor, function: Callable, at: int = 0) -> Tensor:
    operand, y = layer.inputs[at], layer.output
    return y.real(rules.unary(operand.codes(x), function, *operand.encoding, *y.encoding, *y.ends))
