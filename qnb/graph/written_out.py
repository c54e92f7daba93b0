"""Ops that are quantized inside, written as the ops that their ONNX lowering has."""

from __future__ import annotations

import math

import torch
from torch import fx

from qnb.graph import ops

aten = torch.ops.aten


def write_out(module: fx.GraphModule) -> None:
    """Replace attention and silu by their parts, in place."""
    for node in list(module.graph.nodes):
        parts = _PARTS.get(ops.name(node)) if node.op == "call_function" else None
        if parts is not None:
            with module.graph.inserting_before(node):
                result = parts(Writer(node), *node.args, **node.kwargs)
            node.replace_all_uses_with(result)
            module.graph.erase_node(node)


class Writer:
    """Adds ops before a node, with its place in the user's code and the shapes that they have."""

    def __init__(self, node: fx.Node):
        self.graph = node.graph
        self.place = {k: node.meta[k] for k in ("nn_module_stack", "stack_trace") if k in node.meta}
        self.mode = node.meta["val"].fake_mode

    def __call__(self, op, *args, **kwargs) -> fx.Node:
        node = self.graph.call_function(op, args, kwargs)
        values, named = fx.map_arg((args, kwargs), lambda n: n.meta["val"])
        with self.mode:
            node.meta = self.place | {"val": op(*values, **named)}
        return node

    def size(self, x: fx.Node, axis: int) -> int | fx.Node:
        size = x.meta["val"].shape[axis]
        return size if isinstance(size, int) else self(aten.sym_size.int, x, axis % x.meta["val"].dim())


def silu(write: Writer, x: fx.Node) -> fx.Node:
    return write(aten.mul.Tensor, x, write(aten.sigmoid.default, x))


def attention(
    write: Writer,
    query: fx.Node,
    key: fx.Node,
    value: fx.Node,
    attn_mask: fx.Node | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> fx.Node:
    """softmax(query key^T * scale + mask) value.

    A boolean mask says where to look: elsewhere scores are -inf. Rows that may look nowhere give 0, as
    torch.nn.functional.scaled_dot_product_attention does.
    """
    if enable_gqa:
        heads, groups = (int(x.meta["val"].shape[-3]) for x in (query, key))
        key, value = (write(aten.repeat_interleave.self_int, x, heads // groups, -3) for x in (key, value))
    factor = 1 / math.sqrt(int(query.meta["val"].shape[-1])) if scale is None else scale
    product = write(aten.matmul.default, query, write(aten.transpose.int, key, -2, -1))
    scores = write(aten.mul.Tensor, product, factor)
    if is_causal:
        shape = [write.size(query, -2), write.size(key, -2)]
        device = query.meta["val"].device
        later = write(aten.triu.default, write(aten.ones.default, shape, dtype=torch.bool, device=device), 1)
        scores = write(aten.masked_fill.Scalar, scores, later, -math.inf)
    if attn_mask is None:
        weights = write(aten.softmax.int, scores, -1)
    else:
        boolean = attn_mask.meta["val"].dtype == torch.bool
        scores = (
            write(aten.where.ScalarOther, attn_mask, scores, -math.inf)
            if boolean
            else write(aten.add.Tensor, scores, attn_mask)
        )
        weights = write(aten._safe_softmax.default, scores, -1)
    return write(aten.matmul.default, weights, value)


_PARTS = {"silu": silu, "scaled_dot_product_attention": attention}
