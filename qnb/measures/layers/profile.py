"""Every layer's values in one run: histogram, a sample of pairs, the worst channels and input samples.

Two passes over the data, the first to find each histogram's ends; memory does not grow with the data, but for two
numbers per layer and input sample.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from qnb import columns
from qnb.graph.batches import length, reiterable
from qnb.measures.layers.error import beyond
from qnb.measures.layers.lockstep import LayerValues, Lockstep
from qnb.measures.layers.weights import weight_channels
from qnb.progress import Report
from qnb.sim import selection
from qnb.sim.placement.masking import attended

if TYPE_CHECKING:
    from qnb.measures.layers.lockstep import Visitor
    from qnb.sim.base import SimBase
    from qnb.sim.quantizer import Quantizer

BINS, PAIRS, CHANNELS, SAMPLES = 100, 1000, 12, 12
"""Bins of a histogram, pairs of values that are kept, and how many of the worst."""
CHANNEL_FIRST = ("conv", "batch_norm", "pool", "prelu", "pixel", "upsample", "interpolate")
"""Ops whose outputs have their channels in dimension 1; all others in the last."""


@dataclass(frozen=True)
class LayerProfile:
    """One layer's values, FP32 and QuantSim side by side.

    Args:
        layer: its name.
        histogram: `qnb.columns.HISTOGRAM`.
        scatter: `qnb.columns.SCATTER`.
        channels: the channels with the largest share of the error, `qnb.columns.WORST_CHANNELS`; None without any.
        samples: the input samples with the lowest SQNR, `qnb.columns.SAMPLES`.
        weights: range of each output channel's weights, `qnb.columns.CHANNELS`; None where it has none.
        low, high: ends of the output's grid, infinite where there is none.
        scale: of the output's grid, None where there is none.
        clipped_fraction: share of FP32 values that the grid would clip; `compare_layers` counts QuantSim's own.
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


def profile_layers(
    sim: SimBase,
    batches: Iterable,
    layers: Iterable[str] | None = None,
    *,
    progress: Report | None = None,
    watch: Visitor | None = None,
) -> dict[str, LayerProfile]:
    """Profile some or all layers of a calibrated sim.

    Args:
        batches: re-iterable, as the model takes them.
        layers: names or globs; None means all. The graph behind the last of them is not run.
        progress: ``progress(done, total, message)`` after each batch of either pass.
        watch: called with every layer's `LayerValues`.
    """
    sim, batches = sim.snapshot(), reiterable(batches, "profile_layers")
    names = selection.layers([g.layer for g in sim.groups], layers, "look at a layer")
    gatherers = {g.layer: _Gatherer(g.op) for g in sim.groups if g.layer in names}
    last = next(g.layer for g in reversed(sim.groups) if g.layer in names)
    lockstep, total, done = Lockstep(sim, own=False), length(batches), 0
    for step in (_Gatherer.widen, _Gatherer.count):

        def visit(values: LayerValues, step=step) -> None:
            if watch is not None:
                watch(values)
            if values.group.layer in gatherers:
                step(gatherers[values.group.layer], values)
            if values.group.layer == last:
                raise _Found

        for batch in batches:
            try:
                lockstep.run(sim.flatten(batch, "look at a layer"), visit)
            except _Found:
                pass
            done += 1
            if progress is not None:
                progress(done, 2 * total if total else None, "reading layers")
    has_weights = {site.layer for site in sim.plan.weights.values()}
    return {
        g.layer: gatherers[g.layer].profile(
            g.layer, sim.activation(g.key), weight_channels(sim, g.layer) if g.layer in has_weights else None
        )
        for g in sim.groups
        if g.layer in gatherers
    }


class _Found(Exception):
    """The last layer was visited; the rest of the graph need not run."""


@dataclass
class _Gatherer:
    """Streaming figures of one layer."""

    op: str
    low: float = np.inf
    high: float = -np.inf
    counts: np.ndarray = field(default_factory=lambda: np.zeros((2, BINS)))
    outside: int = 0
    numel: int = 0
    pairs: tuple[np.ndarray, np.ndarray] | None = None
    channels: np.ndarray | None = None
    samples: list[np.ndarray] = field(default_factory=list)

    def widen(self, values: LayerValues) -> None:
        for x in _both(values):
            x = x[torch.isfinite(x)] if x.numel() and not torch.isfinite(x.sum()) else x
            if x.numel():
                low, high = torch.aminmax(x)
                self.low, self.high = min(self.low, float(low)), max(self.high, float(high))

    def ends(self) -> tuple[float, float]:
        if not self.low <= self.high:  # nothing finite, or every position masked
            return 0.0, 1.0
        return (self.low, self.high) if self.high > self.low else (self.low - 0.5, self.low + 0.5)

    def count(self, values: LayerValues) -> None:
        low, high = self.ends()
        reference, simulated = _both(values)
        for row, x in enumerate((reference, simulated)):
            self.counts[row] += torch.histc(x.float(), BINS, low, high).cpu().numpy()
        if values.quantizer.active:
            self.outside += int(beyond(reference, values.quantizer))
        self.numel += reference.numel()
        if self.pairs is None:
            step = max(1, -(-reference.numel() // PAIRS))
            self.pairs = tuple(x.reshape(-1)[::step].float().cpu().numpy() for x in (reference, simulated))
        self._errors(values)

    def _errors(self, values: LayerValues) -> None:
        """Signal and noise by channel and by sample; what is masked counts as equal."""
        signal, noise = values.reference.float(), values.simulated.float() - values.reference.float()
        if values.masked:
            keep = attended(values.reference)
            signal, noise = torch.where(keep, signal, 0.0), torch.where(keep, noise, 0.0)
        if signal.dim() == 0:
            return
        per_sample = [x.reshape(len(x), -1).square().mean(1).cpu().numpy() for x in (signal, noise)]
        self.samples.append(np.stack(per_sample))
        if signal.dim() < 2:
            return
        axis = 1 if any(name in self.op for name in CHANNEL_FIRST) else -1
        rows = [x.movedim(axis, 0).reshape(signal.shape[axis], -1) for x in (signal, noise)]
        found = (
            torch.stack(
                [
                    rows[0].square().sum(1),
                    rows[1].square().sum(1),
                    rows[0].amin(1),
                    rows[0].amax(1),
                    torch.full((len(rows[0]),), float(rows[0].shape[1])),
                ]
            )
            .cpu()
            .numpy()
        )
        self.channels = (
            found
            if self.channels is None or self.channels.shape != found.shape
            else np.stack(
                [
                    self.channels[0] + found[0],
                    self.channels[1] + found[1],
                    np.minimum(self.channels[2], found[2]),
                    np.maximum(self.channels[3], found[3]),
                    self.channels[4] + found[4],
                ]
            )
        )

    def profile(self, layer: str, quantizer: Quantizer, weights: pd.DataFrame | None) -> LayerProfile:
        edges = np.linspace(*self.ends(), BINS + 1)
        histogram = _frame(columns.HISTOGRAM, edges[:-1], edges[1:], *self.counts)
        pairs = self.pairs or (np.zeros(0), np.zeros(0))
        low, high = (float(v) for v in quantizer.limits()) if quantizer.active else (-np.inf, np.inf)
        scale = float(quantizer.scale) if quantizer.active and quantizer.scale is not None else None
        return LayerProfile(
            layer,
            histogram,
            _frame(columns.SCATTER, *pairs),
            self._worst_channels(),
            self._worst_samples(),
            weights,
            low,
            high,
            scale,
            self.outside / max(self.numel, 1),
        )

    def _worst_channels(self) -> pd.DataFrame | None:
        if self.channels is None:
            return None
        signal, noise, low, high, count = self.channels
        order = np.argsort(-noise, kind="stable")[:CHANNELS]
        return _frame(
            columns.WORST_CHANNELS,
            order,
            _decibel(signal, noise)[order],
            (noise / count)[order],
            low[order],
            high[order],
        )

    def _worst_samples(self) -> pd.DataFrame:
        signal, noise = np.concatenate(self.samples, 1) if self.samples else np.zeros((2, 0))
        db = _decibel(signal, noise)
        order = np.argsort(db, kind="stable")[:SAMPLES]
        return _frame(columns.SAMPLES, order, db[order], noise[order])


def _both(values: LayerValues) -> tuple[torch.Tensor, torch.Tensor]:
    """FP32 and QuantSim values, without masked attention scores."""
    keep = attended(values.reference) if values.masked else ...
    return values.reference[keep], values.simulated[keep]


def _decibel(signal: np.ndarray, noise: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(noise > 0, 10 * np.log10(signal / noise), np.inf)


def _frame(names, *values) -> pd.DataFrame:
    return pd.DataFrame(dict(zip(names, values, strict=True)))
