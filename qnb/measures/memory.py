"""Activation memory: the most bytes that are alive at once while a model runs. Counted, not measured on a device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import fx

from qnb.graph import ops
from qnb.graph.capture import batch_size

if TYPE_CHECKING:
    from qnb.sim.base import SimBase


def activation_bytes(sim: SimBase) -> int:
    """Peak bytes of activations for one sample, in graph order.

    A value lives from the op that makes it to the last op that reads it; what only moves values (a reshape) shares
    its input's memory, and inside a fused group only the output is kept. Values count at their quantizer's bits; those
    without one at 32 (16 in a 16-bit float simulation).
    """
    graph = sim.captured.module.graph
    inner = {name for g in sim.groups for name in g.nodes[:-1]}
    owner: dict[fx.Node, fx.Node] = {}
    size: dict[fx.Node, float] = {}
    last: dict[fx.Node, int] = {}
    order = list(graph.nodes)
    for index, node in enumerate(order):
        for source in node.all_input_nodes:
            if source in owner:
                last[owner[source]] = index
        if node.op not in ("placeholder", "call_function") or not _tensor(node):
            continue
        moved = node.op == "call_function" and (ops.of(node).kind == "pass" or node.name in inner)
        source = next((s for s in node.all_input_nodes if s in owner), None) if moved else None
        owner[node] = owner.get(source, node)  # pyright: ignore[reportCallIssue]
        if owner[node] is node:
            size[node] = 0.0 if node.name in inner else node.meta["val"].numel() * _bits(sim, node) / 8
    alive = peak = 0.0
    for index, node in enumerate(order):
        if owner.get(node) is node:
            alive += size[node]
            peak = max(peak, alive)
        alive -= sum(size[v] for v, at in last.items() if at == index)
    return round(peak / batch_size(sim.captured))


def _tensor(node: fx.Node) -> bool:
    return isinstance(node.meta.get("val"), torch.Tensor)


def _bits(sim: SimBase, node: fx.Node) -> int:
    value, found = node.meta["val"], sim.plan.encoding(node.name)
    if not value.is_floating_point():
        return 8 * value.element_size()
    quantizer = sim.activation(found[0]) if found else None
    if quantizer is not None and quantizer.active:
        return quantizer.grid.bits
    grid = sim.precision.activations
    return 16 if grid is not None and grid.bits == 16 and sim.precision.name in ("fp16", "bf16") else 32
