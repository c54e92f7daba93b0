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
    table = case.run.comparison.set_index("layer")
    clipped = table.saturated_fraction
    layers = [str(layer) for layer in clipped.index[clipped >= SATURATED] if _chosen(case, str(layer))]
    layers.sort(key=lambda layer: -case.share([layer], "activation"))
    share = case.share(layers, "activation")
    if not layers or share < LEAST_SHARE:
        return
    first, rule = layers[0], case.quantizer(layers[0]).rule[0]
    low, high = (float(v) for v in case.quantizer(first).limits())
    ways = (case.remedies.ranges("minmax", share, layers[:MOST]), case.remedies.ranges("minmax", share))
    more = f"; {len(layers) - 1} more layers clip as well" if len(layers) > 1 else ""
    yield Suspicion(
        f"The {rule} range of {first!r} clips values that matter",
        tuple(layers),
        f"{percent(clipped[first])} of its values lie beyond the range of {low:.3g} to {high:.3g} that {rule} chose; "
        f"in FP32 it reaches from {table.fp32_min[first]:.3g} to {table.fp32_max[first]:.3g}{more}. Together they make "
        f"{percent(share)} of the output's error",
        ways,
    )


def _chosen(case: Case, layer: str) -> bool:
    """Whether a calibration method that may clip chose a layer's range."""
    quantizer = case.quantizer(layer)
    rule = quantizer.rule[0] if quantizer is not None and quantizer.rule else "minmax"
    return rule != "minmax" and quantizer is not None and quantizer.fixed is None
