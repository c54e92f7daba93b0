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
    changed = case.run.settings.get("layers", {})
    wanted = case.sim.precision.weights
    if not isinstance(wanted, Grid):
        return
    for layer in case.sim.plan.weights_of:
        asked = Precision.parse(changed[layer]).weights if layer in changed else wanted
        bits, share = case.weight_bits(layer), case.share([layer], "weight")
        if bits is None or not isinstance(asked, Grid) or bits >= asked.bits or share < LEAST_SHARE:
            continue
        ways = (
            case.remedies.wider([layer], share),
            case.remedies.wider([layer], share, weights=True),
        )
        yield Suspicion(
            f"{layer!r} has {bits}-bit weights where {asked.bits} bits were asked for",
            (layer,),
            f"{case.flow.target.name} keeps these weights in the bits of the activations; they make {percent(share)} "
            "of the output's error",
            ways,
        )
