"""Blocks of a model: the stretches between points through which all paths go as one value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import fx

from qnb.graph import ops
from qnb.methods.layerwise.frontier import Frontier
from qnb.methods.layerwise.layers import WeightedLayer, weighted_layers

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim

LARGEST = 8
"""Weighted layers in a block; a longer stretch (a U-Net is one) is taken layer by layer."""


@dataclass(frozen=True)
class Block:
    """Weighted layers that are rounded together, in graph order, and the node whose value they should reconstruct."""

    layers: tuple[WeightedLayer, ...]
    output: str


def by_layer(layers: Iterable[WeightedLayer]) -> list[Block]:
    """Every layer for itself, up to its fused activation."""
    return [Block((layer,), layer.group.output) for layer in layers]


def by_block(sim: QuantSim, walk: Frontier, layers: Iterable[WeightedLayer]) -> list[Block]:
    """Residual blocks, attention, feed-forward: what lies between two cuts of the graph (BRECQ, arXiv 2102.05426).

    A cut is a place where the nodes before it hand exactly one value that weights had a part in to the nodes after it;
    masks and tables of positions, which come from the input alone, may cross it. Layers alone between two cuts, and
    those of stretches with more than `LARGEST`, stay single.
    """
    cuts = _cuts(walk)
    outputs = {name: group.output for group in sim.groups for name in group.nodes}
    stretches: dict[int, list[WeightedLayer]] = {}
    for layer in weighted_layers(sim):
        at = walk.place[layer.node]
        stop = next((cut for cut in cuts if cut > at), len(walk.nodes) + 1 + at)
        stretches.setdefault(stop, []).append(layer)
    chosen, found = list(layers), []
    for stop, stretch in stretches.items():
        own = [layer for layer in stretch if layer in chosen]
        if stop not in cuts or not 1 < len(stretch) <= LARGEST:
            found += by_layer(own)
        elif own:
            last = cuts[stop]
            last = last.args[0] if last.op == "call_module" else last
            found.append(Block(tuple(own), outputs.get(last.name, last.name)))  # pyright: ignore[reportCallIssue]
    return found


def _cuts(walk: Frontier) -> dict[int, fx.Node]:
    """Place of each cut, before the node of that number, in order -> the value that crosses it."""
    learned: set[fx.Node] = set()
    crossing: list[list[fx.Node]] = [[] for _ in range(len(walk.nodes) + 1)]
    for node in walk.nodes:
        weighted = node.op == "call_function" and ops.of(node).kind == "weighted"
        if node in walk.constant or not (weighted or any(n in learned for n in node.all_input_nodes)):
            continue
        learned.add(node)
        at = walk.place[node.name]
        for cut in range(at + 1, max((walk.place.get(user.name, at) for user in node.users), default=at) + 1):
            crossing[cut].append(node)
        if any(user.op == "output" for user in node.users):
            crossing[-1].append(node)
    return {
        cut: values[0]
        for cut, values in enumerate(crossing)
        if len(values) == 1 and not isinstance(values[0].meta.get("val"), tuple | list)
    }
