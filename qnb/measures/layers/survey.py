"""The FP32 model's values, node by node: ranges, moments, channels and samples, from one pass over the data.

What a diagnosis looks at before it tries anything. The first batches are looked at closely, of the others only the
extremes of each sample are taken. Memory does not grow with the data, but for two numbers per layer and sample.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx

from qnb.errors import InputError
from qnb.graph.batches import length, reiterable
from qnb.measures.layers.channels import CHANNEL_FIRST
from qnb.measures.layers.interpreter import Interpreter
from qnb.measures.sensitivity.samples import sample_count
from qnb.numerics import Grid
from qnb.progress import Report
from qnb.sim.placement.masking import attended

if TYPE_CHECKING:
    from qnb.sim.base import SimBase
    from qnb.sim.quantizer import Quantizer


@dataclass
class NodeValues:
    """Of one node, over all that was seen; what is not finite does not count.

    Args:
        count, low, high: how many values, the least and the largest.
        mean, spread: mean and standard deviation.
    """

    count: int = 0
    low: float = math.inf
    high: float = -math.inf
    _sum: float = 0.0
    _squares: float = 0.0

    def update(self, x: Tensor) -> None:
        """``x``: float, any shape."""
        if not x.numel():
            return
        low, high = (float(v) for v in torch.aminmax(x))
        if not (math.isfinite(low) and math.isfinite(high)):
            return self.update(x[torch.isfinite(x)].flatten())
        self.low, self.high, self.count = min(self.low, low), max(self.high, high), self.count + x.numel()
        variance, mean = (float(v) for v in torch.var_mean(x, correction=0))
        self._sum += mean * x.numel()
        self._squares += (variance + mean**2) * x.numel()
        return None

    @property
    def mean(self) -> float:
        return self._sum / self.count if self.count else 0.0

    @property
    def spread(self) -> float:
        return math.sqrt(max(0.0, self._squares / self.count - self.mean**2)) if self.count else 0.0

    @property
    def span(self) -> float:
        """From the least to the largest value; 0 where none was seen."""
        return max(0.0, self.high - self.low)

    @property
    def reach(self) -> float:
        """The largest magnitude; 0 where none was seen."""
        return max(abs(self.low), abs(self.high)) if self.count else 0.0


@dataclass
class LayerSurvey(NodeValues):
    """Of a layer's output, or of a graph input.

    Args:
        channels: the largest magnitude of each channel, float32 ``[channels]``; None where they cannot be told apart.
        lows, highs: the least and the largest value of each sample, in order.
        small: how many values that are not zero lie within half a step of zero on the layer's grid.
        nonzero: how many values are not zero.
    """

    channels: Tensor | None = None
    lows: list[float] = field(default_factory=list)
    highs: list[float] = field(default_factory=list)
    small: int = 0
    nonzero: int = 0

    @property
    def vanishing(self) -> float:
        """The share of the values that are not zero and become zero on the layer's grid."""
        return self.small / self.nonzero if self.nonzero else 0.0

    def extremes(self, x: Tensor, samples: int) -> None:
        """Take the least and the largest value of each sample, where the first dimension is the samples."""
        if x.dim() and x.shape[0] == samples and x.numel():
            low, high = torch.aminmax(x.reshape(samples, -1), dim=1)
            self.lows += low.tolist()
            self.highs += high.tolist()

    def take(self, x: Tensor, channel_axis: int | None, quantizer: Quantizer | None) -> None:
        """Take all else of one batch's values ``x``."""
        self.update(x)
        if channel_axis is not None and x.dim() > 1 and x.numel():
            top = x.movedim(channel_axis, 0).reshape(x.shape[channel_axis], -1).abs().amax(1).float().cpu()
            old = self.channels
            self.channels = top if old is None or old.shape != top.shape else torch.maximum(old, top)
        if quantizer is not None and isinstance(quantizer.grid, Grid) and quantizer.scale is not None:
            size = x.abs()
            self.small += int(((size < 0.5 * quantizer.scale) & (size > 0)).sum())
            self.nonzero += int((size > 0).sum())


@dataclass(frozen=True)
class Survey:
    """What the FP32 model's values are.

    Args:
        nodes: name of a node of the reference graph -> its values; float nodes only.
        layers: name of a graph input or a layer, in graph order -> its values.
        samples: how many were seen.
    """

    nodes: dict[str, NodeValues]
    layers: dict[str, LayerSurvey]
    samples: int


def survey(sim: SimBase, batches: Iterable, closely: int = 2, progress: Report | None = None) -> Survey:
    """Look at every value of the FP32 model once.

    Args:
        sim: whose layers and grids are meant; calibrated or not. It is only read.
        batches: re-iterable, as the model takes them.
        closely: all that a `Survey` holds is taken of so many batches, of the others the extremes of each sample.
        progress: ``progress(done, total, message)`` after each batch.

    Raises:
        InputError: no batch.
    """
    batches, walk = reiterable(batches, "survey"), _Walk(sim)
    total, done = length(batches), 0
    for batch in batches:
        walk.run(sim.flatten(batch, "survey"), done < closely)
        done += 1
        if progress is not None:
            progress(done, total, "looking at FP32 values")
    if not done:
        raise InputError("survey", "the loader gave no batch", "pass at least one batch")
    return Survey(walk.nodes, {name: found for name, found in walk.layers.items() if found.count}, walk.samples)


class _Walk:
    """Runs the reference graph and takes what each node gives."""

    def __init__(self, sim: SimBase):
        self.sim, self.samples = sim, 0
        self.groups = {g.output: g for g in sim.groups}
        self.inputs = {s.nodes[0].name: s for s in sim.plan.activations.values() if s.kind == "input" and s.nodes}
        wanted = [n for n in sim.reference.graph.nodes if n.op in ("placeholder", "call_function")]
        self.interpreter = Interpreter(sim.reference, wanted)
        self.nodes: dict[str, NodeValues] = {}
        named = [site.layer for site in self.inputs.values()]
        self.layers = {name: LayerSurvey() for name in [*named, *(g.layer for g in sim.groups)]}

    def run(self, flat: list[Tensor], closely: bool) -> None:
        count = sample_count(self.sim.captured, flat)
        self.samples += count
        self.interpreter.run(flat, lambda node, value, _: self._take(node, value, count, closely))

    def _take(self, node: fx.Node, value: Any, count: int, closely: bool) -> None:
        if not isinstance(value, Tensor) or not value.is_floating_point():
            return
        group, site = self.groups.get(node.name), self.inputs.get(node.name)
        key = group.key if group is not None else site.key if site is not None else None
        if key is not None and self.sim.plan.activations[key].masked:
            value, count = value[attended(value)], 0
        if closely:
            self.nodes.setdefault(node.name, NodeValues()).update(value)
        if key is None:
            return
        found = self.layers[group.layer if group is not None else site.layer]
        found.extremes(value, count)
        if closely:
            first = value.dim() > 3 if group is None else any(name in group.op for name in CHANNEL_FIRST)
            found.take(value, 1 if first else -1, self.sim.activation(key))
