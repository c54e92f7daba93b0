"""Fold batch norms of inference into the convolution or linear layer before them.

``gamma (W x + b - mean) / sqrt(variance + eps) + beta`` is one layer with weight ``W gamma / sqrt(...)`` and bias
``(b - mean) gamma / sqrt(...) + beta`` (Jacob et al. 2018, arXiv 1712.05877), computed in float64.
"""

from __future__ import annotations

import torch
from torch import fx, nn

from qnb.graph import ops
from qnb.graph.attributes import attribute, has_attribute, set_tensor
from qnb.graph.constants import drop_unused


def fold_batch_norm(module: fx.GraphModule) -> int:
    """Fold in place wherever the layer's output has the batch norm as its only reader; returns how many."""
    folded = 0
    for norm in list(module.graph.nodes):
        if norm.op == "call_function" and ops.name(norm) == "batch_norm" and _foldable(norm):
            _fold(module, norm)
            folded += 1
    if folded:
        module.graph.eliminate_dead_code()
        module.recompile()
        drop_unused(module)
    return folded


def _foldable(norm: fx.Node) -> bool:
    layer = norm.args[0]
    constants = [a for a in norm.args[1:5] if a is not None]
    if layer.op != "call_function" or len(layer.users) != 1 or norm.args[3] is None:
        return False
    if any(not isinstance(c, fx.Node) or c.op != "get_attr" for c in constants):
        return False
    op = ops.of(layer)
    flat = op.family == "linear" and layer.meta["val"].dim() == 2  # with more, channels are not the features
    return (op.spatial > 0 or flat) and isinstance(layer.args[1], fx.Node) and layer.args[1].op == "get_attr"


def _fold(module: fx.GraphModule, norm: fx.Node) -> None:
    layer = norm.args[0]
    weight = attribute(module, layer.args[1].target)
    old = layer.args[2] if len(layer.args) > 2 else None
    mean, variance = (attribute(module, norm.args[i].target).detach() for i in (3, 4))
    gamma, beta = (_or(module, norm.args[i], mean, fill) for i, fill in ((1, 1.0), (2, 0.0)))
    bias = _or(module, old, mean, 0.0)
    eps = norm.args[7]
    factor = gamma.double() / torch.sqrt(variance.double() + eps)
    new_weight = (weight.detach().double() * _along_outputs(factor, weight, layer)).to(weight.dtype)
    new_bias = ((bias.double() - mean.double()) * factor + beta.double()).to(weight.dtype)
    target = layer.args[1].target
    stem = target.removesuffix(".weight") if target.endswith(".weight") else f"{target}_"
    own_bias = old.target if old is not None else f"{stem}.bias" if target.endswith(".weight") else f"{stem}bias"
    _replace(module, layer, 1, target, new_weight, shared=len(layer.args[1].users) > 1)
    _replace(module, layer, 2, own_bias, new_bias, shared=old is not None and len(old.users) > 1)
    layer.meta["folded_batch_norm"] = {"gamma": gamma, "beta": beta, "mean": mean, "variance": variance, "eps": eps}
    norm.replace_all_uses_with(layer)
    module.graph.erase_node(norm)


def _or(module: fx.GraphModule, node: fx.Node | None, like: torch.Tensor, fill: float) -> torch.Tensor:
    return torch.full_like(like, fill) if node is None else attribute(module, node.target).detach()


def _along_outputs(factor: torch.Tensor, weight: torch.Tensor, layer: fx.Node) -> torch.Tensor:
    """The factor per output channel, shaped to multiply the weight."""
    rest = [1] * (weight.dim() - 2)
    if ops.of(layer).family != "transposed convolution":
        return factor.view(-1, 1, *rest)
    groups = factor.numel() // weight.shape[1]  # weight: [in, out / groups, ...]
    return factor.view(groups, 1, -1).expand(-1, weight.shape[0] // groups, -1).reshape(*weight.shape[:2], *rest)


def _replace(module: fx.GraphModule, layer: fx.Node, index: int, name: str, value: torch.Tensor, shared: bool) -> None:
    """Set one constant argument; a tensor that others read too stays, and a new one takes its place here."""
    base, count = name, 0
    while shared and has_attribute(module, name) or (count == 0 and index == 2 and _taken(module, layer, name)):
        count += 1
        name = f"{base}_{count}"
    set_tensor(module, name, nn.Parameter(value))
    source = layer.args[index] if len(layer.args) > index else None
    with module.graph.inserting_before(layer):
        constant = module.graph.get_attr(name)
    constant.meta = {"val": value} if source is None else dict(source.meta)
    args = list(layer.args) + [None] * (index + 1 - len(layer.args))
    args[index] = constant
    layer.args = tuple(args)


def _taken(module: fx.GraphModule, layer: fx.Node, name: str) -> bool:
    """Whether a bias name made up here belongs to something else already."""
    old = layer.args[2] if len(layer.args) > 2 else None
    return old is None and has_attribute(module, name)
