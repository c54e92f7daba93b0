"""Walk FP32 and simulation through the graph once, layer by layer, over all batches.

A method that changes one layer after the other needs each layer's inputs as the layers before it, already changed,
give them. The frontier keeps, for every batch, the values that nodes further on still read and nothing else, so that
a whole walk costs one forward pass of each model, however many layers stop it on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from qnb.graph.attributes import attribute
from qnb.graph.constants import constant_nodes
from qnb.measures.layers.lockstep import call
from qnb.methods.layerwise.spill import Shelf

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim


class Frontier:
    """Stands before a node; `advance` moves it on.

    Args:
        sim: a calibrated QuantSim; its weights and encodings may change ahead of the frontier, not behind it.
        batches: as the model takes them.
        reference: also carry FP32 values, for `Segment.target`.
        memory_bytes: of kept values; what is beyond lies in memory-mapped files.
        tick: called before each batch of work; raise `Cancelled` in it to stop.
        operation: for errors.
    """

    def __init__(
        self,
        sim: QuantSim,
        batches: Iterable,
        *,
        reference: bool = True,
        memory_bytes: int = 2**30,
        tick: Callable[[], None] | None = None,
        operation: str = "methods",
    ):
        self.sim, self.tick = sim, tick or (lambda: None)
        self.nodes = [n for n in sim.graph_module.graph.nodes if n.op != "output"]
        self.place = {node.name: i for i, node in enumerate(self.nodes)}
        self.constant = constant_nodes(self.nodes)
        self.last_use = self._last_uses()
        self.shelf = Shelf(memory_bytes)
        self.at = 0
        self.simulated: list[dict[fx.Node, Any]] = []
        self.reference: list[dict[fx.Node, Any]] | None = [] if reference else None
        placeholders = [n for n in self.nodes if n.op == "placeholder"]
        for batch in batches:
            values = dict(zip(placeholders, sim.flatten(batch, operation), strict=True))
            self.simulated.append(values)
            if self.reference is not None:
                self.reference.append(dict(values))

    def advance(self, node: str) -> None:
        """Compute everything before this node, and forget what nothing from it on reads."""
        stop = self.place[node]
        if stop < self.at:
            raise ValueError(f"the frontier is past {node!r}")
        ahead = self.nodes[self.at : stop]
        if not ahead:
            return
        with torch.no_grad():
            for values, is_reference in self._walks():
                self.tick()
                constants: dict[fx.Node, Any] = {}
                for n in ahead:
                    if n.op != "placeholder" and n not in self.constant:
                        read = partial(self.value, values=values, constants=constants, is_reference=is_reference)
                        values[n] = self.shelf.keep(self.call(n, read, is_reference))
                    for done in self.last_use.get(n, ()):
                        self.shelf.release(values.pop(done, None))
        self.at = stop

    def _walks(self):
        for values in self.simulated:
            yield values, False
        for values in self.reference or ():
            yield values, True

    def segment(self, output: str) -> Segment:
        """From the frontier to this node (a `LayerGroup.output`): what it reads, and how to run it."""
        return Segment(self, self.nodes[self.place[output]])

    def value(
        self,
        node: fx.Node,
        values: Mapping[fx.Node, Any],
        constants: dict,
        is_reference: bool,
        replaced: Mapping[str, torch.Tensor] | None = None,
    ) -> Any:
        """A node's value: kept, or of a constant, computed once per ``constants``."""
        if node in values:
            return values[node]
        if node not in constants:
            if node.op == "call_module" and replaced and node.target in replaced:
                constants[node] = replaced[node.target]
            else:
                read = partial(
                    self.value, values=values, constants=constants, is_reference=is_reference, replaced=replaced
                )
                constants[node] = self.call(node, read, is_reference)
        return constants[node]

    def call(self, node: fx.Node, read: Callable[[fx.Node], Any], is_reference: bool) -> Any:
        """One node; never in place, as others may hold its inputs."""
        if node.op == "get_attr":
            return attribute(self.sim.reference if is_reference else self.sim.graph_module, node.target)
        if node.op == "call_module":
            source = read(node.args[0])
            return source if is_reference else self.sim.graph_module.get_submodule(node.target)(source)
        return call(node, read, exact=not is_reference and node.name in self.sim.plan.recurrent)

    def _last_uses(self) -> dict[fx.Node, list[fx.Node]]:
        """Node -> values that nobody reads after it."""
        seen: set[fx.Node] = set()
        result: dict[fx.Node, list[fx.Node]] = {}
        for node in reversed(self.nodes):
            for source in (*node.all_input_nodes, node):
                if source not in seen and source not in self.constant:
                    seen.add(source)
                    result.setdefault(node, []).append(source)
        return result


class Segment:
    """The ops between the frontier and one output, as a function of what the frontier keeps.

    ``inputs`` are the nodes it reads, ``count`` the number of batches.
    """

    def __init__(self, frontier: Frontier, output: fx.Node):
        self.frontier, self.output = frontier, output
        self.nodes: list[fx.Node] = []
        self.inputs: list[fx.Node] = []
        self._collect(output, set())
        self.nodes.sort(key=lambda n: frontier.place[n.name])
        self.count = len(frontier.simulated)

    def _collect(self, node: fx.Node, seen: set[fx.Node]) -> None:
        stack = [node]
        while stack:
            node = stack.pop()
            if node in seen or node in self.frontier.constant:
                continue
            seen.add(node)
            if self.frontier.place[node.name] < self.frontier.at or node.op == "placeholder":
                self.inputs.append(node)
                continue
            self.nodes.append(node)
            stack.extend(node.all_input_nodes)

    def values(self, batch: int, reference: bool = False) -> dict[fx.Node, Any]:
        """What it reads in one batch."""
        kept = (self.frontier.reference if reference else self.frontier.simulated)[batch]
        return {node: kept[node] for node in self.inputs}

    def run(
        self,
        values: Mapping[fx.Node, Any],
        replaced: Mapping[str, torch.Tensor] | None = None,
        reference: bool = False,
        watch: Callable[[fx.Node, Any], None] | None = None,
    ) -> Any:
        """The output (before its own quantizer) of these inputs; with gradients where they are enabled.

        Args:
            values: by node, as `values` gives them, or parts of them along the batch.
            replaced: values in place of quantized constants, by the quantizer's path:
                ``{"weight_quantizers.<key>": w}``.
            reference: FP32 in place of the simulation.
            watch: shown each node's value on the way.
        """
        values, constants = dict(values), {}
        for node in self.nodes:
            read = partial(
                self.frontier.value, values=values, constants=constants, is_reference=reference, replaced=replaced
            )
            values[node] = self.frontier.call(node, read, reference)
            if watch is not None:
                watch(node, values[node])
        return values[self.output]

    def target(self, batch: int) -> torch.Tensor:
        """The FP32 output of FP32 inputs, of one batch."""
        with torch.no_grad():
            return self.run(self.values(batch, reference=True), reference=True)
