"""Pairs of layers with nothing between them but ops that a scale per channel passes through.

``f(s x) = s f(x)`` for a positive scale: ReLU, PReLU and LeakyReLU, poolings, flattening; a ReLU6 up to its ceiling.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import fx

from qnb.graph import ops
from qnb.graph.attributes import attribute
from qnb.methods.layerwise.layers import WeightedLayer
from qnb.methods.layerwise.weights import SPATIAL, channel_axis, nodes, sole_readers

_POOLS = {f"{kind}_pool{n}d": n for kind in ("max", "avg", "adaptive_max", "adaptive_avg") for n in (1, 2, 3)}
_SAME = ("dropout", "feature_dropout", "alpha_dropout", "clone", "contiguous", "detach", "alias")
_RESHAPES = ("view", "reshape", "_unsafe_view", "flatten", "squeeze", "unsqueeze", "unflatten", "view_as", "reshape_as")


@dataclass(frozen=True)
class Rectifier:
    """``min(max(x, 0), ceiling) + slope min(x, 0)``: ReLU, ReLU6 and their like."""

    ceiling: float = math.inf
    slope: float | torch.Tensor = 0.0


@dataclass(frozen=True)
class Pair:
    """Two layers, the first one's output read by the second alone.

    Args:
        between: the first one's node and those up to the second one.
        ceiling: of a ReLU6 between them, inf without.
        signed: whether negative values get through.
        repeat: inputs of the second per channel of the first, more than 1 where the map between is flattened.
        shifts: whether a constant taken off the first's output is a constant in the second's: no zeros are padded.
    """

    first: WeightedLayer
    second: WeightedLayer
    between: tuple[str, ...]
    ceiling: float = math.inf
    signed: bool = True
    repeat: int = 1
    shifts: bool = True


def rectifier(module: torch.nn.Module, node: fx.Node) -> Rectifier | None:
    """What a node rectifies as, None if it is no rectifier.

    Args:
        module: the graph module that holds a PReLU's slopes.
    """
    name, args = ops.name(node), node.args
    if name == "relu":
        return Rectifier()
    if name == "leaky_relu":
        return Rectifier(slope=args[1] if len(args) > 1 else 0.01)
    if name == "prelu" and isinstance(args[1], fx.Node) and args[1].op == "get_attr":
        return Rectifier(slope=attribute(module, args[1].target).detach())
    if name == "relu6":
        return Rectifier(6.0)
    if name in ("hardtanh", "clamp", "clamp_min"):
        low = _argument(node, 1, "min" if name != "hardtanh" else "min_val", -1.0 if name == "hardtanh" else None)
        high = _argument(node, 2, "max" if name != "hardtanh" else "max_val", 1.0 if name == "hardtanh" else None)
        if isinstance(low, int | float) and low == 0 and isinstance(high, int | float | None):
            return Rectifier(math.inf if high is None else float(high))
    return None


def _argument(node: fx.Node, position: int, name: str, default):
    return node.args[position] if len(node.args) > position else node.kwargs.get(name, default)


def pairs(sim, layers: list[WeightedLayer]) -> tuple[list[Pair], list[str]]:
    """The pairs among these layers in graph order, and a sentence about each that is left out for a tied weight."""
    by_node = {layer.node: layer for layer in layers}
    graph, alone = nodes(sim), sole_readers(sim)
    found, notes = [], []
    for first in layers:
        pair = _pair(sim, graph[first.node], by_node)
        if pair is None:
            continue
        tied = [n for n in _tensors(pair) if not alone.get(n)]
        if tied:
            notes.append(f"{first.layer} and {pair.second.layer} stay as they are: {tied[0]} is read elsewhere too.")
        else:
            found.append(pair)
    return found, notes


def _tensors(pair: Pair) -> list[str]:
    names = (pair.first.weight, pair.first.bias, pair.second.weight, pair.second.bias)
    return [n for n in names if n is not None]


def _pair(sim, first: fx.Node, by_node: dict[str, WeightedLayer]) -> Pair | None:
    """The pair that starts here, if there is one."""
    node, between, steps = first, [first.name], [ChainStep(channel_axis(first))]
    if not _plain(first, by_node[first.name]):
        return None
    while (reader := _only_reader(node)) is not None:
        axis, second = steps[-1].axis, by_node.get(reader.name)
        if second is not None:
            if not _plain(reader, second) or not _reads_channels(reader, node, axis):
                return None
            return Pair(
                by_node[first.name],
                second,
                tuple(between),
                ceiling=min(s.ceiling for s in steps),
                signed=all(s.signed for s in steps),
                repeat=math.prod(s.repeat for s in steps),
                shifts=all(s.shifts for s in steps) and not _pads(reader),
            )
        step = through(sim.captured.module, reader, axis) if reader.args[0] is node else None
        if step is None:
            return None
        steps.append(step)
        between.append(reader.name)
        node = reader
    return None


def _only_reader(node: fx.Node) -> fx.Node | None:
    """The one op that reads the node's values (others may ask for its size)."""
    readers = [u for u in node.users if not (u.op == "call_function" and ops.name(u).startswith("sym_size"))]
    return readers[0] if len(readers) == 1 and readers[0].op == "call_function" else None


def _plain(node: fx.Node, layer: WeightedLayer) -> bool:
    """A constant weight on the right of the op, read as it is stored."""
    weight = node.args[ops.of(node).weight]
    return (
        isinstance(weight, fx.Node)
        and weight.op == "get_attr"
        and (weight.meta["val"].dim() >= 3 if layer.op in SPATIAL else weight.meta["val"].dim() == 2)
    )


def _reads_channels(second: fx.Node, source: fx.Node, axis: int) -> bool:
    """Whether the second layer sums over this axis of its input."""
    name, rank = ops.name(second), source.meta["val"].dim()
    data = second.args[1] if name == "addmm" else second.args[0]
    return data is source and axis == rank - 1 - SPATIAL.get(name, 0)


@dataclass(frozen=True)
class ChainStep:
    """What one op does to a scale per channel: ``axis`` counts the channels after it; the rest as in `Pair`."""

    axis: int
    repeat: int = 1
    ceiling: float = math.inf
    signed: bool = True
    shifts: bool = True


def through(module, node: fx.Node, axis: int) -> ChainStep | None:
    """None where the op does not let a scale through."""
    found = rectifier(module, node)
    if found is not None:
        return ChainStep(axis, ceiling=found.ceiling, signed=isinstance(found.slope, torch.Tensor) or found.slope != 0)
    name, before, after = ops.name(node), node.args[0].meta["val"], node.meta["val"]
    if name in _SAME:
        return ChainStep(axis)
    if name in _POOLS and axis < before.dim() - _POOLS[name]:
        return ChainStep(axis, shifts=not name.startswith("avg") or not _pads_average(node))
    if name == "mean" and len(node.args) > 1:
        dims = [d % before.dim() for d in node.args[1]]
        return ChainStep(axis) if dims and all(d > axis for d in dims) else None
    if name in _RESHAPES and after.dim() > axis and before.shape[:axis] == after.shape[:axis]:
        if after.shape[axis] == before.shape[axis]:
            return ChainStep(axis)
        if after.dim() == axis + 1:  # channels and what comes after them, flattened
            return ChainStep(axis, repeat=before.shape[axis + 1 :].numel())
    return None


def _pads_average(node: fx.Node) -> bool:
    """Whether an average counts zeros, or divides by a number of its own."""
    padding, divisor = (node.args[i] if len(node.args) > i else 0 for i in (3, 6))
    return any(_many(padding)) or bool(divisor)


def _pads(node: fx.Node) -> bool:
    """Whether a layer sums over zeros beyond its input's edge, or fewer taps there, as a transposed convolution."""
    name = ops.name(node)
    if name.startswith("conv_transpose"):
        return True
    padding = node.args[4] if name in SPATIAL and len(node.args) > 4 else 0
    return padding == "same" or (padding != "valid" and any(_many(padding)))


def _many(value) -> list:
    return list(value) if isinstance(value, list | tuple) else [value]
