"""Weights, or activations, are coarse everywhere: no place stands out."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from qnb.text import listed, percent
from qnb.workflow.diagnosis.case import Case
from qnb.workflow.diagnosis.cause import GENERAL, Suspicion, cause

MOST_OF_IT = 0.6
TYPICAL = 0.3
"""Share of the noise that a better choice of ranges usually removes."""
RULES = ("mse", "percentile", "sqnr")
"""Calibration methods that one pass over the data serves. A choice for each tensor, `choose_ranges`, brings a
little more (1.28 for 1.00 dB, digits at W8A5) and takes two to four times as long to try."""
FEW = 3
"""Layers that are few beside so many times their number."""


@cause("coarse_weights", "weights coarse in all layers", kind=GENERAL)
def weights(case: Case) -> Iterator[Suspicion]:
    method = case.remedies.method
    yield from _half(
        case,
        "weight",
        lambda share: (
            method("gptq", "round weights one after the other, each making up for those before it", share / 2),
            method("seq_mse", "choose weight ranges by the error of each layer's output", TYPICAL * share),
        ),
    )


@cause("coarse_activations", "activations coarse in all layers", kind=GENERAL)
def activations(case: Case) -> Iterator[Suspicion]:
    yield from _half(
        case,
        "activation",
        lambda share: tuple(case.remedies.ranges(rule, TYPICAL * share) for rule in RULES),
    )


def _half(case: Case, part: str, ways: Callable[[float], tuple]) -> Iterator[Suspicion]:
    """What is said where one part, weights or activations, makes most of the error."""
    share = case.share(case.shares.index, part)
    if share >= MOST_OF_IT:
        yield Suspicion(
            f"The {part}s are sensitive",
            tuple(case.shares.loc[:, f"{part}_share"].sort_values(ascending=False, kind="stable").index[:FEW]),
            f"rounding {part}s makes {percent(share)} of the output's error, no place in particular",
            ways(share),
        )


@cause("few_sensitive_layers", "a few layers that make most of the error", kind=GENERAL)
def layers(case: Case) -> Iterator[Suspicion]:
    total = case.shares.sum(axis=1)
    top = total.nlargest(FEW)
    share = float(top.sum())
    if share < MOST_OF_IT or len(total) < 3 * FEW:
        return
    named = list(top.index)
    of_weights, of_activations = case.share(named, "weight"), case.share(named, "activation")
    ways = [
        case.remedies.wider(named, of_activations),
        case.remedies.wider(named, of_weights, weights=True),
    ]
    ways = ways[::-1] if of_weights > of_activations else ways
    yield Suspicion(
        f"A few layers make most of the error, {named[0]!r} the most",
        tuple(named),
        f"{listed(named)} make {percent(share)} of the output's error, {percent(of_weights)} by their weights and "
        f"{percent(of_activations)} by their outputs",
        tuple(ways),
    )
