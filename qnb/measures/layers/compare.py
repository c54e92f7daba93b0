"""Per layer: how far the simulation is from FP32, and how much of that the layer itself causes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pandas as pd

from qnb import columns
from qnb.errors import CalibrationError, InputError
from qnb.graph.batches import length, reiterable
from qnb.measures.layers.error import ErrorStats, NoiseStats, beyond, sqnr_db
from qnb.measures.layers.lockstep import LayerValues, Lockstep, Visitor
from qnb.progress import Report
from qnb.sim.placement.masking import attended

if TYPE_CHECKING:
    from qnb.sim.base import SimBase


def compare_layers(
    sim: SimBase, batches: Iterable, *, own: bool = True, progress: Report | None = None, watch: Visitor | None = None
) -> pd.DataFrame:
    """Compare FP32 and QuantSim at every layer, in one pass over the data.

    Args:
        sim: a calibrated QuantSim.
        batches: re-iterable of tensors, tuples or dicts, as the model takes them.
        own: also measure each layer fed with FP32 inputs (``own_sqnr_db``; NaN without).
        progress: called as ``progress(done, total, message)`` after each batch.
        watch: also shown every layer's `LayerValues`, in the same pass.

    Returns:
        One row per layer in graph order, columns `qnb.columns.COMPARISON`. SQNR in dB, ``inf`` where nothing
        is lost; ``saturated_fraction`` is the share of QuantSim's own values, error of the layers before
        included, that the output quantizer clips; ``numel`` counts the values compared over all batches. Masked
        attention scores do not count.
    """
    if not sim.calibrated:
        raise CalibrationError("compare_layers", "the sim is not calibrated", "call sim.calibrate(batches) first")
    sim, batches = sim.snapshot(), reiterable(batches, "compare_layers")
    lockstep = Lockstep(sim, own)
    rows = {g.layer: _Row(sim.plan.activations[g.key].masked) for g in sim.groups}
    total = length(batches)
    done = 0

    def visit(values: LayerValues) -> None:
        rows[values.group.layer].update(values)
        if watch is not None:
            watch(values)

    for batch in batches:
        lockstep.run(sim.flatten(batch, "compare_layers"), visit)
        done += 1
        if progress is not None:
            progress(done, total, "comparing layers")
    if not done:
        raise InputError("compare_layers", "the loader gave no batch", "pass at least one batch")
    table = [rows[g.layer].row(g, own) for g in sim.groups]
    return pd.DataFrame(table, columns=list(columns.COMPARISON))


class _Row:
    """Streaming figures of one layer."""

    def __init__(self, masked: bool):
        self.masked = masked
        self.stats, self.own_stats = ErrorStats(), NoiseStats()
        self.saturated = 0

    def update(self, values: LayerValues) -> None:
        keep = attended(values.reference) if self.masked else ...
        reference = values.reference[keep]
        self.stats.update(reference, values.simulated[keep])
        if values.own is not None:
            self.own_stats.update(reference, values.own[keep])
        if values.quantizer.active:
            before = values.unclipped
            self.saturated += beyond(before[attended(before)] if self.masked else before, values.quantizer)

    def row(self, group, own: bool) -> dict:
        s = self.stats
        minimum, maximum = s.range
        return {
            "layer": group.layer,
            "module": group.module,
            "op": group.op,
            "sqnr_db": s.sqnr_db,
            "own_sqnr_db": sqnr_db(s.signal, self.own_stats.noise) if own else float("nan"),
            "mse": s.mse,
            "cosine": s.cosine,
            "max_abs_error": s.max_abs_error,
            "fp32_min": minimum,
            "fp32_max": maximum,
            "saturated_fraction": int(self.saturated) / s.numel if s.numel else 0.0,
            "numel": s.numel,
        }
