"""Captured graph + plan -> GraphModule with quantizers, its tensors shared with the reference."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn

from qnb.errors import InputError
from qnb.graph import Captured, capture, ops
from qnb.graph.attributes import attribute
from qnb.numerics import FloatGrid, Grid, Precision
from qnb.sim.placement.plan import ActivationSite, Plan, WeightSite
from qnb.sim.quantizer import BiasQuantizer, Quantizer, WeightQuantizer
from qnb.sim.recurrent_steps import STAND_INS, Steps


def activation_grid(site: ActivationSite, precision: Precision) -> Grid | FloatGrid | None:
    """The grid of an activation at a precision; the target may ask for symmetric at 16 bits, a sum over many steps for
    more bits."""
    grid = precision.activations
    if isinstance(grid, Grid) and grid.bits < site.least_bits:
        return Grid(site.least_bits)
    if isinstance(grid, Grid) and site.symmetric_at_16 and grid.bits == 16:
        return Grid(16, symmetric=True)
    return grid


def weight_grid(site: WeightSite, shape: torch.Size, precision: Precision) -> tuple[Any, int | None]:
    """``(grid, axis)`` of a weight. Without an output-feature axis one scale serves the tensor; an axis that
    the block size does not divide falls back to per-channel."""
    if site.grid == "activations":
        grid = precision.activations
        return (Grid(grid.bits) if isinstance(grid, Grid) else grid), None
    grid = precision.weights
    if not isinstance(grid, Grid) or grid.granularity == "tensor":
        return grid, None
    if site.axis is None:
        return Grid(grid.bits, grid.symmetric), None
    if grid.granularity == "block" and shape[site.block_axis] % grid.block_size == 0:  # pyright: ignore[reportCallIssue]
        return grid, site.block_axis
    return Grid(grid.bits, grid.symmetric, "channel"), site.axis


def build(reference: fx.GraphModule, plan: Plan, precision: Precision) -> fx.GraphModule:
    """A GraphModule with the reference's node names and tensors, and a quantizer per site of the plan.

    Quantizers live under ``activation_quantizers``, ``weight_quantizers`` and ``bias_quantizers``.
    """
    graph = fx.Graph()
    mapping: dict[fx.Node, fx.Node] = {}
    output = graph.graph_copy(reference.graph, mapping)
    graph.output(output)
    root = _tensors(reference, graph)
    activations = {
        k: Quantizer(s.tensor, activation_grid(s, precision), fixed=s.fixed) for k, s in plan.activations.items()
    }
    weights = {}
    for key, site in plan.weights.items():
        grid, axis = weight_grid(site, site.source.meta["val"].shape, precision)
        weights[key] = WeightQuantizer(site.tensor, grid, axis)
    biases = {
        k: BiasQuantizer(s.tensor, activations[s.input_key], weights[s.weight_key], s.input_factor)
        for k, s in plan.biases.items()
    }
    for kind, modules in (("activation", activations), ("weight", weights), ("bias", biases)):
        for key, module in modules.items():
            root[f"{kind}_quantizers.{key}"] = module
    for site in (*plan.weights.values(), *plan.biases.values()):
        kind = "weight" if isinstance(site, WeightSite) else "bias"
        _insert_parameter(graph, mapping[site.user], site.path, f"{kind}_quantizers.{site.key}")
    for key, site in plan.activations.items():
        for node in site.nodes:
            _insert_activation(graph, mapping[node], f"activation_quantizers.{key}")
    _activate_in_place(graph, plan)
    _run_in_steps(graph, plan, root, activations)
    graph.lint()
    made = fx.GraphModule(root, graph)
    for key, site in plan.activations.items():
        if site.inside is not None:  # no node calls it
            made.add_submodule(f"activation_quantizers.{key}", activations[key])
    return made


def _tensors(reference: fx.GraphModule, graph: fx.Graph) -> dict[str, Any]:
    """The reference's own tensors by name, not copies."""
    names = {n.target for n in graph.nodes if n.op == "get_attr"}
    return {name: attribute(reference, name) for name in names}


def _insert_activation(graph: fx.Graph, node: fx.Node, target: str) -> None:
    """Quantize a node's output; in place where the op made a new tensor that nothing else reads."""
    fresh = node.op == "call_function" and ops.of(node).fresh
    users = list(node.users)
    last = node
    while last.next.op in ("placeholder",):  # inputs stay together at the top
        last = last.next
    with graph.inserting_after(last):
        quantized = graph.call_module(target, (node, fresh) if fresh else (node,))
    quantized.meta = {"quantizes": node}
    for user in users:
        user.replace_input_with(node, quantized)


IN_PLACE = {
    torch.ops.aten.relu.default: torch.ops.aten.relu_.default,
    torch.ops.aten.hardtanh.default: torch.ops.aten.hardtanh_.default,
    torch.ops.aten.clamp.default: torch.ops.aten.clamp_.default,
    torch.ops.aten.hardswish.default: torch.ops.aten.hardswish_.default,
    torch.ops.aten.leaky_relu.default: torch.ops.aten.leaky_relu_.default,
}


def _activate_in_place(graph: fx.Graph, plan: Plan) -> None:
    """Inside a supergroup the activation overwrites the tensor that the first op just made: nobody else reads it.

    ``meta["pure"]`` keeps the functional op, for whoever runs the node on tensors it does not own.
    """
    by_name = {node.name: node for node in graph.nodes}
    for group in plan.groups:
        if len(group.nodes) != 2:
            continue
        first, follower = (by_name[name] for name in group.nodes)
        if ops.of(first).fresh and len(first.users) == 1 and follower.target in IN_PLACE:
            follower.meta = follower.meta | {"pure": follower.target}
            follower.target = IN_PLACE[follower.target]


def _run_in_steps(graph: fx.Graph, plan: Plan, root: dict[str, Any], activations: dict[str, Quantizer]) -> None:
    """Recurrent layers of the plan become a stand-in that hands its arguments to a `Steps` module.

    ``meta["pure"]`` keeps the op for whoever computes FP32 values; ``meta["exact"]`` says that the simulation does not.
    """
    by_name = {node.name: node for node in graph.nodes}
    for key, site in plan.recurrent.items():
        node, users = by_name[key], list(by_name[key].users)
        node.meta = node.meta | {"pure": node.target, "exact": "steps"}
        node.target, root[f"recurrent.{key}"] = STAND_INS[site.op], Steps(site, activations)
        with graph.inserting_after(node):
            steps = graph.call_module(f"recurrent.{key}", (node,))
        steps.meta = {"quantizes": node}
        for user in users:
            user.replace_input_with(node, steps)


def _insert_parameter(graph: fx.Graph, user: fx.Node, path: tuple[int, ...], target: str) -> None:
    """Quantize one argument of one op (the same tensor elsewhere keeps its own quantizer)."""
    source = user.args[path[0]] if len(path) == 1 else user.args[path[0]][path[1]]
    while source.op == "call_function":  # an expanded constant: quantize before it is expanded
        user, path, source = source, (0,), source.args[0]
    with graph.inserting_before(user):
        quantized = graph.call_module(target, (source,))
    quantized.meta = {"quantizes": source}
    args = list(user.args)
    if len(path) == 1:
        args[path[0]] = quantized
    else:
        args[path[0]] = [quantized if i == path[1] else a for i, a in enumerate(args[path[0]])]
    user.args = tuple(args)


def captured_of(model: nn.Module | Captured, example_inputs: Any, dynamic_shapes: Any) -> Captured:
    """A model that is captured already, or is captured with its example."""
    if isinstance(model, Captured):
        return model
    if not isinstance(model, nn.Module):
        raise InputError("QuantSim", f"a {type(model).__name__} as model", "pass a torch.nn.Module")
    if example_inputs is None:
        raise InputError("QuantSim", "no example_inputs", "pass one batch: a tensor, a tuple, or a dict of keywords")
    return capture(model, example_inputs, dynamic_shapes)
