"""Layers that the target runs in fewer bits than were asked for."""

from __future__ import annotations

from collections.abc import Iterator

from qnb.numerics import Grid, Precision
from qnb.text import percent
from qnb.workflow.diagnosis.case import Case
from qnb.workflow.diagnosis.cause import Suspicion, cause

LEAST_SHARE = 0.05


@cause("other_bits", "layers in fewer bits than asked for")
def find(case: Case) -> Iterator[Suspicion]:
    plan = case.sim.plan
    for layer, (key, *_) in plan.weights_of.items():
        if plan.weights[key].grid != "activations":
            continue
        asked, bits, share = _asked(case, layer), case.weight_bits(layer), case.share([layer], "weight")
        if asked is None or bits is None or bits >= asked or share < LEAST_SHARE:
            continue
        wide = f"w{asked}a{asked}"
        yield Suspicion(
            f"{layer!r} has {bits}-bit weights where {asked} bits were asked for",
            (layer,),
            f"{case.flow.target.name} keeps these weights in the bits of the activations; they make {percent(share)} "
            "of the output's error",
            (case.remedies.precision([layer], wide, share, f"{asked}-bit activations"),),
        )


def _asked(case: Case, layer: str) -> int | None:
    """Bits that the run asks for in a layer's weights; None where it asks for floats."""
    named = case.run.settings.get("layers", {}).items()
    own = [precision for pattern, precision in named if layer in case.sim.named(pattern, "flow.diagnose")]
    grid = (Precision.parse(own[-1]) if own else case.sim.precision).weights
    return grid.bits if isinstance(grid, Grid) else None
