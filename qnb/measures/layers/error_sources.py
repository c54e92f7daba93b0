"""How much of the error weights and activations cause each, and which activation channels are outliers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import pandas as pd
import torch

from qnb.columns import LAYER
from qnb.measures.layers.channels import CHANNEL_FIRST
from qnb.measures.layers.compare import compare_layers
from qnb.measures.layers.outputs import output_db
from qnb.progress import Report

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim

HALVES = ("weight", "activation")


def halves(sim: QuantSim, batches: Iterable, progress: Report | None = None) -> tuple[dict[str, float], pd.DataFrame]:
    """The output's SQNR with only the weights quantized, and with only the activations; and outlier channels.

    Returns:
        ``{"weight": dB, "activation": dB}``, and a DataFrame ``layer, outlier_ratio``: of a layer's FP32 output, the
        largest magnitude of a channel over that of the median channel that is not zero; NaN with fewer than two.
    """
    tops: dict[str, torch.Tensor] = {}

    def watch(values) -> None:
        x = values.reference
        if x.dim() < 2 or values.masked or not x.is_floating_point():
            return
        axis = 1 if any(name in values.group.op for name in CHANNEL_FIRST) else -1
        top = x.movedim(axis, 0).reshape(x.shape[axis], -1).abs().amax(1)
        seen = tops.get(values.group.layer)
        tops[values.group.layer] = top if seen is None or seen.shape != top.shape else torch.maximum(seen, top)

    found = {}
    for kind in HALVES:
        alone = sim.copy()
        alone.disable(kind="activation" if kind == "weight" else "weight")
        if kind == "weight":
            alone.disable(kind="input")
        tick = lambda done, total, _, kind=kind: progress and progress(done, total, f"{kind}s alone")  # noqa: E731
        table = compare_layers(alone, batches, own=False, progress=tick, watch=watch if kind == "weight" else None)
        found[kind] = output_db(alone, table)
    ratios = [(layer, outlier_ratio(top)) for layer, top in tops.items()]
    return found, pd.DataFrame(ratios, columns=[LAYER, "outlier_ratio"])


def outlier_ratio(extent: torch.Tensor) -> float:
    """The largest of some channels' magnitudes over the median one. Channels of zeros are dead and do not count.

    >>> outlier_ratio(torch.tensor([0.0, 0.0, 0.0, 1.0, 2.0, 8.0])), outlier_ratio(torch.tensor([0.0, 3.0]))
    (4.0, nan)
    """
    alive = extent[extent > 0]
    return float(alive.max() / alive.median()) if alive.numel() > 1 else math.nan
