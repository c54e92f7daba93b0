"""Dilated 1-D convolutions of 16-bit weights in a form that HTP computes exactly.

HTP (v75, measured) multiplies 16-bit weights to 85 dB, but to 40 dB where a convolution is dilated. The taps of a
1-D convolution with dilation d lie in one column of the signal written in rows of d values, so the same sums come from
a convolution without dilation down the columns: 83 dB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import fx

from qnb.graph import ops
from qnb.numerics import Grid

if TYPE_CHECKING:
    from qnb.export.onnx.program import _Writer
    from qnb.sim.quantsim import QuantSim

aten = torch.ops.aten


def column_weights(sim: QuantSim) -> dict[str, fx.Node]:
    """Keys of the weights that such convolutions read -> the convolution's node in the captured graph."""
    if sim.target.htp_arch is None:
        return {}
    return {
        key: site.user
        for key, site in sim.plan.weights.items()
        if site.user.target is aten.conv1d.default
        and _stride(site.user) == 1
        and _dilation(site.user) > 1
        and sim.weight(key).active
        and _wide(sim.weight(key).grid)
    }


def conv1d(writer: _Writer, node: fx.Node) -> fx.Node | None:
    """``[N, C, T] -> [N, C, T / d, d]``, convolved down the columns, and back once the result is quantized."""
    if node.name not in {user.name for user in writer.columns.values()} or writer.encoding(node.args[0]) is None:
        return None
    x, weight, *rest = node.args
    bias, pad, step = (writer.new[rest[0]] if rest and rest[0] is not None else None), _padding(node), _dilation(node)
    value, layer = writer.value_of(x), node.meta["layer"]
    batch, channels, length = writer.call(aten.sym_size.int, writer.new[x], 0), *value.shape[1:]
    rows = -(-(length + 2 * pad) // step)
    after = rows * step - length - pad
    padded = writer.follow(writer.call(aten.constant_pad_nd.default, writer.new[x], [pad, after]), f"{layer}.padded", x)
    shaped = writer.call(aten.reshape.default, padded, [batch, channels, rows, step])
    columns = writer.follow(shaped, f"{layer}.columns", x)
    out, kernel = writer.value_of(node), writer.value_of(weight).shape[-1]
    kept = (rows - kernel + 1) * step
    writer.restore[node] = [
        (aten.reshape.default, [batch, out.shape[1], kept]),
        (aten.slice.Tensor, 2, 0, int(out.shape[2])),
    ]
    groups = node.args[6] if len(node.args) > 6 else 1
    return writer.call(aten.conv2d.default, columns, writer.new[weight], bias, [1, 1], [0, 0], [1, 1], groups)


def _wide(grid) -> bool:
    return isinstance(grid, Grid) and grid.bits == 16 and grid.granularity != "block"


def _stride(node: fx.Node) -> int:
    return ops.numbers(node, 3, 1)[0]


def _padding(node: fx.Node) -> int:
    return ops.numbers(node, 4, 0)[0]


def _dilation(node: fx.Node) -> int:
    return ops.numbers(node, 5, 1)[0]
