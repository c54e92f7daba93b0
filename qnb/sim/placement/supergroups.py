"""Chains of ops that a target runs as one: a single output quantizer for all of them."""

from __future__ import annotations

from torch import fx

from qnb.graph import ops
from qnb.sim.placement.tensor_roles import constant_source, is_float
from qnb.targets import Target


def find(graph: fx.Graph, target: Target) -> dict[fx.Node, list[fx.Node]]:
    """Every supergroup's nodes in order, by its last node. Single ops are not listed."""
    groups: dict[fx.Node, list[fx.Node]] = {}
    for node in graph.nodes:
        if node.op != "call_function":
            continue
        if ops.name(node) == "rsqrt":
            chain = _rms_norm(node)
        else:
            chain = _fused(node, target)
        if chain:
            groups[chain[-1]] = chain
    return groups


def _fused(node: fx.Node, target: Target) -> list[fx.Node] | None:
    """``[node, activation]`` where the target fuses them and nothing else reads the inner tensor."""
    if len(node.users) != 1 or not is_float(node) or (is_depthwise(node) and not target.fuse_depthwise):
        return None
    follower = next(iter(node.users))
    if follower.op != "call_function" or follower.args[0] is not node:
        return None
    first, then = ops.name(node), ops.name(follower)
    if any(first in group.first and then in group.then for group in target.supergroups):
        return [node, follower]
    return None


def is_depthwise(node: fx.Node) -> bool:
    """A convolution with as many groups as input channels (more than one)."""
    return ops.of(node).family == "convolution" and 1 < ops.groups(node) == node.args[0].meta["val"].shape[1]


def _rms_norm(rsqrt: fx.Node) -> list[fx.Node] | None:
    """``x * rsqrt(mean(x^2) + eps) [* weight]`` written out, as in Llama (arXiv 1910.07467).

    Its square at 8 bits would be ruinous, so nothing inside is quantized.
    """
    add = _made_by(rsqrt.args[0], "add")
    mean = add and _made_by(add.args[0], "mean")
    square = mean and next((n for op in ("pow", "mul", "square") if (n := _made_by(mean.args[0], op))), None)
    if not square or any(len(n.users) != 1 for n in (add, mean, square, rsqrt)):
        return None
    scaled = next(iter(rsqrt.users))
    if ops.name(scaled) != "mul" or square.args[0] not in scaled.args:
        return None
    chain = [square, mean, add, rsqrt, scaled]
    if len(scaled.users) == 1:
        weighted = next(iter(scaled.users))
        if weighted.op == "call_function" and ops.name(weighted) == "mul":
            other = [a for a in weighted.args if a is not scaled]
            if len(other) == 1 and isinstance(other[0], fx.Node) and constant_source(other[0]) is not None:
                chain.append(weighted)
    return chain


def _made_by(node, op: str) -> fx.Node | None:
    return node if isinstance(node, fx.Node) and node.op == "call_function" and ops.name(node) == op else None


def norm_weight(chain: list[fx.Node]) -> tuple[fx.Node, int] | None:
    """The op that multiplies by an RMSNorm's weight, and the weight's argument position."""
    last = chain[-1]
    if ops.name(last) != "mul":
        return None
    for index, arg in enumerate(last.args):
        if isinstance(arg, fx.Node) and arg is not chain[-2] and constant_source(arg) is not None:
            return last, index
    return None
