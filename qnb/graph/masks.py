"""Attention masks where a quantizer can deal with them: right before the softmax, and only if they shut something out.

``scores + where(mask, bias, -inf)`` (T5) and ``scores + (bias + mask)`` (Swin) become ``where(mask, scores + bias,
-inf)`` and ``(scores + bias) + mask``: the same numbers, and the scores can be quantized before the mask. A mask that
is a constant and lets everything through is left out: its place in the range would cost the scores half their steps.
"""

from __future__ import annotations

import torch
from torch import fx

from qnb.graph import ops
from qnb.graph.constants import constant_value
from qnb.graph.written_out import Writer

_MOVES = (
    "expand",
    "expand_as",
    "unsqueeze",
    "squeeze",
    "reshape",
    "view",
    "transpose",
    "permute",
    "slice",
    "to",
    "_to_copy",
)
_ABSORBS = -1e30
"""A filling at or below this absorbs any score, so that filling and adding may change places."""


def mask_last(module: fx.GraphModule) -> None:
    """Rewrite the masks of all softmaxes, in place."""
    learned = _learned(module)
    for node in list(module.graph.nodes):
        if node.op == "call_function" and ops.name(node) == "softmax":
            _move_down(module, _behind_moves(node.args[0]), learned)
            _drop_idle(module, _behind_moves(node.args[0]))
    module.graph.eliminate_dead_code()


def _learned(module: fx.GraphModule) -> set[fx.Node]:
    """Values that some parameter had a part in. A mask is none of them.

    `qnb.sim.placement.tensor_roles` draws the line again for the finished graph, where products of activations
    count too.
    """
    learned, parameters = set(), dict(module.named_parameters())
    for node in module.graph.nodes:
        made = node.op == "call_function" and isinstance(node.meta.get("val"), torch.Tensor | tuple | list)
        if node.op == "get_attr" and node.target in parameters:
            learned.add(node)
        elif made and not learned.isdisjoint(node.all_input_nodes):
            learned.add(node)
    return learned


def _behind_moves(node: fx.Node) -> fx.Node:
    """The op that made these values, before they were only moved."""
    while node.op == "call_function" and ops.name(node) in _MOVES:
        node = node.args[0]
    return node


def _move_down(module: fx.GraphModule, add: fx.Node, learned: set[fx.Node]) -> None:
    """``a + apply(mask, b)`` -> ``apply(mask, a + b)``, and again in ``a + b``."""
    if add.op != "call_function" or ops.name(add) != "add" or add.kwargs or not learned.issuperset(add.args):
        return
    for scores, masked in (add.args, add.args[::-1]):
        place = _bias_place(module, masked, learned)
        if place is None:
            continue
        write = Writer(add)
        with add.graph.inserting_before(add):
            total = write(add.target, scores, masked.args[place])
            args = (*masked.args[:place], total, *masked.args[place + 1 :])
            result = write(masked.target, *args)
        learned |= {total, result}
        add.replace_all_uses_with(result)
        add.graph.erase_node(add)
        return _move_down(module, total, learned)


def _bias_place(module: fx.GraphModule, node: fx.Node, learned: set[fx.Node]) -> int | None:
    """Which argument of the op that applies a mask is the learned bias; None if the op is another."""
    if node.op != "call_function" or ops.name(node) not in ("add", "where", "masked_fill") or node.kwargs:
        return None
    places = [i for i, arg in enumerate(node.args) if arg in learned]
    if len(places) != 1:
        return None
    place = places[0]
    if ops.name(node) == "add":
        return place if isinstance(node.args[1 - place], fx.Node) else None
    if place not in ((1, 2) if ops.name(node) == "where" else (0,)):  # the mask itself, or the filling, is learned
        return None
    filling = node.args[3 - place] if ops.name(node) == "where" else node.args[2]
    return place if _largest(module, filling) <= _ABSORBS else None


def _largest(module: fx.GraphModule, value) -> float:
    """The largest element of a number or constant; infinity if it is not known."""
    if isinstance(value, fx.Node):
        constant = constant_value(module, _behind_moves(value))
        return float(constant.max()) if constant is not None and constant.numel() else float("inf")
    return float(value)


def _drop_idle(module: fx.GraphModule, node: fx.Node) -> None:
    """Leave out a constant mask that lets every position through."""
    kept = _let_through(module, node) if node.op == "call_function" else None
    if kept is not None and str(kept.meta["val"].shape) == str(node.meta["val"].shape):
        node.replace_all_uses_with(kept)
        module.graph.erase_node(node)


def _let_through(module: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """The scores, if the mask applied to them is known and shuts nothing out."""
    op = ops.name(node)
    if op not in ("where", "masked_fill"):
        return None
    mask = constant_value(module, _behind_moves(node.args[op == "masked_fill"]))
    if mask is None:
        return None
    if op == "masked_fill":
        return None if mask.any() else node.args[0]
    chosen = node.args[1] if mask.all() else node.args[2] if not mask.any() else None
    return chosen if isinstance(chosen, fx.Node) else None
