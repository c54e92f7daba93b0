"""Pixel shuffles in steps of five dimensions, where HTP computes the plain form wrongly or refuses it.

Measured on v75, behind ops whose output has a fixed range (sigmoid, tanh, ...): at 8 bits a DepthToSpace before a
concatenation gives other values (3 to 9 dB); at 16 bits the six dimensions of an unshuffle are refused. One step for
the height and one for the width agree with the simulation as other moves do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import fx

from qnb.graph import ops

if TYPE_CHECKING:
    from qnb.export.onnx.program import _Writer

aten = torch.ops.aten


def pixel_shuffle(writer: _Writer, node: fx.Node) -> fx.Node | None:
    """``[N, C * r * r, H, W] -> [N, C, r * H, r * W]``, the width first: its part of the channels is the last."""
    if not _behind_a_fixed_range(writer, node):
        return None
    x, r = node.args
    _, channels, height, width = writer.value_of(x).shape
    wide = _step(
        writer,
        node,
        writer.new[x],
        [channels // r, r, height, width],
        (0, 1, 3, 4, 2),
        [channels // r, height, width * r],
    )
    return _step(
        writer,
        node,
        wide,
        [channels // r**2, r, height, width * r],
        (0, 1, 3, 2, 4),
        [channels // r**2, height * r, width * r],
        last=True,
    )


def pixel_unshuffle(writer: _Writer, node: fx.Node) -> fx.Node | None:
    """``[N, C, r * H, r * W] -> [N, C * r * r, H, W]``, the height first."""
    if not _behind_a_fixed_range(writer, node):
        return None
    x, r = node.args
    _, channels, height, width = writer.value_of(x).shape
    low = _step(
        writer,
        node,
        writer.new[x],
        [channels, height // r, r, width],
        (0, 1, 3, 2, 4),
        [channels * r, height // r, width],
    )
    return _step(
        writer,
        node,
        low,
        [channels * r, height // r, width // r, r],
        (0, 1, 4, 2, 3),
        [channels * r**2, height // r, width // r],
        last=True,
    )


def _step(
    writer: _Writer,
    node: fx.Node,
    value: fx.Node,
    parted: list[int],
    order: tuple[int, ...],
    joined: list[int],
    last: bool = False,
) -> fx.Node:
    """Reshape, transpose, reshape; the last result is marked by whoever asked."""
    x, batch = node.args[0], writer.call(aten.sym_size.int, writer.new[node.args[0]], 0)
    calls = (
        (aten.reshape.default, [batch, *parted]),
        (aten.permute.default, list(order)),
        (aten.reshape.default, [batch, *joined]),
    )
    for index, (call, how) in enumerate(calls):
        value = writer.call(call, value, how)
        if not last or index < 2:
            value = writer.follow(value, f"{node.meta['layer']}.part", x)
    return value


def _behind_a_fixed_range(writer: _Writer, node: fx.Node) -> bool:
    x, target = node.args[0], writer.sim.target
    if target.htp_arch is None or writer.encoding(x) is None or writer.value_of(x).dim() != 4:
        return False
    return ops.name(ops.maker(x)) in target.fixed_ranges
