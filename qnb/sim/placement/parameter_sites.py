"""Weight and bias quantizers of a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import fx

from qnb.graph import ops
from qnb.sim.placement import supergroups, tensor_roles
from qnb.sim.placement.encoding_source import Sources
from qnb.sim.placement.plan import BiasSite, Plan, WeightSite
from qnb.sim.placement.recurrent_sites import recurrent_biases, runs_in_steps
from qnb.targets import Target

if TYPE_CHECKING:
    from os import PathLike


def add_parameter_sites(
    plan: Plan, graph: fx.Graph, chains: dict[fx.Node, list[fx.Node]], sources: Sources, target: Target
) -> None:
    """Fill ``plan.weights`` and ``plan.biases``."""
    layers: dict[str, str] = {}
    for group in plan.groups:  # an LSTM with several outputs is in several groups; its weights go to the first
        for name in group.nodes:
            layers.setdefault(name, group.layer)
    for node in graph.nodes:
        if node.op != "call_function" or node.name not in layers:
            continue
        for site in _weights(node, layers[node.name], target):
            plan.weights[site.key] = site
        if target.simulate_bias:
            _bias(plan, node, layers[node.name], sources)
        if target.simulate_bias and node.name in plan.recurrent:
            found = recurrent_biases(plan, node, lambda read: (sources.key(read), sources.factor(read)))
            plan.biases |= {site.key: site for site in found}
    for chain in chains.values():
        found = supergroups.norm_weight(chain) if len(chain) > 3 else None
        if found:
            node, position = found
            site = _site(node, node.args[position], (position,), layers[node.name], None, None, target.norm_weights)
            plan.weights[site.key] = site


def _weights(node: fx.Node, layer: str, target: Target) -> list[WeightSite]:
    op, name = ops.of(node), ops.name(node)
    if op.kind == "norm":
        arg = node.args[op.weight] if len(node.args) > op.weight else None  # pyright: ignore[reportCallIssue]
        return [] if arg is None else [_site(node, arg, (op.weight,), layer, None, None, target.norm_weights)]
    position = tensor_roles.weight_position(node)
    if position is None:
        return []
    index, axis, block_axis = position
    weight = node.args[index]
    if isinstance(weight, (list, tuple)):  # recurrent: weights and biases of every layer and direction
        axes = (0, 1) if runs_in_steps(node, target) else (None, None)
        return [
            _site(node, item, (index, i), layer, *axes, "weights")
            for i, item in enumerate(weight)
            if item.meta["val"].dim() == 2
        ]
    if (
        op.family == "transposed convolution"
        and target.grouped_conv_transpose_granularity == "tensor"
        and ops.groups(node) > 1
    ):
        axis = block_axis = None
    grid = target.embedding_weights if name == "embedding" else "weights"
    return [_site(node, weight, (index,), layer, axis, block_axis, grid)]


def _site(node, weight: fx.Node, path: str | PathLike, layer: str, axis, block_axis, grid: str) -> WeightSite:
    source = tensor_roles.constant_source(weight) or weight
    rank = source.meta["val"].dim()
    if rank < 2:
        axis = block_axis = None
    resolve = lambda a: None if a is None else a % rank  # noqa: E731
    key = f"{node.name}_arg{'_'.join(map(str, path))}"
    return WeightSite(key, str(source.target), layer, source, node, path, resolve(axis), resolve(block_axis), grid)


def _bias(plan: Plan, node: fx.Node, layer: str, sources: Sources) -> None:
    """An int32 bias where the op has a constant bias, a weight quantizer and a quantized input."""
    op = ops.of(node)
    if op.kind != "weighted" or op.bias is None or len(node.args) <= op.bias:
        return
    bias = node.args[op.bias]
    data = next(iter(tensor_roles.operands(node)), None)
    weight_key = f"{node.name}_arg{op.weight}"
    if not isinstance(bias, fx.Node) or bias.op != "get_attr" or weight_key not in plan.weights:
        return
    input_key = sources.key(data) if data is not None else None
    if input_key is None:
        return
    key = f"{node.name}_arg{op.bias}"
    factor = sources.factor(data)
    plan.biases[key] = BiasSite(key, str(bias.target), layer, bias, node, (op.bias,), input_key, factor, weight_key)
