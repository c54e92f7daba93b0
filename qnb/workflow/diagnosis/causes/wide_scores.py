"""Attention scores with so wide a span that one step changes softmax."""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch import fx

from qnb.text import percent
from qnb.workflow.diagnosis.case import Case
from qnb.workflow.diagnosis.cause import Suspicion, cause

COARSE = 0.2
"""A step of the scores this wide changes the odds between two positions by up to a fifth."""
LEAST_SHARE = 0.05


@cause("wide_scores", "scores whose span saturates softmax")
def find(case: Case) -> Iterator[Suspicion]:
    for node in case.op_nodes("softmax", "log_softmax"):
        source: fx.Node = node.args[0]  # pyright: ignore[reportAssignmentType]
        layer, factor = case.made(source)
        seen, grid = case.node_values(source), case.step(layer) if layer is not None else None
        if layer is None or seen is None or grid is None or (step := grid * factor) < COARSE:
            continue
        share = case.share([layer], "activation")
        if share < LEAST_SHARE:
            continue
        ways = (
            case.remedies.wider([layer], share),
            case.remedies.ranges("mse", share / 2, [layer]),
        )
        yield Suspicion(
            f"Scores with a span that saturates softmax at {layer!r}",
            (layer,),
            f"they reach from {seen.low:.3g} to {seen.high:.3g}, so one step is {step:.2g}: rounding alone changes the "
            f"odds between two positions by up to {percent(math.expm1(min(step, 20.0)))}. It makes {percent(share)} of "
            "the output's error",
            ways,
        )
