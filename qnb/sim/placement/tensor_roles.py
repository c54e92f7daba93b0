"""Which values of a graph are activations, which are constants, and which only mask attention scores.

Three questions, each answered once per graph:

* *data*: does this float tensor depend on an activation (a float input or anything a weight produced)?
  Position tables and rotary angles do not: they are computed from constants and integers, exactly, and
  are quantized only where they meet data.
* *mask*: is it added to scores before a softmax, only to shut positions out? It is never quantized.
* *masked*: scores after the mask. Their range would be that of the mask (-inf), so they are quantized before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import fx

from qnb.graph import ops

_NOT_MASK = ("weighted", "norm")


@dataclass
class Zones:
    """Sets of nodes, see the module's docstring."""

    data: set[fx.Node] = field(default_factory=set)
    mask: set[fx.Node] = field(default_factory=set)
    masked: dict[fx.Node, fx.Node] = field(default_factory=dict)
    """masked scores -> the scores before the mask"""


def is_float(node: fx.Node) -> bool:
    """Whether the node's value is one floating-point tensor."""
    value = node.meta.get("val")
    return isinstance(value, torch.Tensor) and value.dtype.is_floating_point


def is_size(node: fx.Node) -> bool:
    """Whether the node only tells a size: it carries no values of its input."""
    return node.op == "call_function" and not isinstance(node.meta.get("val"), torch.Tensor | tuple | list)


def is_parameter(node: fx.Node) -> bool:
    return node.op == "get_attr" and isinstance(node.meta.get("tensor"), torch.nn.Parameter)


def constant_source(node: fx.Node) -> fx.Node | None:
    """The get_attr that a constant comes from, through ops that keep its last two axes."""
    while isinstance(node, fx.Node) and node.op == "call_function" and ops.name(node) in _KEEP_LAST_AXES:
        node = node.args[0]
    return node if isinstance(node, fx.Node) and node.op == "get_attr" else None


_KEEP_LAST_AXES = ("expand", "unsqueeze", "to", "_to_copy", "clone", "contiguous")


def weight_position(node: fx.Node) -> tuple[int, int, int] | None:
    """``(argument, output-feature axis, summed axis)`` of a weighted op's constant weight, or None.

    A matrix product has a weight only if one side is constant; on the left, its features are the rows.
    """
    op = ops.of(node)
    if op.kind != "weighted":
        return None
    if constant_source(node.args[op.weight]) is not None or not isinstance(node.args[op.weight], fx.Node):  # pyright: ignore[reportCallIssue]
        return op.weight, op.axis, op.block_axis
    if ops.name(node) in ("matmul", "mm", "bmm") and constant_source(node.args[0]) is not None:
        return 0, -2, -1
    return None


def operands(node: fx.Node) -> Iterator[fx.Node]:
    """The inputs of an op that carry activations: not its weight, bias, or running statistics."""
    op = ops.of(node)
    if op.kind == "norm":
        yield node.args[0]
        return
    position = weight_position(node)
    skip = {position[0], op.bias} if position else set()
    for index, arg in enumerate(node.args):
        if index not in skip:
            yield from _nodes(arg)
    for arg in node.kwargs.values():
        yield from _nodes(arg)


def _nodes(arg) -> Iterator[fx.Node]:
    if isinstance(arg, fx.Node):
        yield arg
    elif isinstance(arg, (list, tuple)):
        for item in arg:
            yield from _nodes(item)


def find(graph: fx.Graph) -> Zones:
    """Sort a captured graph's nodes into zones."""
    zones, learned = Zones(), set()
    for node in graph.nodes:
        if node.op == "placeholder" and is_float(node):
            zones.data.add(node)
        if is_parameter(node):
            learned.add(node)
        if node.op != "call_function":
            continue
        inputs, kind = list(operands(node)), ops.of(node).kind
        if kind != "create" and (ops.name(node) == "embedding" or any(n in zones.data for n in inputs)):
            if is_float(node) or isinstance(node.meta.get("val"), (tuple, list)):
                zones.data.add(node)
        weighted = kind in _NOT_MASK and (weight_position(node) or kind == "norm")
        if weighted or (ops.name(node) in ("matmul", "bmm") and node in zones.data):
            learned.add(node)
        elif not is_size(node) and any(n in learned for n in node.all_input_nodes):
            learned.add(node)
    for node in graph.nodes:
        if node.op == "call_function" and ops.name(node) == "softmax" and _over_last_axis(node):
            _find_mask(node.args[0], zones, learned)
    return zones


def _over_last_axis(softmax: fx.Node) -> bool:
    return softmax.args[1] in (-1, softmax.meta["val"].dim() - 1)


def _find_mask(node: fx.Node, zones: Zones, learned: set[fx.Node]) -> None:
    """Walk up from a softmax to the op that applies the mask, if there is one."""
    while node.op == "call_function" and ops.of(node).kind == "pass":
        node = node.args[0]
    if node.op != "call_function" or node in zones.masked:
        return
    op = ops.name(node)
    if op not in ("add", "where", "masked_fill"):
        return
    tensors = [n for n in node.all_input_nodes if is_float(n)]
    scores = [n for n in tensors if n in learned and n in zones.data]
    masks = [n for n in node.all_input_nodes if n not in learned]
    if len(scores) != 1 or (op == "add" and not masks):
        return
    zones.masked[node] = scores[0]
    _find_mask(scores[0], zones, learned)
    for mask in masks:
        _claim(mask, zones)


def _claim(node: fx.Node, zones: Zones) -> None:
    """Put a mask and what it alone is made of into the mask zone."""
    if all(user in zones.mask or user in zones.masked or is_size(user) for user in node.users):
        zones.mask.add(node)
        zones.data.discard(node)
        for source in node.all_input_nodes:
            _claim(source, zones)
