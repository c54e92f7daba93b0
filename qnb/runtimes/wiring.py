"""Which layers a simulation's layers and outputs are computed from, and in how few bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch.utils import _pytree as pytree

from qnb.graph import ops

if TYPE_CHECKING:
    from qnb.sim.base import SimBase

CHOICES = frozenset(
    "topk sort argsort argmax argmin max min kthvalue mode nonzero unique bucketize searchsorted eq ne gt ge lt "
    "le isin round floor ceil trunc sign".split()
)
"""Ops that decide: where two values are nearly the same, one step turns what they give."""
ORDERS = frozenset("topk sort argsort kthvalue nonzero unique".split())
"""Those that put values into an order: where several are the same, their places say nothing."""
WHOLE = frozenset(
    "view reshape _unsafe_view flatten unflatten transpose permute t squeeze unsqueeze clone contiguous to _to_copy "
    "alias detach movedim moveaxis swapaxes swapdims view_as reshape_as ravel".split()
)
"""Ops that move all values there are."""


@dataclass(frozen=True)
class Source:
    """What a layer or an output is computed from.

    Args:
        layers: the layers that it reads, through ops that are no layers of their own.
        bits: the fewest bits of any activation on the way to it; 32 where none is quantized.
        chosen: whether a choice lies between it and those layers.
        ordered: whether that choice is an order.
        parts: of an output that joins several layers without computing: these layers.
    """

    layers: tuple[str, ...] = ()
    bits: int = 32
    chosen: bool = False
    ordered: bool = False
    parts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wiring:
    """Of every layer by name in graph order, and of the outputs in theirs."""

    layers: dict[str, Source]
    outputs: tuple[Source, ...]

    def before(self, source: Source) -> list[str]:
        """All layers that a source depends on, in graph order."""
        found, left = set(), list(source.layers)
        while left:
            layer = left.pop()
            if layer not in found:
                found.add(layer)
                left.extend(self.layers[layer].layers)
        return [layer for layer in self.layers if layer in found]


def of(sim: SimBase) -> Wiring:
    """Of a QuantSim: its graph without the quantizers, whose nodes its layers name."""
    made, bits = {g.output: g.layer for g in sim.groups}, _own_bits(sim)
    walk: dict = {}
    layers: dict[str, Source] = {}
    for node in sim.captured.module.graph.nodes:
        if node.op == "output":
            outputs = [walk[leaf] if leaf in walk else Source() for leaf in pytree.tree_leaves(node.args[0])]
            return Wiring({g.layer: layers[g.layer] for g in sim.groups}, tuple(outputs))
        found = _joined(node, [walk[n] for n in _read(node)], bits.get(node.name, 32))
        if (layer := made.get(node.name)) is not None:
            layers[layer] = found
            found = Source((layer,), found.bits, parts=found.parts)
        walk[node] = found
    return Wiring(layers, ())


def in_a_row(layers: Sequence[str], outputs: int, bits: int) -> Wiring:
    """Where only the order of the layers is known: each reads the one before it."""
    found, before = {}, ()
    for layer in layers:
        found[layer], before = Source(before, bits), (layer,)
    return Wiring(found, (Source(before, bits),) * outputs)


def _read(node) -> list:
    """The nodes that it reads. The largest values themselves are no matter of choice: which ones they are is."""
    if node.op == "call_function" and ops.name(node) == "getitem" and node.args[1] == 0:
        return (node.args[0] if ops.name(node.args[0]) in CHOICES else node).all_input_nodes
    return node.all_input_nodes


def _joined(node, read: list[Source], bits: int) -> Source:
    """What a node makes of what its inputs are computed from."""
    layers = tuple(dict.fromkeys(layer for s in read for layer in s.layers))
    name, kind = (ops.name(node), ops.of(node).kind) if node.op == "call_function" else ("", "")
    joins = kind == "concat" or (name in WHOLE and any(s.parts for s in read))
    parts = tuple(dict.fromkeys(p for s in read for p in s.parts or s.layers)) if joins else ()
    return Source(
        layers,
        min([bits, *(s.bits for s in read)]),
        any(s.chosen for s in read) or name in CHOICES,
        any(s.ordered for s in read) or name in ORDERS,
        parts if len(parts) > 1 else (),
    )


def _own_bits(sim: SimBase) -> dict[str, int]:
    """Node -> bits of its quantizer, where it has an active one."""
    found = {}
    for key, site in sim.plan.activations.items():
        quantizer = sim.activation(key)
        if quantizer.active:
            found |= {node.name: quantizer.grid.bits for node in site.nodes}
    return found
