"""What to know of a model's recurrent layers before deploying it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from qnb.graph import ops
from qnb.sim.placement.recurrent_cells import CELLS

if TYPE_CHECKING:
    from qnb.sim.base import SimBase

MANY = 1000
"""Steps of all layers and directions from where on it takes minutes to export and compile them."""


def notes(sim: SimBase) -> Iterator[str]:
    """Layers of many steps, and those that the target cannot run step by step."""
    layer_of = {name: group.layer for group in reversed(sim.groups) for name in group.nodes}
    for node in sim.captured.module.graph.nodes:
        op = ops.name(node) if node.op == "call_function" else ""
        if op not in CELLS or op not in sim.target.written_out or node.name not in layer_of:
            continue
        site, layer = sim.plan.recurrent.get(node.name), layer_of[node.name]
        if site is None:
            yield (
                f"{layer!r} has a projection (proj_size), so that {sim.target.name} runs it as one op, in float16 and "
                "imprecisely (39 dB over 20 steps, measured): leave proj_size out and put a Linear behind it"
            )
            continue
        steps = int(node.args[0].meta["val"].shape[1 if site.batch_first else 0])
        total = steps * len(site.keys)
        if total >= MANY:
            yield (
                f"{layer!r} runs step by step on {sim.target.name}, {total} steps in all: its file has about "
                f"{44 * total:,} nodes, and takes minutes to export and compile (500 steps half a minute, 1,500 three "
                "minutes on one core, measured); shorter sequences make it faster"
            )
