"""Pairs of layers with nothing between them but ops that a scale per channel passes through."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import fx

from qnb.graph import ops
from qnb.methods.layerwise.channel_steps import ChainStep, many, through
from qnb.methods.layerwise.layers import WeightedLayer
from qnb.methods.layerwise.weights import channel_axis, nodes, sole_readers
from qnb.sim.quantizer import Quantizer

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim


@dataclass(frozen=True)
class Pair:
    """Two layers, the first one's output read by the second alone.

    Args:
        between: the first one's node and those up to the second one.
        ceiling, signed, repeat, shifts: of all steps between, see `ChainStep`.
    """

    first: WeightedLayer
    second: WeightedLayer
    between: tuple[str, ...]
    ceiling: float = math.inf
    signed: bool = True
    repeat: int = 1
    shifts: bool = True


def pairs(sim: QuantSim, layers: list[WeightedLayer]) -> tuple[list[Pair], list[str]]:
    """The pairs among these layers in graph order, and a sentence about each that is left out for a tied weight, or for
    a range that is frozen."""
    by_node = {layer.node: layer for layer in layers}
    graph, alone = nodes(sim), sole_readers(sim)
    found, notes = [], []
    for first in layers:
        pair = _pair(sim, graph[first.node], by_node)
        if pair is None:
            continue
        tied = [n for n in _tensors(pair) if not alone.get(n)]
        if tied:
            notes.append(f"{first.layer} and {pair.second.layer} are not changed: {tied[0]} is also used elsewhere.")
        elif any(q.frozen for q in _quantizers(sim, pair)):
            notes.append(f"{first.layer} and {pair.second.layer} are not changed: one of their ranges is frozen.")
        else:
            found.append(pair)
    return found, notes


def _tensors(pair: Pair) -> list[str]:
    names = (pair.first.weight, pair.first.bias, pair.second.weight, pair.second.bias)
    return [n for n in names if n is not None]


def _quantizers(sim: QuantSim, pair: Pair) -> list[Quantizer]:
    """All whose range changes with the pair's scales."""
    keys = {sim.plan.encoding_of[name] for name in pair.between if name in sim.plan.encoding_of}
    return [*map(sim.activation, keys), *(sim.weight(layer.weight_key) for layer in (pair.first, pair.second))]


def _pair(sim: QuantSim, first: fx.Node, by_node: dict[str, WeightedLayer]) -> Pair | None:
    """The pair that starts here, if there is one."""
    node, between, steps = first, [first.name], [ChainStep(channel_axis(first))]
    if not _plain(first):
        return None
    while (reader := _only_reader(node)) is not None:
        axis, second = steps[-1].axis, by_node.get(reader.name)
        if second is not None:
            if not _plain(reader) or not _reads_channels(reader, node, axis):
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


def _plain(node: fx.Node) -> bool:
    """A constant weight on the right of the op, read as it is stored."""
    op, weight = ops.of(node), node.args[ops.of(node).weight]  # pyright: ignore[reportCallIssue]
    return (
        isinstance(weight, fx.Node)
        and weight.op == "get_attr"
        and (weight.meta["val"].dim() >= 3 if op.spatial else weight.meta["val"].dim() == 2)
    )


def _reads_channels(second: fx.Node, source: fx.Node, axis: int) -> bool:
    """Whether the second layer sums over this axis of its input."""
    op, rank = ops.of(second), source.meta["val"].dim()
    return second.args[op.data] is source and axis == rank - 1 - op.spatial


def _pads(node: fx.Node) -> bool:
    """Whether a layer sums over zeros beyond its input's edge, or fewer taps there, as a transposed convolution."""
    op = ops.of(node)
    if op.family == "transposed convolution":
        return True
    padding = node.args[4] if op.spatial and len(node.args) > 4 else 0
    return padding == "same" or (padding != "valid" and any(many(padding)))
