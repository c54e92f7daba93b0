"""More bits for the outputs, or the weights, of some layers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pandas as pd

from qnb.arguments import one_of, whole
from qnb.columns import LAYER
from qnb.errors import InputError
from qnb.methods.method import method
from qnb.methods.reporting.progress import MethodProgress
from qnb.methods.reporting.result import Found
from qnb.numerics import Grid, Precision
from qnb.progress import Report

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim

OPERATION, KINDS, MOST = "qnb.methods.widen", ("activation", "weight"), 16


def _fits(sim: QuantSim, given: dict) -> None:
    one_of(OPERATION, "kind", given["kind"], KINDS)
    whole(OPERATION, "bits", given["bits"], 2)
    if given["bits"] > MOST:
        raise InputError(OPERATION, f"bits={given['bits']}", f"use 2 to {MOST}")
    if not given["layers"]:
        raise InputError(OPERATION, "no layers", "name those that need more bits, or a glob: layers='head.*'")


@method("widen", "More bits for some layers", "precision", once=False, fits=_fits)
def widen(
    sim: QuantSim,
    batches: Iterable,
    *,
    layers: str | Iterable[str] | None = None,
    bits: int = 16,
    kind: str = "activation",
    progress: Report | None = None,
) -> Found:
    """Give the outputs or the weights of some layers more bits, where `mixed_precision` would search for a mix.

    A layer that has as many bits already stays as it is. Encodings follow from the statistics of the last calibration.

    Args:
        batches: unlabelled, as the model takes them; layers are measured on them.
        layers: a name, a glob or a list of them.
        bits: 2 to 16.
        kind: ``"activation"``: of the layers' outputs; ``"weight"``: of their weights, which makes the model larger.

    Raises:
        InputError: no layers, or a name that matches none. TargetError: the target does not run a layer like that.

    >>> import torch, qnb
    >>> model, x = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 4)).eval(), torch.randn(64, 8)
    >>> sim = qnb.QuantSim(model, x, "w8a8").calibrate([x])
    >>> qnb.methods.widen(sim, [x], layers="1").table.bits_after.dropna().tolist()
    [16.0]
    """
    progress = MethodProgress.of(progress)
    chosen, rows = sim.named(layers, OPERATION), []
    for group in sim.groups:
        if group.layer not in chosen:
            continue
        weight = next((sim.weight(key).grid for key in sim.plan.weights_of.get(group.layer, ())), None)
        output = sim.activation(group.key).grid
        grid = output if kind == "activation" else weight
        if not isinstance(grid, Grid) or grid.bits >= bits:
            continue
        weight = weight if isinstance(weight, Grid) else sim.precision.weights
        wide = Grid(bits, grid.symmetric, grid.granularity, grid.block_size)
        sim.set_precision(
            group.layer, Precision(wide if kind == "weight" else weight, wide if kind != "weight" else output)
        )
        rows.append({LAYER: group.layer, "bits_before": grid.bits, "bits_after": bits})
        progress(len(rows), len(chosen), "giving more bits")
    return Found(pd.DataFrame(rows, columns=[LAYER, "bits_before", "bits_after"]))
