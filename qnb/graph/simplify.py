"""Rewrites of the exported graph: batch norm as one op, and without what computes nothing."""

from __future__ import annotations

import operator

import torch
from torch import fx

from qnb.graph import ops
from qnb.graph.constants import drop_unused

aten = torch.ops.aten
_NOISE = (
    "clone",
    "detach",
    "alias",
    "contiguous",
    "lift_fresh",
    "lift_fresh_copy",
    "dropout",
    "feature_dropout",
    "alpha_dropout",
    "identity",
)
_CHECKS = (
    "_assert",
    "_assert_scalar",
    "_assert_async",
    "_assert_tensor_metadata",
    "sym_constrain_range",
    "sym_constrain_range_for_size",
)


def restore_batch_norm(module: fx.GraphModule) -> None:
    """The decomposed inference batch norm back to ``aten.batch_norm``, one op with one result."""
    for node in list(module.graph.nodes):
        if node.op != "call_function" or ops.name(node) not in _BATCH_NORMS:
            continue
        x, weight, bias, mean, variance, *rest = node.args
        momentum, eps = rest[-2:]
        with module.graph.inserting_before(node):
            one = module.graph.call_function(
                aten.batch_norm.default, (x, weight, bias, mean, variance, False, momentum, eps, False)
            )
        one.meta = node.meta | {"val": node.meta["val"][0]}
        for user in list(node.users):
            if user.target is operator.getitem and user.args[1] == 0:
                user.replace_all_uses_with(one)
            module.graph.erase_node(user)
        module.graph.erase_node(node)


_BATCH_NORMS = ("_native_batch_norm_legit_no_training", "_batch_norm_no_update")


def remove_noise(module: fx.GraphModule) -> None:
    """Drop copies, dropout of inference, casts to the same dtype, checks, and what nothing reads."""
    graph = module.graph
    for node in list(graph.nodes):
        if node.op != "call_function":
            continue
        if ops.name(node) in _CHECKS:
            graph.erase_node(node)
        elif ops.name(node) in _NOISE or _casts_to_same(node):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
        elif node.target is aten._unsafe_view.default:
            node.target = aten.reshape.default  # a copy that went before it may be gone
        elif node.target is aten.view.default:
            node.target = aten.reshape.default
    graph.eliminate_dead_code()
    drop_unused(module)


def _casts_to_same(node: fx.Node) -> bool:
    if ops.name(node) not in ("to", "_to_copy", "type_as"):
        return False
    source, result = (n.meta.get("val") for n in (node.args[0], node))
    same = isinstance(source, torch.Tensor) and isinstance(result, torch.Tensor)
    return same and source.dtype == result.dtype and source.device == result.device
