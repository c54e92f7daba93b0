"""Every layer's values in one run: distributions, a sample of pairs, channels, tokens and the worst input samples.

One pass over the data; memory does not grow with it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from qnb import columns
from qnb.graph.batches import length, reiterable
from qnb.measures.layers.gatherer import Gatherer
from qnb.measures.layers.lockstep import LayerValues, Lockstep
from qnb.measures.layers.weights import weight_channels
from qnb.measures.sensitivity.samples import sample_count
from qnb.progress import Report
from qnb.sim import selection

if TYPE_CHECKING:
    from qnb.measures.layers.lockstep import Visitor
    from qnb.sim.base import SimBase


@dataclass(frozen=True)
class LayerProfile:
    """One layer's values, FP32 and QuantSim side by side.

    Args:
        layer: its name.
        histogram: `qnb.columns.HISTOGRAM`.
        scatter: `qnb.columns.SCATTER`.
        channels: the channels with the largest share of the error, `qnb.columns.WORST_CHANNELS`; None without any.
        samples: the input samples with the lowest SQNR, `qnb.columns.SAMPLES`; empty where a layer's values do not
            belong to one sample each.
        weights: range of each output channel's weights, `qnb.columns.CHANNELS`; None where it has none.
        low, high: ends of the output's grid, infinite where there is none.
        scale: of the output's grid, None where there is none.
        clipped_fraction: share of FP32 values that the grid would clip; `compare_layers` counts QuantSim's own.
        distribution: `qnb.columns.DISTRIBUTION`.
        errors: `qnb.columns.ERRORS`.
        kurtosis: of the FP32 values, 3 for a normal distribution (see `qnb.measures.layers.moments`).
        saturated_fraction: share of QuantSim's own values that the grid clips.
        levels: of the output's grid, None where they are not counted: a float grid, or none.
        levels_used: how many of them occur.
        effective_bits: entropy of the codes in bits, at most ``log2(levels_used)``; NaN where they are not counted.
        channel_table: all channels, `qnb.columns.CHANNEL_DISTRIBUTIONS`; None without any. Of more than 4,096 those
            with the largest error.
        channels_left_out: how many are not in it.
        tokens: positions of an output ``[batch, tokens, features]``, `qnb.columns.TOKENS`; None for others. The
            first 4,096.
        tokens_left_out: how many are not in it.
    """

    layer: str
    histogram: pd.DataFrame
    scatter: pd.DataFrame
    channels: pd.DataFrame | None
    samples: pd.DataFrame
    weights: pd.DataFrame | None
    low: float
    high: float
    scale: float | None
    clipped_fraction: float
    distribution: pd.DataFrame
    errors: pd.DataFrame
    kurtosis: float = math.nan
    saturated_fraction: float = 0.0
    levels: int | None = None
    levels_used: int | None = None
    effective_bits: float = math.nan
    channel_table: pd.DataFrame | None = None
    channels_left_out: int = 0
    tokens: pd.DataFrame | None = None
    tokens_left_out: int = 0


def profile_layers(
    sim: SimBase,
    batches: Iterable,
    layers: Iterable[str] | None = None,
    *,
    progress: Report | None = None,
    watch: Visitor | None = None,
) -> dict[str, LayerProfile]:
    """Profile some or all layers of a calibrated sim, in one pass over the data.

    Args:
        batches: re-iterable, as the model takes them.
        layers: names or globs; None means all. The graph behind the last of them is not run.
        progress: ``progress(done, total, message)`` after each batch.
        watch: called with every layer's `LayerValues`.
    """
    sim, batches = sim.snapshot(), reiterable(batches, "profile_layers")
    names = selection.layers([g.layer for g in sim.groups], layers, "look at a layer")
    shapes = {n.name: n.meta.get("shape") for n in sim.captured.module.graph.nodes}
    wanted = [g for g in sim.groups if g.layer in names]
    gatherers = {g.layer: Gatherer(g.op, sim.activation(g.key), shapes.get(g.output)) for g in wanted}
    lockstep, total, seen = Lockstep(sim, own=False), length(batches), 0
    for done, batch in enumerate(batches, 1):
        flat = sim.flatten(batch, "look at a layer")
        count = sample_count(sim.captured, flat)

        def visit(values: LayerValues, first: int = seen, count: int = count) -> None:
            if watch is not None:
                watch(values)
            if values.group.layer in gatherers:
                gatherers[values.group.layer].update(values, first, count)
            if values.group.layer == wanted[-1].layer:
                raise _Found

        try:
            lockstep.run(flat, visit)
        except _Found:
            pass
        seen += count
        if progress is not None:
            progress(done, total, "reading layers")
    has_weights = {site.layer for site in sim.plan.weights.values()}
    return {
        layer: LayerProfile(
            layer=layer, weights=weight_channels(sim, layer) if layer in has_weights else None, **gatherer.found()
        )
        for layer, gatherer in gatherers.items()
    }


def distributions(profiles: dict[str, LayerProfile]) -> pd.DataFrame:
    """One row per profile, columns `qnb.columns.DISTRIBUTIONS`.

    >>> import torch, qnb
    >>> model, x = torch.nn.Linear(4, 2).eval(), torch.randn(8, 4)
    >>> sim = qnb.QuantSim(model, x, "w8a4", target="generic").calibrate([x])
    >>> distributions(profile_layers(sim, [x])).levels.tolist()
    [16]
    """
    rows = [[getattr(profile, name) for name in columns.DISTRIBUTIONS] for profile in profiles.values()]
    table = pd.DataFrame(rows, columns=list(columns.DISTRIBUTIONS))
    return table.astype({"levels": "Int64", "levels_used": "Int64"})


class _Found(Exception):
    """The last layer was visited; the rest of the graph need not run."""
