"""A simulation's graph as units, at whose outputs error is measured: the ops of a layer, with its quantizers.

Constants (weights, and what is computed from them alone) are no units: their error is added where it meets activations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx

from qnb.graph import ops
from qnb.graph.attributes import attribute
from qnb.graph.constants import constant_nodes
from qnb.measures.layers.lockstep import call

if TYPE_CHECKING:
    from qnb.sim.base import SimBase
    from qnb.sim.placement.plan import LayerGroup

INPUT = "input"
"""In the column ``op`` of an input."""


@dataclass(frozen=True)
class Unit:
    """Ops that are computed together, and the quantizers behind them.

    Args:
        members: nodes in order; the last one's value is the unit's output.
        sources: nodes with activations, outside of it, that it reads.
        row: of the table: (layer, op); None where it adds no error.
        whole: its output is the layer's own.
        masked: attention scores behind a mask.
        weights, biases: whether one of these is not as in FP32.
    """

    members: tuple[fx.Node, ...]
    sources: tuple[fx.Node, ...]
    row: tuple[str, str] | None
    whole: bool
    masked: bool
    weights: bool
    biases: bool

    @property
    def output(self) -> fx.Node:
        return self.members[-1]

    @property
    def changes(self) -> bool:
        """Whether it may give other values than FP32 for the same inputs."""
        quantized = any(n.op == "call_module" or "exact" in n.meta for n in self.members)
        return quantized or self.weights or self.biases


class Units:
    """Of one sim, in an order in which they can be computed; it must not change meanwhile (`SimBase.snapshot`)."""

    def __init__(self, sim: SimBase):
        self.sim = sim
        self.modules = dict(sim.graph_module.named_modules())
        nodes = [n for n in sim.graph_module.graph.nodes if n.op != "output"]
        self.constants = constant_nodes(nodes)
        with torch.no_grad():
            self._fp32, self._simulated = self._values(nodes)
        place = {node: i for i, node in enumerate(nodes)}
        units = [self._unit(*found) for found in _chains(sim, [n for n in nodes if n not in self.constants])]
        self.all = sorted(units, key=lambda unit: place[unit.output])

    def _values(self, nodes: list[fx.Node]) -> tuple[dict[fx.Node, Any], dict[fx.Node, Any]]:
        """Constants in FP32 and simulated: the same object where nothing is different."""
        fp32: dict[fx.Node, Any] = {}
        simulated: dict[fx.Node, Any] = {}
        for node in nodes:
            if node not in self.constants:
                continue
            if node.op == "get_attr":
                a, b = (attribute(m, node.target).detach() for m in (self.sim.reference, self.sim.graph_module))
            elif node.op == "call_module":
                source = node.args[0]
                a, b = fp32[source], self.modules[str(node.target)](simulated[source])
            else:
                a, b = call(node, fp32.__getitem__), call(node, simulated.__getitem__)
            fp32[node], simulated[node] = a, a if isinstance(a, Tensor) and torch.equal(a, b) else b
        return fp32, simulated

    def constant(self, node: fx.Node) -> Any:
        """Its FP32 value."""
        return self._fp32[node]

    def _unit(self, chain: list[fx.Node], group: LayerGroup | None, masked: bool) -> Unit:
        inside, sources, changed = set(chain), {}, {False: False, True: False}
        for node in chain:
            for source in node.all_input_nodes:
                if source in self.constants:
                    bias = self._is_bias(source, node)
                    changed[bias] |= self._fp32[source] is not self._simulated[source]
                elif source not in inside:
                    sources[source] = None
        row = None
        if group is not None:
            row = group.layer, group.op
        elif chain[0].op == "placeholder":
            row = (_name(chain[0]), INPUT) if len(chain) > 1 else None
        elif any(changed.values()) or any(n.op == "call_module" or "exact" in n.meta for n in chain):
            row = _name(chain[0]), ops.name(chain[0])
        whole = group is None or any(n.name == group.output for n in chain)
        return Unit(tuple(chain), tuple(sources), row, whole, masked and whole, changed[False], changed[True])

    @staticmethod
    def _is_bias(constant: fx.Node, user: fx.Node) -> bool:
        if constant.op == "call_module":
            return str(constant.target).startswith("bias_quantizers.")
        at = ops.of(user).bias if user.op == "call_function" else None
        return at is not None and len(user.args) > at and user.args[at] is constant

    def evaluate(
        self,
        unit: Unit,
        outside: Callable[[fx.Node], Any],
        weights: bool = False,
        biases: bool = False,
        real: bool = False,
    ) -> Any:
        """A unit's output.

        Args:
            outside: gives the values of ``unit.sources``, of an input its own.
            weights, biases: take the simulation's.
            real: as the simulation computes it: with its quantizers, and its integer or stepwise arithmetic.
        """
        made: dict[fx.Node, Any] = {}
        for node in unit.members:
            if node.op == "placeholder":
                made[node] = outside(node)
            elif node.op == "call_module":
                value = made[node.args[0]]
                made[node] = self.modules[str(node.target)](value) if real else value
            else:

                def read(source: fx.Node, node: fx.Node = node) -> Any:
                    if source in made:
                        return made[source]
                    if source not in self.constants:
                        return outside(source)
                    simulated = biases if self._is_bias(source, node) else weights
                    return (self._simulated if simulated else self._fp32)[source]

                made[node] = call(node, read, exact=real)
        return made[unit.output]


def _name(node: fx.Node) -> str:
    return node.meta.get("layer") or node.name


def _chains(sim: SimBase, nodes: list[fx.Node]) -> list[tuple[list[fx.Node], LayerGroup | None, bool]]:
    """Every node once: a layer's together, but where others read a value inside of it; each with its quantizers."""
    by_name = {n.name: n for n in nodes}
    group_of: dict[str, LayerGroup] = {}
    for group in sim.groups:  # a recurrent layer's op is in a group for each of its outputs; it is the first one's
        for name in group.nodes:
            group_of.setdefault(name, group)
    found = []
    for group in sim.groups:
        masked, chain = sim.plan.activations[group.key].masked, []
        names = [name for name in group.nodes if group_of[name] is group and name in by_name]
        for name in names:
            chain += _with_quantizers(by_name[name])
            if name == names[-1] or not all(user.name in names for user in chain[-1].users):
                found.append((chain, group, masked))
                chain = []
    apart = [n for n in nodes if n.name not in group_of and n.op != "call_module"]
    return found + [(_with_quantizers(n), None, False) for n in apart]


def _with_quantizers(node: fx.Node) -> list[fx.Node]:
    chain = [node]
    while behind := next((u for u in chain[-1].users if u.op == "call_module"), None):
        chain.append(behind)
    return chain
