"""A sigmoid or tanh reads values far beyond where it still changes: most steps of its input tell nothing apart."""

from __future__ import annotations

from collections.abc import Iterator

from torch import fx

from qnb.graph import ops
from qnb.text import percent
from qnb.workflow.diagnosis.case import Case
from qnb.workflow.diagnosis.cause import Suspicion, cause

OPS, FLAT = ("sigmoid", "tanh"), 8.0
"""From here on, to either side, these ops stay at their end, to less than half a step of 8 bits: where the calibration
method `saturating` cuts."""
WASTED = 0.5
"""Share of the steps that lie out there."""
LEAST_SHARE = 0.05


@cause("saturated_input", "a sigmoid or tanh that reads values beyond where it changes")
def find(case: Case) -> Iterator[Suspicion]:
    for node in case.op_nodes(*OPS):
        source: fx.Node = node.args[0]  # pyright: ignore[reportAssignmentType]
        layer, factor = case.made(source)
        seen, step = case.node_values(source), case.step(layer) if layer is not None else None
        if layer is None or seen is None or step is None or not seen.span:
            continue
        op, used = ops.name(node).rstrip("_"), max(0.0, min(seen.high, FLAT) - max(seen.low, -FLAT))
        wasted, share = 1 - used / seen.span, case.share([layer], "activation")
        if wasted < WASTED or share < LEAST_SHARE:
            continue
        removes = share * (1 - (used / seen.span) ** 2)
        cut = case.remedies.ranges("saturating", removes, [layer]) if factor == 1 and _alone(source) else None
        yield Suspicion(
            f"A {op} reads values of {layer!r} that are far beyond where it changes",
            (layer,),
            f"they reach from {seen.low:.3g} to {seen.high:.3g}; beyond {FLAT:g} a {op} stays at its end, so "
            f"{percent(wasted)} of the steps tell nothing apart, and one step is {step * factor:.2g} where it is "
            f"steep. It makes {percent(share)} of the output's error",
            (cut, case.remedies.wider([layer], share)),
        )


def _alone(source: fx.Node) -> bool:
    """Whether only such ops read a value, so that nothing else misses what is cut off."""
    return all(user.op == "call_function" and ops.name(user).rstrip("_") in OPS for user in source.users)
