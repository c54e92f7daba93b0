"""What a target does not run is refused by name."""

from __future__ import annotations

from collections.abc import Iterable

from qnb.errors import TargetError
from qnb.numerics import Precision
from qnb.sim import limits
from qnb.targets import TARGETS, runs


def refuse_unsupported(sim, layers: Iterable[str], precision: Precision, operation: str) -> None:
    """Whether the sim's target runs these layers at this precision. What it runs at none is `Workflow.check`'s to say.

    Raises:
        TargetError: names the first layer that it does not, the precision, the target and what it runs.
    """
    layers = set(layers)
    for layer in sorted(layers):
        if not runs(sim.target, precision, weights=bool(sim.plan.weights_of.get(layer))):
            free = ", ".join(name for name in TARGETS if TARGETS[name].accepts_any_precision)
            raise TargetError(
                operation,
                f"layer {layer!r} at {precision.name}, which {sim.target.name} does not run",
                f"use one of {', '.join(sim.target.precisions)}; a target that runs any precision is one of {free}",
            )
    for layer, op, limit in limits.met(sim):
        if limit.refused and limit.when and layer in layers and limit.holds(precision):
            raise TargetError(
                operation,
                f"layer {layer!r} ({op}) at {precision.name}: {limit.when}{sim.target.name} {limit.said(op)}",
                limit.remedy,
            )
