"""Weights of convolutions, transposed ones, linear layers and products as one kind of matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import fx, nn

from qnb.graph import ops
from qnb.graph.attributes import attribute, set_tensor

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim


def as_matrix(weight: torch.Tensor, node: fx.Node) -> torch.Tensor:
    """A layer's weight as ``[groups, outputs / groups, inputs / groups, taps]``, whatever the op's own order of axes.

    Output channel ``g * (outputs / groups) + o`` is at ``[g, o]``, input channel ``g * (inputs / groups) + i`` at
    ``[g, :, i]``; a depthwise convolution is ``[channels, multiplier, 1, taps]``. Always a view or a new tensor.

    Args:
        weight: the op's constant, of 2 or more axes.
        node: the op.
    """
    op = ops.of(node)
    if not op.spatial:
        return (weight if op.family == "linear" else weight.t())[None, :, :, None]
    groups = ops.groups(node)
    taps = weight.flatten(2)
    if op.family == "transposed convolution":  # [inputs, outputs / groups, ...]
        return taps.unflatten(0, (groups, -1)).transpose(1, 2)
    return taps.unflatten(0, (groups, -1))


def from_matrix(matrix: torch.Tensor, node: fx.Node, like: torch.Tensor) -> torch.Tensor:
    """The inverse of `as_matrix`, a new tensor of ``like``'s shape and dtype."""
    op = ops.of(node)
    if not op.spatial:
        flat = matrix[0, :, :, 0]
        return (flat if op.family == "linear" else flat.t()).to(like.dtype).contiguous().clone()
    rows = matrix.transpose(1, 2) if op.family == "transposed convolution" else matrix
    return rows.reshape(like.shape).to(like.dtype).clone()


def times_constant(weight: torch.Tensor, node: fx.Node, constant: torch.Tensor) -> torch.Tensor:
    """``W c``: what a layer gives, bias aside, where every input channel is constant; per output channel.

    Args:
        constant: per input channel. Zeros padded around a feature map are not thought of.
    """
    matrix = as_matrix(weight, node)
    return torch.einsum("goit,gi->go", matrix, constant.to(matrix.dtype).view(matrix.shape[0], -1)).flatten()


def channel_axis(node: fx.Node) -> int:
    """The axis of a weighted op's output that counts its channels: before the spatial ones, or the last."""
    return node.meta["val"].dim() - 1 - ops.of(node).spatial


def by_channel(value: torch.Tensor, axis: int) -> torch.Tensor:
    """Values as ``[channels, values per channel]``.

    >>> by_channel(torch.zeros(2, 3, 4, 5), 1).shape
    torch.Size([3, 40])
    """
    return value.movedim(axis, 0).flatten(1)


def put(sim: QuantSim, name: str, value: torch.Tensor) -> None:
    """A tensor of the sim's own in place of the one called ``name``; a parameter stays one."""
    old = attribute(sim.graph_module, name)
    value = value.detach().to(old.dtype)
    set_tensor(
        sim.graph_module, name, nn.Parameter(value, old.requires_grad) if isinstance(old, nn.Parameter) else value
    )


def nodes(sim: QuantSim) -> dict[str, fx.Node]:
    """The ops of the captured graph by name, without quantizers, with the statistics of folded batch norms."""
    return {node.name: node for node in sim.captured.module.graph.nodes}


def sole_readers(sim: QuantSim) -> dict[str, bool]:
    """Name of a tensor -> whether a single op reads it: a tied or twice used one cannot change for one reader."""
    module = sim.captured.module
    constants = [n for n in module.graph.nodes if n.op == "get_attr"]
    count: dict[int, int] = {}
    for node in constants:
        key = id(attribute(module, node.target))
        count[key] = count.get(key, 0) + len(node.users)
    return {str(n.target): count[id(attribute(module, n.target))] == 1 for n in constants}
