"""A range that a few calibration samples set, far beyond all others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from qnb.text import listed
from qnb.workflow.diagnosis.case import Case
from qnb.workflow.diagnosis.cause import DATA, Suspicion, cause

WIDER = 1.8
"""The range with these samples is so many times the one without."""
FEW = 0.02
"""They are at most this share of all samples, or one."""
FEWEST = 8
"""With fewer samples one cannot tell which are unusual."""


@dataclass(frozen=True)
class Wild:
    """Samples far from all others at a layer; ends without and with them."""

    layer: str
    samples: tuple[int, ...]
    rest: tuple[float, float]
    all: tuple[float, float]

    @property
    def ratio(self) -> float:
        return (self.all[1] - self.all[0]) / max(self.rest[1] - self.rest[0], 1e-30)


@cause("few_samples_set_range", "a range set by few samples", kind=DATA)
def find(case: Case) -> Iterator[Suspicion]:
    found = [wild for layer in case.survey.layers if (wild := _wild(case, layer)) is not None]
    if not found:
        return
    first = found[0]
    agreeing = [wild for wild in found if set(wild.samples) & set(first.samples)]
    layers = tuple(wild.layer for wild in agreeing)
    share = case.share(layers, "activation")
    removes = share * (1 - 1 / max(wild.ratio for wild in agreeing) ** 2)
    ways = (case.remedies.leave_out(first.samples, removes), case.remedies.ranges("percentile", removes))
    one = len(first.samples) == 1
    named = f"{'sample' if one else 'samples'} {listed([str(s) for s in first.samples], 6)}"
    after = len(layers) - 1
    more = "" if not after else ", and one more layer follows" if after == 1 else f", and {after} more layers follow"
    yield Suspicion(
        f"A few calibration samples set the range of {first.layer!r}",
        layers[:1],
        f"without {named} of {case.survey.samples} it would reach from {first.rest[0]:.3g} to {first.rest[1]:.3g}; "
        f"with {'it' if one else 'them'}, from {first.all[0]:.3g} to {first.all[1]:.3g}{more}. "
        f"{case.flow.variable}.samples({list(first.samples)}) shows {'it' if one else 'them'}",
        ways,
    )


def _wild(case: Case, layer: str) -> Wild | None:
    seen = case.survey.layers[layer]
    lows, highs = np.minimum(seen.lows, 0.0), np.maximum(seen.highs, 0.0)
    count = len(lows)
    if count < FEWEST or case.activation_bits(layer) is None:
        return None
    most = max(1, int(FEW * count))
    order = np.argsort(-(highs - lows), kind="stable")[: most + 1]
    for cut in range(1, most + 1):
        samples = order[:cut]
        rest = np.delete(np.arange(count), samples)
        wild = Wild(layer, _sorted(samples), (lows[rest].min(), highs[rest].max()), (lows.min(), highs.max()))
        if wild.ratio >= WIDER:
            return wild
    return None


def _sorted(samples: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted(int(s) for s in samples))
