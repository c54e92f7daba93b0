"""Activations that a quantizer's own ends make superfluous: integer kernels leave them out."""

from __future__ import annotations

import math

from torch import fx

from qnb.graph import ops
from qnb.numerics import Grid


def superfluous(sim) -> set[fx.Node]:
    """ReLUs and clips right before a quantizer whose own ends clip as much: they change no code."""
    nodes = {n.name: n for n in sim.graph_module.graph.nodes}
    found = set()
    for group in sim.groups:
        ends = clip_ends(nodes[group.nodes[-1]]) if len(group.nodes) == 2 else None
        quantizer = sim.activation(group.key)
        if ends is None or not quantizer.active or not isinstance(quantizer.grid, Grid):
            continue
        scale, zero_point = (float(v) for v in quantizer.encoding())
        low, high = (end / scale + zero_point for end in ends)
        if low <= quantizer.grid.qmin + 0.5 and high >= quantizer.grid.qmax - 0.5:
            found.add(nodes[group.nodes[-1]])
    return found


def clip_ends(node: fx.Node) -> tuple[float, float] | None:
    """Lowest and highest value that an activation lets through, where that is all it does."""
    name = ops.name(node).rstrip("_")
    if name == "relu":
        return 0.0, math.inf
    if name == "relu6":
        return 0.0, 6.0
    if name not in ("hardtanh", "clamp"):
        return None
    given = [*node.args[1:3], *[None] * (3 - len(node.args))]
    default = (-1.0, 1.0) if name == "hardtanh" else (-math.inf, math.inf)
    given = [d if g is None else g for g, d in zip(given, default, strict=True)]
    return None if any(isinstance(g, fx.Node) for g in given) else (float(given[0]), float(given[1]))
