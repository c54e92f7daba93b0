"""Activations that a quantizer's own ends make superfluous: integer kernels leave them out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import fx

from qnb.graph import ops
from qnb.numerics import Grid

if TYPE_CHECKING:
    from qnb.sim.base import SimBase


def superfluous(sim: SimBase) -> set[fx.Node]:
    """ReLUs and clips right before a quantizer whose own ends clip as much: they change no code."""
    nodes = {n.name: n for n in sim.graph_module.graph.nodes}
    found = set()
    for group in sim.groups:
        ends = ops.clip_ends(nodes[group.nodes[-1]]) if len(group.nodes) == 2 else None
        quantizer = sim.activation(group.key)
        if ends is None or not quantizer.active or not isinstance(quantizer.grid, Grid):
            continue
        scale, zero_point = (float(v) for v in quantizer.encoding())
        low, high = (end / scale + zero_point for end in ends)
        if low <= quantizer.grid.qmin + 0.5 and high >= quantizer.grid.qmax - 0.5:
            found.add(nodes[group.nodes[-1]])
    return found
