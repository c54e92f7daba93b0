"""Softmax, sigmoid and normalization outputs that are small beside the range they have: most become zero."""

from __future__ import annotations

from collections.abc import Iterator

from qnb.text import percent
from qnb.workflow.diagnosis.case import Case
from qnb.workflow.diagnosis.cause import Suspicion, cause

BOUNDED = ("softmax", "sigmoid", "hardsigmoid", "tanh", "hardtanh")
NORMS = ("layer_norm", "group_norm", "rms_norm", "instance_norm")
VANISHING = 0.3
"""Share of the values that are not zero and become zero."""
FEW = 48
LEAST_SHARE = 0.1


@cause("coarse_probabilities", "softmax, sigmoid or normalization outputs too coarse")
def find(case: Case) -> Iterator[Suspicion]:
    for layer, seen in case.survey.layers.items():
        group, step = case.groups.get(layer), case.step(layer)
        last = group.op.split("+")[-1] if group is not None else ""
        if step is None or last not in (*BOUNDED, *NORMS) or _shared(case, layer):
            continue
        share, levels = case.share([layer], "activation"), seen.span / step
        if share < LEAST_SHARE or (seen.vanishing < VANISHING and levels >= FEW):
            continue
        way = case.remedies.wider([layer], share)
        yield Suspicion(
            f"The {last} output of {layer!r} is too coarse",
            (layer,),
            f"{percent(seen.vanishing)} of its values are less than half a step of {step:.2g} and become zero, and all "
            f"of them together take {max(1, round(levels))} steps: {percent(share)} of the output's error",
            (way,),
        )


def _shared(case: Case, layer: str) -> bool:
    """Whether other values have the same range: then that is the cause."""
    key = case.groups[layer].key
    return any(case.sim.plan.encoding_of.get(n.name) == key for n in case.op_nodes("cat", "stack", "concat"))
