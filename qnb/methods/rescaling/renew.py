"""New encodings after FP32 scales moved from one layer to another."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from qnb.numerics import Grid
from qnb.progress import Report
from qnb.sim.calibration import weight_encodings

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim


def renew_encodings(sim: QuantSim, nodes: Iterable[str], batches: Iterable | None, progress: Report) -> bool:
    """Encodings of all weights, and of activations each by its own calibration method.

    Args:
        nodes: whose values changed.
        batches: to calibrate with. Without them, what these nodes' quantizers knew is forgotten.

    Returns:
        Whether the activations have their encodings.
    """
    if batches is None:
        weight_encodings(sim)
        for key in {sim.plan.encoding_of[name] for name in nodes if name in sim.plan.encoding_of}:
            quantizer = sim.activation(key)
            if isinstance(quantizer.grid, Grid) and quantizer.fixed is None:
                quantizer.clear()
        return sim.calibrated
    rules: dict[tuple, list[str]] = {}
    for key, site in sim.plan.activations.items():
        method, options = sim.activation(key).rule or ("minmax", {})
        rules.setdefault((method, *sorted(options.items())), []).append(site.layer)
    for (method, *options), layers in rules.items():
        sim.calibrate(batches, method, progress, layers=None if len(rules) == 1 else layers, **dict(options))
    return True
