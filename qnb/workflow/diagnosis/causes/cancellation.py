"""A large constant is added and taken away again: between the two, the values keep few steps of the range."""

from __future__ import annotations

from collections.abc import Iterator

from qnb.text import percent
from qnb.workflow.diagnosis.case import Case
from qnb.workflow.diagnosis.cause import Suspicion, cause

OFFSET = 8.0
"""Values that lie further from zero than so many times their spread from least to largest are mostly offset."""
FEW = 64
LEAST_SHARE = 0.05


@cause("cancellation", "values that are mostly a constant offset")
def find(case: Case) -> Iterator[Suspicion]:
    for layer, seen in case.survey.layers.items():
        step, share = case.resolution(layer), case.share([layer], "activation")
        if step is None or share < LEAST_SHARE or not seen.span:
            continue
        nearest = min(abs(seen.low), abs(seen.high))
        if seen.low <= 0 <= seen.high or nearest < OFFSET * seen.span / 2 or seen.span > FEW * step:
            continue
        way = case.remedies.wider([layer], share)
        levels = max(1, round(seen.span / step))
        yield Suspicion(
            f"A large constant in the values of {layer!r}",
            (layer,),
            f"all values lie between {seen.low:.6g} and {seen.high:.6g}; a range also holds zero, so its steps are "
            f"{step:.2g} wide and these values take {levels} of them: {percent(share)} of the output's error. Where "
            "the constant is taken away again, leave out both in the model",
            (way,),
            "leave out the constant and what takes it away again, in the model",
            case.look(layer),
            certain=way is None,
        )
