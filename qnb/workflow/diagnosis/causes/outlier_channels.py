"""A channel far larger than the others sets the range of an activation, and leaves them few steps."""

from __future__ import annotations

from collections.abc import Iterator

from qnb.measures.layers.outliers import outlier_ratio
from qnb.text import percent
from qnb.workflow.diagnosis.case import Case
from qnb.workflow.diagnosis.cause import Suspicion, cause

OUTLIER = 8.0
"""A channel this many times the median one is an outlier: three of eight bits are lost to the median channel."""
LEAST_SHARE = 0.05
"""Of the output's noise that the layer must add to be suspected."""


@cause("outlier_channels", "outlier channels of an activation")
def find(case: Case) -> Iterator[Suspicion]:
    scores = {case.maker(node.all_input_nodes[0]) for node in case.op_nodes("softmax", "log_softmax")}
    for layer, values in case.survey.layers.items():
        bits, share = case.activation_bits(layer), case.share([layer], "activation")
        if bits is None or values.channels is None or share < LEAST_SHARE or layer in scores:
            continue
        ratio = outlier_ratio(values.channels)
        if not ratio >= OUTLIER:  # NaN is not
            continue
        makes = case.remedies
        ways = (
            makes.method("smooth", "move the outliers into the weights that read them", share)
            if _normed(case)
            else None,
            makes.method("equalize", "equalize the channels of neighbouring layers", share),
            makes.wider([layer], share),
        )
        yield Suspicion(
            f"Outlier channels in {layer!r}",
            (layer,),
            f"channel {int(values.channels.argmax())} reaches {values.channels.max():.3g}, {ratio:.0f} times the "
            f"median channel; the range of all {len(values.channels)} channels follows it, and the rounding there "
            f"makes {percent(share)} of the output's error",
            ways,
        )


def _normed(case: Case) -> bool:
    return any("_norm" in group.op for group in case.sim.groups)
