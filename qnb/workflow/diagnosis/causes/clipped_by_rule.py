"""A calibration method cut off values that matter."""

from __future__ import annotations

from collections.abc import Iterator

from qnb.text import percent
from qnb.workflow.diagnosis.case import Case
from qnb.workflow.diagnosis.cause import Suspicion, cause

SATURATED = 0.001
"""Share of a layer's values beyond its range."""
LEAST_SHARE = 0.05
MOST = 3


@cause("clipped_by_rule", "a range that its calibration method chose too small")
def find(case: Case) -> Iterator[Suspicion]:
    clipped = case.run.comparison.set_index("layer").saturated_fraction
    found = []
    for layer in clipped.index[clipped >= SATURATED]:
        quantizer, seen = case.quantizer(layer), case.values(layer)
        rule = quantizer.rule[0] if quantizer is not None and quantizer.rule else None
        share = case.share([layer], "activation")
        if rule in (None, "minmax") or quantizer.fixed is not None or seen is None or share < LEAST_SHARE:  # pyright: ignore[reportOptionalMemberAccess]
            continue
        found.append((share, layer, rule, seen))
    for share, layer, rule, seen in sorted(found, reverse=True, key=lambda f: f[0])[:MOST]:
        low, high = (float(v) for v in case.quantizer(layer).limits())  # pyright: ignore[reportOptionalMemberAccess]
        way = case.remedies.ranges("minmax", share, [layer])
        yield Suspicion(
            f"The {rule} range of {layer!r} clips values that matter",
            (layer,),
            f"{percent(clipped[layer])} of its values lie beyond the range of {low:.3g} to {high:.3g} that {rule} chose; "
            f"calibration saw {seen.low:.3g} to {seen.high:.3g}. It makes {percent(share)} of the output's error",
            () if way is None else (way,),
        )
