"""Compute once what depends on constants alone: transposed weights, weight norm, tables of positions."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import fx, nn

from qnb.graph.attributes import attribute, drop_tensor, has_attribute, set_tensor

LARGEST = 1 << 24
"""Elements; a constant that would grow beyond this stays an op."""

_RANDOM = ("rand", "randn", "randint", "bernoulli", "dropout", "multinomial", "normal")


def fold_constants(module: fx.GraphModule) -> int:
    """Replace ops whose inputs are all get_attr (or nothing) by get_attr, in place; returns how many.

    A value made of parameters becomes a parameter, so that it can still be trained. Names: the first
    parameter's, plus the op (``fc.weight`` transposed is ``fc.weight_t``).
    """
    values: dict[fx.Node, torch.Tensor] = {}
    folded = 0
    for node in list(module.graph.nodes):
        if node.op == "get_attr":
            values[node] = attribute(module, node.target)
        elif node.op == "call_function" and _foldable(node, values):
            result = _evaluate(node, values)
            if not isinstance(result, torch.Tensor) or result.numel() > LARGEST:
                continue
            constant = _replace(module, node, result, values)
            values[constant] = attribute(module, constant.target)
            folded += 1
    if folded:
        module.graph.eliminate_dead_code()
        module.recompile()
        drop_unused(module)
    return folded


def _foldable(node: fx.Node, values) -> bool:
    if not isinstance(node.meta.get("val"), torch.Tensor) or not node.all_input_nodes:
        return False
    return _deterministic(node) and all(source in values for source in node.all_input_nodes)


def _deterministic(node: fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and not any(schema.name.endswith(f"::{r}") for r in _RANDOM)


def _evaluate(node: fx.Node, values):
    with torch.no_grad():
        args, kwargs = fx.map_arg((node.args, node.kwargs), values.__getitem__)
        return node.target(*args, **kwargs)  # pyright: ignore[reportCallIssue]


def _replace(module: fx.GraphModule, node: fx.Node, result: torch.Tensor, values) -> fx.Node:
    source = node.all_input_nodes[0]
    op = node.target._schema.name.split("::")[-1]
    name, count = f"{source.target}_{op}", 1
    while has_attribute(module, name):
        name, count = f"{source.target}_{op}_{count}", count + 1
    trained = result.is_floating_point() and any(isinstance(values[n], nn.Parameter) for n in node.all_input_nodes)
    value = result.detach().clone()
    set_tensor(module, name, nn.Parameter(value) if trained else value)
    with module.graph.inserting_before(node):
        constant = module.graph.get_attr(name)
    constant.meta = {"val": node.meta["val"]}
    node.replace_all_uses_with(constant)
    module.graph.erase_node(node)
    return constant


def constant_value(module: fx.GraphModule, node: fx.Node) -> torch.Tensor | None:
    """The value of a node that depends on nothing but tensors of the module and numbers, else None."""
    values: dict[fx.Node, torch.Tensor] = {}
    pending = [node]
    while pending:
        node = pending[-1]
        if node.op == "get_attr":
            values[node] = attribute(module, node.target)
        elif (missing := [n for n in node.all_input_nodes if n not in values]) and node.op == "call_function":
            pending += missing
            continue
        elif not _small_and_fixed(node):
            return None
        else:
            values[node] = _evaluate(node, values)
        pending.pop()
    return values[node]


def _small_and_fixed(node: fx.Node) -> bool:
    """Whether an op gives the same tensor each time, of sizes that do not vary."""
    value = node.meta.get("val")
    if node.op != "call_function" or not isinstance(value, torch.Tensor) or not _deterministic(node):
        return False
    return all(isinstance(d, int) for d in value.shape) and value.numel() <= LARGEST


def drop_unused(module: fx.GraphModule) -> None:
    """Forget tensors that no node reads any more."""
    used = {n.target for n in module.graph.nodes if n.op == "get_attr"}
    for name in [n for n, _ in (*module.named_parameters(), *module.named_buffers())]:
        if name not in used:
            drop_tensor(module, name)


def constant_nodes(nodes: Iterable[fx.Node]) -> set[fx.Node]:
    """Nodes that depend on no input: weights, biases, tables, and what is computed from these alone."""
    found: set[fx.Node] = set()
    for node in nodes:
        if node.op == "get_attr" or (node.op != "placeholder" and all(n in found for n in node.all_input_nodes)):
            found.add(node)
    return found
