"""Batch norm re-estimation: the statistics of folded batch norms are measured again, with quantized weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import fx

from qnb.columns import LAYER
from qnb.graph import ops
from qnb.graph.attributes import attribute
from qnb.methods.layerwise.frontier import Frontier, Segment
from qnb.methods.layerwise.layers import WeightedLayer, integer_layers
from qnb.methods.layerwise.weights import as_matrix, by_channel, channel_axis, from_matrix, nodes, put, sole_readers
from qnb.methods.method import method
from qnb.methods.reporting.progress import MethodProgress
from qnb.methods.reporting.result import Found
from qnb.progress import Report
from qnb.sim.calibration import guard_bias_overflow
from qnb.text import listed

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim

OPERATION = "qnb.methods.reestimate_batch_norm"
LOST = 0.1
"""A channel that has less than this part of its standard deviation left was rounded away: there is nothing to scale."""


def _fits(sim: QuantSim, given: dict) -> None:
    integer_layers(sim, given["layers"], OPERATION)


@method("reestimate_batch_norm", "Batch norm re-estimation", "correct", fits=_fits)
def reestimate_batch_norm(
    sim: QuantSim, batches: Iterable, *, layers: str | Iterable[str] | None = None, progress: Report | None = None
) -> Found:
    """Normalize each quantized layer by its own moments again, where a batch norm was folded into it.

    Folding left ``y = gamma (W x - mean) / sqrt(variance + eps) + beta``, with statistics of FP32 weights: over the
    training data y has mean beta and standard deviation ``|gamma|``. The quantized layer's output ``y_q`` has another
    mean M and standard deviation S. Normalizing it as the batch norm would, ``y_q' = |gamma| (y_q - M) / S + beta``, is
    folded in: with ``f = |gamma| / S``, weight and weight scale become f times as large (codes stay), and the bias b
    becomes ``f (b - M) + beta``. Layer after layer, on inputs that the layers before give, re-estimated themselves.

    M and S are those of the training data, but a few hundred samples are at hand, whose own moments differ from it: by
    a tenth of a standard deviation on the digits demo, more than 8 bits lose. FP32 on the same samples (moments m, s)
    shows by how much, and serves as control variate: ``M = m_q + (beta - m)`` and ``S = s_q |gamma| / s``. Where
    nothing is quantized, nothing changes, whatever the samples.

    A weight with one scale for several channels cannot have a factor for each and keep its codes, nor can a frozen one;
    there only the mean is re-estimated (f = 1), as it is in channels that rounding left nearly constant.

    Args:
        sim: calibrated, of a model with batch norms.
        batches: as the model takes them, unlabelled.
        layers: a name, a glob or a list; None means all.

    Returns:
        `Result`; per layer ``mean_shift`` and ``scale_change``, root mean squares over channels: of what was
        added to the mean, in the units of the output, and of ``f - 1``.

    Raises:
        PrecisionError: no weight on an integer grid.

    Source: Nagel et al. 2022, arXiv 2203.11086, section 4 (there during training).
    """
    progress = MethodProgress.of(progress)
    graph, alone = nodes(sim), sole_readers(sim)
    normed = [x for x in integer_layers(sim, layers, OPERATION) if "folded_batch_norm" in graph[x.node].meta]
    chosen = [x for x in normed if x.bias is not None and alone[x.bias] and alone[x.weight]]
    notes = [] if normed else ["No batch norm was folded into these layers: there is nothing to re-estimate."]
    means_only = [x.layer for x in chosen if not _scales_by_channel(sim, x, graph[x.node])]
    if means_only:
        why = "With one weight scale for several channels, or a frozen one, only means are re-estimated"
        notes.append(f"{why}: {listed(means_only)}.")
    rows: list[dict] = []
    walk = Frontier(
        sim, batches, operation=OPERATION, tick=lambda: progress(len(rows), len(chosen), "re-estimating batch norms")
    )
    for layer in chosen:
        walk.advance(layer.node)
        segment = walk.segment(layer.node)
        change = _refold(sim, layer, graph[layer.node], moments(segment), moments(segment, reference=True))
        rows.append({LAYER: layer.layer, **change})
    guard_bias_overflow(sim)
    return Found(pd.DataFrame(rows), pd.DataFrame(rows), tuple(notes))


def moments(segment: Segment, reference: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance of each channel over all batches, float64; of the simulation, or of FP32."""
    axis, count = channel_axis(segment.output), 0
    mean = scatter = torch.zeros((), dtype=torch.float64)
    with torch.no_grad():
        for batch in range(segment.count):
            segment.frontier.tick()
            values = by_channel(segment.run(segment.values(batch, reference), reference=reference), axis).double()
            new, own = values.shape[1], values.mean(1)
            step, total = own - mean, count + new
            scatter = scatter + (values - own[:, None]).square().sum(1) + step.square() * (count * new / total)
            mean, count = mean + step * (new / total), total
    return mean, scatter / count


def _refold(sim: QuantSim, layer: WeightedLayer, node: fx.Node, quantized: tuple, exact: tuple) -> dict[str, float]:
    """``f (y_q - M) + beta`` in the place of ``y_q``; from both models' ``(mean, variance)`` on the same samples."""
    (mean_q, variance_q), (mean, variance) = quantized, exact
    norm = node.meta["folded_batch_norm"]
    gamma, beta, trained = (norm[part].to(mean.device).double() for part in ("gamma", "beta", "variance"))
    eps = norm["eps"] * gamma.square() / (trained + norm["eps"])  # in units of the folded output
    factor = torch.sqrt((variance + eps) / (variance_q + eps))
    lost = variance_q <= LOST**2 * variance
    if not _scales_by_channel(sim, layer, node):
        lost = torch.ones_like(lost)
    factor = torch.where(lost, 1.0, factor)
    bias = attribute(sim.graph_module, layer.bias).detach().double()
    put(sim, layer.bias, factor * (bias - (mean_q + beta - mean)) + beta)
    if not lost.all():
        _scale_weight(sim, layer, node, factor)
    shift = factor * (mean - beta) + beta - mean_q
    return {"mean_shift": _rms(shift), "scale_change": _rms(factor - 1)}


def _rms(x: torch.Tensor) -> float:
    return float(x.square().mean().sqrt())


def _scales_by_channel(sim: QuantSim, layer: WeightedLayer, node: fx.Node) -> bool:
    """Whether each output channel has weight scales of its own, which may change."""
    quantizer = sim.weight(layer.weight_key)
    shared_by_groups = ops.of(node).family == "transposed convolution" and ops.groups(node) > 1
    return quantizer.axis is not None and not shared_by_groups and not quantizer.frozen


def _scale_weight(sim: QuantSim, layer: WeightedLayer, node: fx.Node, factor: torch.Tensor) -> None:
    """``W f`` and ``scale f``, of the same codes."""
    weight, quantizer = attribute(sim.graph_module, layer.weight).detach(), sim.weight(layer.weight_key)
    rows = as_matrix(weight.double(), node)
    put(sim, layer.weight, from_matrix(rows * factor.view(*rows.shape[:2], 1, 1), node, weight))
    shape = [1] * quantizer.scale.dim()
    shape[layer.site.axis if quantizer.scale.dim() > 1 else 0] = -1  # pyright: ignore[reportCallIssue]
    scale = quantizer.scale.detach().double() * factor.view(shape)
    quantizer.set_encoding(scale.to(quantizer.scale.dtype), quantizer.zero_point)
    quantizer.minimum, quantizer.maximum = (end.detach() for end in quantizer.limits())  # for changes of precision
