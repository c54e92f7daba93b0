"""A layer's weights, channel by channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from qnb import columns
from qnb.sim import selection

if TYPE_CHECKING:
    from qnb.sim.base import SimBase


def weight_channels(sim: SimBase, layer: str) -> pd.DataFrame:
    """Range and scale of each output channel of a layer's weight, columns `qnb.columns.CHANNELS`."""
    keys = [k for k, s in sim.plan.weights.items() if s.layer == layer]
    if not keys:
        known = list(dict.fromkeys(s.layer for s in sim.plan.weights.values()))
        selection.layers(known, [layer], "weight_channels")
    key = keys[0]
    weight, quantizer, site = sim.weight_tensor(key).detach(), sim.weight(key), sim.plan.weights[key]
    axis = site.axis if site.axis is not None else 0
    rows = weight.movedim(axis, 0).reshape(weight.shape[axis], -1).cpu()
    scale = np.full(len(rows), np.nan)
    if quantizer.active and quantizer.scale is not None and quantizer.scale.numel() in (1, len(rows)):
        scale[:] = quantizer.scale.detach().cpu().numpy()
    values = (layer, range(len(rows)), rows.amin(1).numpy(), rows.amax(1).numpy(), scale)
    return pd.DataFrame(dict(zip(columns.CHANNELS, values, strict=True)))
