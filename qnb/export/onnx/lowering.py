"""Ops in the form that integer kernels take: what ONNX Runtime and QNN match when they look for a quantized op."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import fx

from qnb.export.onnx.dilated import conv1d
from qnb.export.onnx.shuffles import pixel_shuffle, pixel_unshuffle
from qnb.graph import ops
from qnb.numerics import Grid

if TYPE_CHECKING:
    from qnb.export.onnx.program import _Writer

aten = torch.ops.aten


def linear(writer: _Writer, node: fx.Node) -> fx.Node | None:
    """Rows first: ``[.., K] -> [rows, K]``, Gemm, and back once the result is quantized. As MatMul and Add, the sum
    between the two would have no encoding."""
    x = node.args[0]
    shape = writer.value_of(x).shape
    if len(shape) == 2 or node.name not in writer.grouped or writer.encoding(x) is None:
        return None
    layer, value, features = node.meta["layer"], writer.new[x], writer.value_of(node).shape[-1]
    sizes = [writer.call(aten.sym_size.int, value, i) for i in range(len(shape) - 1)]
    back = [(aten.reshape.default, [*sizes, features])]
    if len(shape) == 3 and _apart(writer, x):
        value = writer.follow(writer.call(aten.unsqueeze.default, value, -2), f"{layer}.input_apart", x)
        back = [(aten.reshape.default, [*sizes, 1, features]), (aten.squeeze.dim, -2)]
    rows = writer.follow(writer.call(aten.reshape.default, value, [-1, shape[-1]]), f"{layer}.input_rows", x)
    writer.restore[node] = back
    return writer.call(node.target, rows, *(writer.new[a] for a in node.args[1:]))


def _apart(writer: _Writer, x: fx.Node) -> bool:
    """Whether rows must be made of this value in two steps.

    HTP (v73 to v79, measured) reads the rows of a 16-bit LayerNorm over 16 positions in a wrong order when its
    output's first dimensions are merged, multiplied and parted again; not so with a dimension of 1 in between.
    """
    return writer.sim.target.htp_arch is not None and _is_wide(writer, x)


def _is_wide(writer: _Writer, x: fx.Node) -> bool:
    """Whether a value has more than 8 bits."""
    encoding = writer.encoding(x)
    quantizer = writer.sim.activation(encoding[0]) if encoding else None
    return quantizer is not None and quantizer.active and isinstance(quantizer.grid, Grid) and quantizer.grid.bits > 8


def mean(writer: _Writer, node: fx.Node) -> fx.Node | None:
    """A mean over height and width keeps its dimensions until it is quantized: that is a global average pooling."""
    x, axes = node.args[0], node.args[1]
    kept = node.args[2] if len(node.args) > 2 else node.kwargs.get("keepdim", False)
    if kept or node.name not in writer.grouped or writer.value_of(x).dim() != 4:
        return None
    if not isinstance(axes, list | tuple) or sorted(a % 4 for a in axes) != [2, 3]:
        return None
    sizes = [writer.call(aten.sym_size.int, writer.new[x], i) for i in range(2)]
    writer.restore[node] = [(aten.reshape.default, sizes)]
    return writer.graph.call_function(node.target, (writer.new[x], list(axes), True), dict(node.kwargs))


def unbound(writer: _Writer, node: fx.Node) -> fx.Node | None:
    """A part that unbind makes, selected by itself: a Slice and a Squeeze would have a bare tensor between."""
    parts, index = node.args
    if parts.op != "call_function" or ops.name(parts) != "unbind":
        return None
    axis = parts.args[1] if len(parts.args) > 1 else parts.kwargs.get("dim", 0)
    return writer.call(aten.select.int, writer.new[parts.args[0]], axis, index)


def gate(writer: _Writer, node: fx.Node) -> fx.Node | None:
    """The sigmoid of ``x * sigmoid(x)`` in another shape, where activations have 16 bits.

    HTP (v75, measured) makes one op of the two. Of 16 bits and four dimensions, that op gives other values where a
    convolution or a pooling reads it and its input comes from an addition, a layer norm and the like.
    """
    x = node.args[0]
    shape = writer.value_of(x).shape
    if writer.sim.target.htp_arch is None or len(shape) < 3 or not _is_wide(writer, x):
        return None
    readers = [user for made in node.users for user in (made.users if made.op == "call_module" else [made])]
    if not any(r.op == "call_function" and ops.name(r) == "mul" and x in r.args for r in readers):
        return None
    sizes = [writer.call(aten.sym_size.int, writer.new[x], i) for i in range(len(shape))]
    flat = writer.call(aten.reshape.default, writer.new[x], [sizes[0], -1])
    writer.restore[node] = [(aten.reshape.default, sizes)]
    return writer.call(node.target, writer.follow(flat, f"{node.meta['layer']}.input_rows", x))


def one_pixel(writer: _Writer, node: fx.Node) -> fx.Node | None:
    """A depthwise convolution of one pixel, of a value that was cut in height or width: over ``[N, C, H * W, 1]``.

    HTP (v75, measured) computes other values (-9 dB) for it at 8 bits where a Slice stands before it.
    """
    x, weight, *rest = node.args
    shape, kernel = writer.value_of(x).shape, writer.value_of(weight).shape
    depthwise = ops.groups(node) == shape[1] and kernel[1:].numel() == 1
    in_place = set(ops.numbers(node, 3, 1)) == {1} and not any(ops.numbers(node, 4, 0))
    if writer.sim.target.htp_arch is None or not (depthwise and in_place and _cut(x)):
        return None
    if writer.encoding(x) is None or _is_wide(writer, x):
        return None
    batch, height, width = (writer.call(aten.sym_size.int, writer.new[x], i) for i in (0, 2, 3))
    flat = writer.call(aten.reshape.default, writer.new[x], [batch, shape[1], -1, 1])
    writer.restore[node] = [(aten.reshape.default, [batch, kernel[0], height, width])]
    bias = writer.new[rest[0]] if rest and rest[0] is not None else None
    return writer.call(
        aten.conv2d.default,
        writer.follow(flat, f"{node.meta['layer']}.pixels", x),
        writer.new[weight],
        bias,
        [1, 1],
        [0, 0],
        [1, 1],
        ops.groups(node),
    )


def _cut(x: fx.Node) -> bool:
    """Whether a value was sliced along height or width, and only moved since."""
    while x.op == "call_function" and ops.of(x).kind == "pass":
        if ops.name(x) == "slice" and x.args[1] % 4 >= 2:
            return True
        x = x.args[0]
    return False


REWRITES = {
    "conv1d": conv1d,
    "conv2d": one_pixel,
    "getitem": unbound,
    "linear": linear,
    "mean": mean,
    "pixel_shuffle": pixel_shuffle,
    "pixel_unshuffle": pixel_unshuffle,
    "sigmoid": gate,
}
