"""One layer's values: FP32 and QuantSim side by side, and its weights per channel."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
import torch

from qnb import columns
from qnb.errors import InputError
from qnb.graph.batches import reiterable
from qnb.measures.lockstep import LayerValues, Lockstep
from qnb.sim import select
from qnb.sim.masking import attended


def layer_histogram(sim, batches: Iterable, layer: str, bins: int = 100) -> pd.DataFrame:
    """Counts of a layer's FP32 and QuantSim outputs over shared bins, columns `qnb.columns.HISTOGRAM`.

    Two passes over the data, constant memory. ``attrs`` holds ``low`` and ``high``, the ends of the layer's
    grid, and ``clipped_fraction`` of FP32 values outside them.
    """
    batches = reiterable(batches, "layer_histogram")
    ends = [np.inf, -np.inf]

    def widen(values: LayerValues) -> None:
        for x in (_kept(values, values.reference), _kept(values, values.simulated)):
            if x.numel():
                low, high = torch.aminmax(x)
                ends[0], ends[1] = min(ends[0], float(low)), max(ends[1], float(high))

    quantizer = _visit(sim, batches, layer, widen)
    if not np.isfinite(ends).all():
        raise InputError("layer_histogram", f"layer {layer!r} has values that are not finite", "look at its input")
    low, high = (ends[0], ends[1]) if ends[1] > ends[0] else (ends[0] - 0.5, ends[0] + 0.5)
    counts = np.zeros((2, bins))
    outside = np.zeros(2)
    limits = [float(v) for v in quantizer.limits()] if quantizer.active else [-np.inf, np.inf]

    def count(values: LayerValues) -> None:
        for row, x in enumerate((_kept(values, values.reference), _kept(values, values.simulated))):
            counts[row] += torch.histc(x.float(), bins, low, high).cpu().numpy()
        x = _kept(values, values.reference)
        outside[:] += [int(((x < limits[0]) | (x > limits[1])).sum()), x.numel()]

    _visit(sim, batches, layer, count)
    edges = np.linspace(low, high, bins + 1)
    frame = pd.DataFrame(dict(zip(columns.HISTOGRAM, (edges[:-1], edges[1:], counts[0], counts[1]), strict=True)))
    frame.attrs |= {"low": limits[0], "high": limits[1], "clipped_fraction": outside[0] / max(outside[1], 1)}
    return frame


def layer_scatter(sim, batches: Iterable, layer: str, points: int = 2000) -> pd.DataFrame:
    """Pairs of FP32 and QuantSim outputs, evenly spaced over the first batch, columns `qnb.columns.SCATTER`."""
    pairs: list[tuple[np.ndarray, np.ndarray]] = []

    def take(values: LayerValues) -> None:
        reference, simulated = _kept(values, values.reference), _kept(values, values.simulated)
        step = max(1, -(-reference.numel() // points))
        pairs.append(tuple(x.reshape(-1)[::step].float().cpu().numpy() for x in (reference, simulated)))

    first = next(iter(reiterable(batches, "layer_scatter")))
    _visit(sim, [first], layer, take)
    return pd.DataFrame(dict(zip(columns.SCATTER, pairs[0], strict=True)))


def weight_channels(sim, layer: str) -> pd.DataFrame:
    """Range and scale of each output channel of a layer's weight, columns `qnb.columns.CHANNELS`."""
    keys = [k for k, s in sim.plan.weights.items() if s.layer == layer]
    if not keys:
        known = list(dict.fromkeys(s.layer for s in sim.plan.weights.values()))
        select.layers(known, [layer], "weight_channels")
    key = keys[0]
    weight, quantizer, site = sim.weight_tensor(key).detach(), sim.weight(key), sim.plan.weights[key]
    axis = site.axis if site.axis is not None else 0
    rows = weight.movedim(axis, 0).reshape(weight.shape[axis], -1).cpu()
    scale = np.full(len(rows), np.nan)
    if quantizer.active and quantizer.scale is not None and quantizer.scale.numel() in (1, len(rows)):
        scale[:] = quantizer.scale.detach().cpu().numpy()
    values = (layer, range(len(rows)), rows.amin(1).numpy(), rows.amax(1).numpy(), scale)
    return pd.DataFrame(dict(zip(columns.CHANNELS, values, strict=True)))


def _kept(values: LayerValues, x: torch.Tensor) -> torch.Tensor:
    """Values without masked attention scores."""
    return x[attended(values.reference)] if values.masked else x


class _Found(Exception):
    """The layer was visited; the rest of the graph need not run."""


def _visit(sim, batches: Iterable, layer: str, see: Callable[[LayerValues], None]):
    """Show one layer's values of every batch to ``see``; returns its output quantizer."""
    select.layers([g.layer for g in sim.groups], [layer], "look at a layer")
    group = next(g for g in sim.groups if g.layer == layer)
    lockstep = Lockstep(sim, own=False)

    def visit(values: LayerValues) -> None:
        if values.group.layer == layer:
            see(values)
            raise _Found

    for batch in batches:
        try:
            lockstep.run(sim.flatten(batch, "look at a layer"), visit)
        except _Found:
            continue
    return sim.activation(group.key)
