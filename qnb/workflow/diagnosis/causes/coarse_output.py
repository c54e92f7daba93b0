"""A head that regresses values, and whose own output grid is what limits them."""

from __future__ import annotations

from collections.abc import Iterator

from qnb.graph import ops
from qnb.measures.layers.outputs import output_groups
from qnb.text import percent
from qnb.workflow.diagnosis.case import Case
from qnb.workflow.diagnosis.cause import Suspicion, cause

MOST_OF_IT = 0.4
"""Of the output's noise that the output's own rounding makes."""
CHOOSING = ("softmax", "log_softmax", "sigmoid")


@cause("coarse_output", "an output with too few steps for the values it regresses")
def find(case: Case) -> Iterator[Suspicion]:
    for group in output_groups(case.sim):
        step, seen, share = case.step(group.layer), case.values(group.layer), case.share([group.layer], "activation")
        joins = ops.of(case.nodes[group.output]).kind == "concat"
        if step is None or seen is None or joins or share < MOST_OF_IT or group.op.split("+")[-1] in CHOOSING:
            continue
        way = case.remedies.wider([group.layer], share)
        yield Suspicion(
            f"The output of {group.layer!r} has too few steps",
            (group.layer,),
            f"it reaches from {seen.low:.3g} to {seen.high:.3g} in steps of {step:.2g}, so a value is off by up to "
            f"{step / 2:.2g} whatever stands before it: {percent(share)} of the output's error",
            (way,),
        )
