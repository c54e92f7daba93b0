"""Run the FP32 reference and the simulation side by side, node by node.

At every layer both values exist, are handed to a visitor, and are freed once nothing reads them any more: memory
does not depend on how many layers or batches there are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from qnb.graph.attributes import attribute
from qnb.sim.placement.plan import LayerGroup
from qnb.sim.quantizer import Quantizer
from qnb.sim.recurrent_steps import Steps

if TYPE_CHECKING:
    from qnb.sim.base import SimBase


@dataclass(frozen=True)
class LayerValues:
    """One layer's values in one batch, all of one shape.

    Args:
        group: the layer.
        reference: FP32 output.
        simulated: output with the error accumulated up to here.
        unclipped: the simulated value before its output quantizer.
        own: output of the layer fed with FP32 inputs, None if not asked for.
        quantizer: the output quantizer.
        masked: these are attention scores after a mask; masked positions do not count.
    """

    group: LayerGroup
    reference: torch.Tensor
    simulated: torch.Tensor
    unclipped: torch.Tensor
    own: torch.Tensor | None
    quantizer: Quantizer
    masked: bool = False


Visitor = Callable[[LayerValues], None]


class Lockstep:
    """Prepares a sim's graph once, then runs any number of batches through it.

    Args:
        sim: a calibrated QuantSim.
        own: also compute every layer's own error.
    """

    def __init__(self, sim: SimBase, own: bool = True):
        self.sim, self.own = sim, own
        self.graph = sim.graph_module.graph
        self.modules = dict(sim.graph_module.named_modules())
        self.by_output = {g.output: g for g in sim.groups}
        self.group_of = {name: g for g in sim.groups for name in g.nodes}
        self.last_use = last_uses(self.graph)
        self.tensors = {
            n: (attribute(sim.reference, n.target), attribute(sim.graph_module, n.target))
            for n in self.graph.nodes
            if n.op == "get_attr"
        }

    def run(self, inputs: list[torch.Tensor], visit: Visitor) -> tuple[tuple, tuple]:
        """One batch of flat inputs; ``visit`` is called for every layer in graph order.

        Returns:
            The model's flat outputs, of FP32 and of the simulation.
        """
        outputs: tuple[tuple, tuple] = ((), ())
        reference: dict[fx.Node, Any] = {}
        simulated: dict[fx.Node, Any] = {}
        own: dict[fx.Node, Any] = {}
        supply = iter(inputs)
        with torch.no_grad():
            for node in self.graph.nodes:
                if node.op == "placeholder":
                    reference[node] = simulated[node] = next(supply)
                elif node.op == "get_attr":
                    reference[node], simulated[node] = self.tensors[node]
                elif node.op == "call_function":
                    self._op(node, reference, simulated, own)
                elif node.op == "call_module":
                    self._quantizer(node, reference, simulated, own, visit)
                elif node.op == "output":
                    sides = (reference.__getitem__, simulated.__getitem__)
                    outputs = tuple(fx.map_arg(node.args[0], side) for side in sides)
                for done in self.last_use.get(node, ()):
                    for values in (reference, simulated, own):
                        values.pop(done, None)
        return outputs

    def _op(self, node: fx.Node, reference, simulated, own) -> None:
        reference[node] = call(node, reference.__getitem__)
        same = "exact" not in node.meta and all(simulated[n] is reference[n] for n in node.all_input_nodes)
        simulated[node] = reference[node] if same else call(node, simulated.__getitem__, exact=True)
        if self.own and node.name in self.group_of:
            own[node] = self._own(node, reference, simulated, own)

    def _own(self, node: fx.Node, reference, simulated, own):
        """The op on FP32 inputs with quantized weights; where no weight is quantized, the FP32 value itself."""
        group = self.group_of[node.name]
        changed = False

        def value(source: fx.Node):
            nonlocal changed
            inner = source.args[0] if isinstance(self.modules.get(str(source.target)), Steps) else source
            if inner.name in group.nodes and source in own:
                changed |= own[source] is not reference[source]
                return own[source]
            if self._is_parameter(source):
                changed |= simulated[source] is not reference[source]
                return simulated[source]
            return reference[source]

        fx.map_arg((node.args, node.kwargs), value)
        if node.name in self.sim.plan.recurrent:
            return call(node, value, exact=True)
        return call(node, value) if changed else reference[node]

    def _is_parameter(self, node: fx.Node) -> bool:
        """A (quantized) weight or bias, directly or expanded."""
        while node.op == "call_function" and len(node.all_input_nodes) == 1 and node.name not in self.group_of:
            node = node.all_input_nodes[0]
        return node.op == "get_attr" or (
            node.op == "call_module" and node.target.startswith(("weight_quantizers.", "bias_quantizers."))
        )

    def _quantizer(self, node: fx.Node, reference, simulated, own, visit: Visitor) -> None:
        source, module = node.args[0], self.modules[node.target]
        reference[node] = reference[source]
        before = simulated[source]
        simulated[node] = after = module(before)
        if isinstance(module, Steps) and source in own:
            own[node] = module(own[source])
        group = self.by_output.get(source.name)
        if group is None or not isinstance(module, Quantizer):
            return
        alone = None
        if self.own:
            mine = own.get(source, reference[source])
            alone = after if mine is before else module(mine)
        masked = self.sim.plan.activations[group.key].masked
        visit(LayerValues(group, reference[source], after, before, alone, module, masked))


def call(node: fx.Node, value: Callable[[fx.Node], Any], exact: bool = False) -> Any:
    """The op itself; ``exact``: in the place of it the runtime's integer rule, where the sim has one."""
    args, kwargs = fx.map_arg((node.args, node.kwargs), value)
    target = node.target if exact and "exact" in node.meta else node.meta.get("pure", node.target)
    return target(*args, **kwargs)  # pyright: ignore[reportCallIssue]


def last_uses(graph: fx.Graph) -> dict[fx.Node, list[fx.Node]]:
    """For every node, the values that nobody reads after it."""
    seen: set[fx.Node] = set()
    result: dict[fx.Node, list[fx.Node]] = {}
    for node in reversed(graph.nodes):
        for source in (*node.all_input_nodes, node):
            if source not in seen:
                seen.add(source)
                result.setdefault(node, []).append(source)
    return result
