"""Which layers a model's outputs come from, and how far they are from FP32."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from torch import fx

from qnb.sim.placement.plan import LayerGroup

if TYPE_CHECKING:
    from qnb.sim.base import SimBase


def output_groups(sim: SimBase) -> list[LayerGroup]:
    """The layers whose values, perhaps moved or reshaped, the model returns."""
    by_output = {g.output: g for g in sim.groups}
    output: fx.Node = next(n for n in sim.captured.module.graph.nodes if n.op == "output")
    found = []
    for node in output.all_input_nodes:
        while node.name not in by_output and node.all_input_nodes:  # back through ops that only move values
            node = node.all_input_nodes[0]
        if node.name in by_output:
            found.append(by_output[node.name])
    return found


def output_db(sim: SimBase, table: pd.DataFrame) -> float:
    """The lowest SQNR among the outputs, from a table of `compare_layers`; ``inf`` without any."""
    found = table[table.layer.isin([g.layer for g in output_groups(sim)])]
    return float(found.sqnr_db.min()) if len(found) else float("inf")
