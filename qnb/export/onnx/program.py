"""A QuantSim's graph as it is to be exported: every quantized tensor marked with its name, nothing in place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import fx

from qnb.export.onnx import dilated, lowering
from qnb.export.onnx.marker import mark
from qnb.export.onnx.recurrent import Layer, layer_of, recurrence
from qnb.export.onnx.tensors import FileTensor, Names
from qnb.graph import ops
from qnb.graph.attributes import attribute
from qnb.sim.placement.recurrent_sites import initial_states, is_zero
from qnb.sim.placement.superfluous import superfluous

if TYPE_CHECKING:
    from qnb.sim.quantizer import Quantizer
    from qnb.sim.quantsim import QuantSim


@dataclass
class Program:
    """What `program` returns.

    Args:
        module: takes the flat inputs, gives the flat outputs; marks (``qnb::tensor``) name its tensors.
        tensors: every marked tensor by name.
        inputs, outputs: names in order.
        layers: layer to the tensor that is its output.
        narrowed: tensors of 8 bits that an op of 16 bits gives: see `qnb.export.onnx.widths`.
        recurrent: layers that run step by step, by their key.
    """

    module: fx.GraphModule
    tensors: dict[str, FileTensor] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    layers: dict[str, str] = field(default_factory=dict)
    narrowed: set[str] = field(default_factory=set)
    recurrent: dict[str, Layer] = field(default_factory=dict)


def program(sim: QuantSim, quantized: bool = True) -> Program:
    """Rewrite a sim's graph for export.

    Args:
        sim: a calibrated QuantSim.
        quantized: activations that the output quantizer makes superfluous (a ReLU whose range starts at 0) are
            left out: an integer kernel has no use for them.
    """
    return _Writer(sim, quantized).write()


class _Writer:
    def __init__(self, sim: QuantSim, quantized: bool):
        self.sim, self.plan, self.graph = sim, sim.plan, fx.Graph()
        self.new: dict[fx.Node, fx.Node] = {}
        self.restore: dict[fx.Node, list[tuple]] = {}
        """values of another shape than the model's, and the ops that give it back once they are quantized"""
        self.names = Names()
        self.tensors: dict[str, FileTensor] = {}
        self.layers: dict[str, str] = {}
        self.recurrent: dict[str, Layer] = {}
        self.grouped = {name for g in sim.groups if len(g.nodes) < 3 for name in g.nodes}
        self.layer_of = {g.output: g.layer for g in sim.groups}
        self.dropped = superfluous(sim) if quantized else set()
        self.apart = self._kept_apart() if quantized else {}
        self.columns = dilated.column_weights(sim)
        self.reshaped: dict[str, torch.Tensor] = {}
        """weights of another shape than the model's, by the name they have in the graph"""

    def write(self) -> Program:
        graph_module = self.sim.graph_module
        returned = next(n for n in graph_module.graph.nodes if n.op == "output").args[0]
        inputs = [self.names(i.name) for i in self.sim.captured.inputs]
        outputs = [self.names(name) for name in self.sim.captured.returned.names()]
        self.output_name = dict(zip(reversed(returned), reversed(outputs), strict=True))  # the first of equal ones
        placeholders = (n for n in graph_module.graph.nodes if n.op == "placeholder")
        self.input_name = dict(zip(placeholders, inputs, strict=True))
        for node in graph_module.graph.nodes:
            if node.op == "placeholder":
                self.new[node] = self.graph.placeholder(node.name)
            elif node.op == "get_attr":
                self.new[node] = self.graph.get_attr(node.target)
            elif node.op == "call_module":
                self.new[node] = self._quantizer(node)
            elif node.op == "call_function":
                self.new[node] = self._call(node)
        self.graph.output(tuple(self._returned(n, name) for n, name in zip(returned, outputs, strict=True)))
        constants = {
            n.target: attribute(graph_module, n.target)
            for n in self.graph.nodes
            if n.op == "get_attr" and n.target not in self.reshaped
        } | self.reshaped
        return Program(
            fx.GraphModule(constants, self.graph), self.tensors, inputs, outputs, self.layers, recurrent=self.recurrent
        )

    def _returned(self, node: fx.Node, name: str) -> fx.Node:
        """An output; one that is an input, a constant or another output too becomes a tensor of its own."""
        value = self.new[node]
        if self.output_name.get(node) == name and node.op not in ("placeholder", "get_attr"):
            return value
        known = self.value_of(node)
        return self._mark(value, name) if known is None or known.is_floating_point() else value

    def _call(self, node: fx.Node) -> fx.Node:
        value = self.new.__getitem__
        if node in self.dropped or (node.args and node.args[0] in self.restore):
            self.restore |= {node: self.restore[node.args[0]]} if node.args[0] in self.restore else {}
        if node in self.dropped:
            return value(node.args[0])
        if node.name in self.plan.recurrent:
            return self._recurrent(node)
        rewrite = lowering.REWRITES.get(ops.name(node))
        result = rewrite(self, node) if rewrite is not None else None
        if result is None:
            target = node.meta.get("pure", node.target)
            result = self.graph.call_function(target, *fx.map_arg((node.args, node.kwargs), value))
        if node in self.apart:
            layer, key = self.apart[node]
            return self.activation(result, self.names(f"{layer}.before"), layer, key, follows=True)
        if node.name in self.plan.follows:
            key, factor = self.plan.follows[node.name]
            wanted = self.output_name.get(node) or self.names(node.meta["layer"])
            result = self.activation(result, wanted, node.meta["layer"], key, factor, follows=True)
        return result

    def _recurrent(self, node: fx.Node) -> fx.Node:
        """One op that stands for a layer until its steps are written (`qnb.export.onnx.recurrent`)."""
        site, states = self.plan.recurrent[node.name], initial_states(node)
        steps = int(self.value_of(node.args[0]).shape[1 if site.batch_first else 0])
        hidden, zero = int(node.meta["val"][0].shape[-1]) // site.directions, all(map(is_zero, states))
        self.recurrent[site.key] = layer = layer_of(self.sim, site, steps, hidden, zero, self.names)
        self.tensors |= layer.tensors
        rest = [self.new[n] for n in ([] if zero else states) + list(node.args[2])]
        return self.call(
            recurrence, self.new[node.args[0]], rest, site.key, hidden, site.layers, site.directions, site.batch_first
        )

    def _kept_apart(self) -> dict[fx.Node, tuple[str, str]]:
        """Ops -> (layer, quantizer key) before a ReLU or clip that their range makes no use of.

        HTP takes no such pair as one: its kernel clips at the range's ends. Quantizing before it too, on the same
        grid, changes no code: the grid's rounding and the clip may change places.
        """
        if self.sim.target.htp_arch is None:
            return {}
        nodes = {n.name: n for n in self.sim.graph_module.graph.nodes}
        return {
            nodes[g.nodes[0]]: (g.layer, g.key)
            for g in self.sim.groups
            if len(g.nodes) == 2
            and ops.clip_ends(nodes[g.nodes[1]])
            and nodes[g.nodes[1]] not in self.dropped
            and self.sim.activation(g.key).active
        }

    def _quantizer(self, node: fx.Node) -> fx.Node:
        source, (kind, key) = node.args[0], node.target.split(".", 1)
        value, sim = self.new[source], self.sim
        if kind == "recurrent":
            return value
        if kind == "weight_quantizers":
            site, tensor = self.plan.weights[key], sim.weight_tensor(key)
            if key in self.columns:
                tensor = self.reshaped[f"{key}_column"] = tensor.detach().unsqueeze(-1)
                value = self.graph.get_attr(f"{key}_column")
            return self.constant(value, site.tensor, "weight", site.layer, sim.weight(key), tensor)
        if kind == "bias_quantizers":
            site = self.plan.biases[key]
            return self.constant(value, site.tensor, "bias", site.layer, sim.bias(key), sim.bias_tensor(key))
        site = self.plan.activations[key]
        if source.op == "get_attr":
            tensor = attribute(sim.graph_module, source.target)
            return self.constant(value, str(source.target), "weight", site.layer, sim.activation(key), tensor)
        if source.op == "placeholder":
            return self.activation(value, self.input_name[source], site.layer, key, kind="input")
        layer = self.layer_of.get(source.name, source.meta["layer"])  # pyright: ignore[reportCallIssue]
        wanted = self.output_name.get(node) or self.names(layer)
        for step in self.restore.get(source, ()):  # pyright: ignore[reportCallIssue]
            value = self.activation(value, self.names(f"{wanted}.rows"), layer, key, follows=True)
            value = self.call(step[0], value, *step[1:])
        self.layers[layer] = wanted
        return self.activation(value, wanted, layer, key)

    def activation(
        self,
        value: fx.Node,
        name: str,
        layer: str,
        key: str,
        factor: float = 1.0,
        *,
        kind: str = "activation",
        follows: bool = False,
    ) -> fx.Node:
        """Mark a value that has the encoding of the quantizer ``key``, times ``factor``."""
        self.tensors[name] = FileTensor(name, kind, layer, self.sim.activation(key), factor, follows=follows)
        return self._mark(value, name)

    def constant(
        self, value, wanted: str, kind: str, layer: str, quantizer: Quantizer, tensor: torch.Tensor
    ) -> fx.Node:
        name = self.names(wanted)
        self.tensors[name] = FileTensor(name, kind, layer, quantizer, constant=tensor.detach())
        return self._mark(value, name)

    def _mark(self, value: fx.Node, name: str) -> fx.Node:
        return self.graph.call_function(mark, (value, name))

    def encoding(self, node: fx.Node) -> tuple[str, float] | None:
        """(quantizer key, factor) of a value of the sim's graph."""
        return self.plan.encoding(node.meta["quantizes"].name if node.op == "call_module" else node.name)

    def call(self, target, *args) -> fx.Node:
        return self.graph.call_function(target, args)

    def follow(self, value: fx.Node, wanted: str, source: fx.Node) -> fx.Node:
        """Mark a value that has the encoding of another, a node of the sim's graph."""
        key, factor = self.encoding(source)
        return self.activation(value, self.names(wanted), source.meta.get("layer", wanted), key, factor, follows=True)

    @staticmethod
    def value_of(node: fx.Node):
        """The example value (a meta tensor) behind a node of the sim's graph."""
        node = node.meta["quantizes"] if node.op == "call_module" else node
        return node.meta.get("val")
