"""Output channels of unlike size share one weight scale."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from qnb.measures import weight_channels
from qnb.measures.layers.outliers import outlier_ratio
from qnb.text import percent
from qnb.workflow.diagnosis.case import Case
from qnb.workflow.diagnosis.cause import Suspicion, cause

UNLIKE = 8.0
LEAST_SHARE = 0.05


@cause("unlike_weight_channels", "unlike channels under one weight scale")
def find(case: Case) -> Iterator[Suspicion]:
    sim = case.sim
    for layer, (key, *_) in sim.plan.weights_of.items():
        quantizer, share = sim.weight(key), case.share([layer], "weight")
        one = quantizer.active and quantizer.scale is not None and quantizer.scale.numel() == 1
        if not one or share < LEAST_SHARE or sim.plan.weights[key].axis is None:
            continue
        extent = weight_channels(sim, layer)[["min", "max"]].abs().max(axis=1)
        ratio = outlier_ratio(torch.tensor(extent.to_numpy()))
        if not ratio >= UNLIKE:
            continue
        ways = (
            case.remedies.per_channel([layer], share),
            case.remedies.method("equalize", "move the ranges to the neighbouring layers", share),
        )
        yield Suspicion(
            f"Unlike channels under one weight scale in {layer!r}",
            (layer,),
            f"one scale serves all {len(extent)} channels, the largest of which is {ratio:.0f} times the median one; "
            f"the rounding of these weights makes {percent(share)} of the output's error",
            ways,
        )
