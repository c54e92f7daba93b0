"""Which axis of a layer's output stands for tokens, and which tokens count."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx

from qnb.graph import ops
from qnb.measures.layers.channels import CHANNEL_FIRST

if TYPE_CHECKING:
    from qnb.graph import Captured
    from qnb.measures.layers.lockstep import LayerValues
    from qnb.sim.base import SimBase

IDS, MASK = "input_ids", "attention_mask"
_BESIDE = ("mask", "type_ids", "position_ids")
_PRODUCTS = {*ops.family("matmul"), "softmax", "where", "add", "masked_fill"}
"""Ops in attention whose outputs may have batch and heads in one axis."""


@dataclass
class Tokens:
    """What is known of the tokens of one batch.

    Token ids ``[batch, tokens]`` say how many there are. Without them attention does, whose probabilities have as many
    rows as columns, once it has been seen; without attention an input ``[batch, tokens, features]`` of a model in which
    no layer has its channels first.

    Args:
        batch: how many samples.
        length: how many tokens; None where it is not known yet.
        mask: bool ``[batch, tokens]`` of those that count; None for all.
        heads: of each attention that was seen, how many.
    """

    batch: int
    length: int | None
    mask: Tensor | None = None
    ids: bool = False
    heads: set[int] = field(default_factory=set)

    @staticmethod
    def of(sim: SimBase, inputs: list[Tensor]) -> Tokens:
        """Of a flat batch."""
        named = {i.name.rpartition(".")[2]: x for i, x in zip(sim.captured.inputs, inputs, strict=True)}
        whole = {n: x for n, x in named.items() if x.dim() == 2 and not (x.is_floating_point() or x.is_complex())}
        ids = {n: x for n, x in whole.items() if not n.endswith(_BESIDE) and x.dtype != torch.bool}
        if ids:
            chosen = ids.get(IDS, next(iter(ids.values())))
            mask = whole.get(MASK)
            fits = mask is not None and mask.shape == chosen.shape
            return Tokens(chosen.shape[0], chosen.shape[1], (mask != 0) if fits else None, True)
        batch = next((x.shape[0] for x in inputs if x.dim()), 0)
        features = [x for x in inputs if x.dim() == 3 and x.is_floating_point()]
        first = any(name in group.op for group in sim.groups for name in CHANNEL_FIRST)
        return Tokens(batch, None if first or len(features) != 1 else features[0].shape[1])

    def see(self, values: LayerValues) -> None:
        """Learn from attention's probabilities."""
        shape = values.reference.shape
        if "softmax" not in values.group.op or len(shape) not in (3, 4) or shape[-1] != shape[-2]:
            return
        if len(shape) == 4:
            self.heads.add(shape[1])
        elif self.batch and shape[0] % self.batch == 0:
            self.heads.add(shape[0] // self.batch)
        if not self.ids:
            self.length = shape[-1]

    def by_position(self, x: Tensor, op: str) -> Tensor | None:
        """``[batch, tokens, features]`` of what may be a layer's output by token."""
        if _channels_first(op):
            return None
        if x.dim() == 3 and x.shape[0] == self.batch:
            return x
        rows = self.batch * (self.length or 0)
        merged = self.ids and x.dim() == 2 and rows > self.batch and x.shape[0] == rows
        return x.reshape(self.batch, self.length, -1) if merged else None

    def by_head(self, x: Tensor, op: str) -> Tensor | None:
        """``[batch, heads, tokens, any]`` of what may be in attention."""
        if x.dim() == 4 and not _channels_first(op):
            return x
        products = not _PRODUCTS.isdisjoint(op.split("+"))
        together = x.dim() == 3 and products and self.batch > 0 and x.shape[0] > self.batch
        return x.unflatten(0, (self.batch, -1)) if together and x.shape[0] % self.batch == 0 else None

    def are_heads(self, count: int) -> bool:
        """Whether some attention has so many heads, or shares so many among its own."""
        return count in self.heads or (count > 1 and any(known % count == 0 for known in self.heads))

    def counted(self, rows: int, length: int, device: torch.device) -> Tensor | None:
        """The mask, where it is one of values ``[rows, length]``."""
        fits = self.mask is not None and self.mask.shape == (rows, length)
        return self.mask.to(device) if self.mask is not None and fits else None


def _channels_first(op: str) -> bool:
    return any(name in op for name in CHANNEL_FIRST)


def has_tokens(captured: Captured) -> bool:
    """Whether a model takes token ids or has attention, so that its layers may have token positions."""
    whole = [i for i in captured.inputs if len(i.shape) == 2 and not i.dtype.is_floating_point]
    ids = any(i.dtype != torch.bool and not i.name.endswith(_BESIDE) for i in whole)
    return ids or any(
        n.op == "call_function" and ops.name(n) == "softmax" and _square(n) for n in captured.module.graph.nodes
    )


def _square(node: fx.Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, Tensor) and value.dim() in (3, 4) and str(value.shape[-1]) == str(value.shape[-2])
