"""Run one graph node by node, to look at values inside it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor, fx

from qnb.graph.attributes import attribute
from qnb.measures.layers.lockstep import call, last_uses

See = Callable[[fx.Node, Any, dict[fx.Node, Any]], None]


class Interpreter:
    """Computes what a graph computes, and shows the values of some of its nodes; each is freed after its last use.

    Args:
        module: the graph of a simulation, integer-exact or not, or its FP32 reference.
        wanted: nodes whose values are shown. The graph behind the last of them is not run.
    """

    def __init__(self, module: fx.GraphModule, wanted: Collection[fx.Node]):
        self.modules = dict(module.named_modules())
        self.wanted = set(wanted)
        nodes = [n for n in module.graph.nodes if n.op != "output"]
        last = max((i for i, n in enumerate(nodes) if n in self.wanted), default=-1)
        self.nodes = nodes[: last + 1]
        self.last_use = last_uses(module.graph)
        self.tensors = {n: attribute(module, n.target) for n in self.nodes if n.op == "get_attr"}

    def run(self, inputs: list[Tensor], see: See) -> None:
        """One batch of flat inputs; ``see(node, value, values)``, with what the node reads still in ``values``."""
        values: dict[fx.Node, Any] = {}
        supply = iter(inputs)
        with torch.no_grad():
            for node in self.nodes:
                if node.op == "placeholder":
                    values[node] = next(supply)
                elif node.op == "get_attr":
                    values[node] = self.tensors[node]
                elif node.op == "call_module":
                    values[node] = self.modules[node.target](*(values[n] for n in node.all_input_nodes), *node.args[1:])
                else:
                    values[node] = call(node, values.__getitem__, exact=True)
                if node in self.wanted:
                    see(node, values[node], values)
                for done in self.last_use.get(node, ()):
                    values.pop(done, None)
