"""Cross-layer equalization: scales move between neighbours until their channels use the same range."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import pandas as pd
import torch

from qnb.arguments import whole
from qnb.columns import LAYER
from qnb.graph.attributes import attribute
from qnb.methods.auto import Auto
from qnb.methods.layerwise.layers import integer_layers
from qnb.methods.layerwise.weights import as_matrix, from_matrix, nodes, times_constant
from qnb.methods.method import method
from qnb.methods.reporting.progress import MethodProgress
from qnb.methods.reporting.result import Found
from qnb.methods.rescaling.absorb_bias import absorbable
from qnb.methods.rescaling.chains import Pair, pairs
from qnb.methods.rescaling.equalizing_scales import Ranges, settle
from qnb.methods.rescaling.reference import replace_reference
from qnb.methods.rescaling.renew import renew_encodings
from qnb.methods.rescaling.spread import Spread, spreads
from qnb.progress import Report
from qnb.text import listed

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim

OPERATION = "qnb.methods.equalize"


def _fits(sim: QuantSim, given: dict) -> None:
    whole(OPERATION, "iterations", given["iterations"])
    integer_layers(sim, given["layers"], OPERATION)


@method(
    "equalize",
    "Cross-layer equalization",
    "rescale",
    calibrated=False,
    fits=_fits,
    auto=Auto(10, removes=(0.3, 0.3), passes=4),
)
def equalize(
    sim: QuantSim,
    batches: Iterable | None = None,
    *,
    layers: str | Iterable[str] | None = None,
    absorb: bool = True,
    iterations: int = 20,
    progress: Report | None = None,
) -> Found:
    """Equalize the weights' channel ranges of layers that follow each other; the FP32 function stays the same.

    Channel i of the first layer is divided by ``s_i = sqrt(r1_i r2_i) / r2_i`` and that of the next one multiplied by
    it, so that both have the range ``sqrt(r1_i r2_i)``; over and over, as a layer in the middle (a depthwise one) is
    in two pairs. Then a high bias is absorbed where that is exact (`qnb.methods.rescaling.absorb_bias`).

    The paper puts a ReLU in the place of each ReLU6, which changes what the model computes. Here ReLU6 stays, and a
    channel that it clips keeps its scale; the others are scaled down freely, and up only so far that they stay
    below the ceiling. Elsewhere the channel that reaches furthest stays the one that does, or a nearly dead channel
    with a bias would take the grid from all others. What channels reach is seen in ``batches`` (with a quarter of
    their range to spare, and at least 3 standard deviations of a folded batch norm). Without batches it is not known
    what a ReLU6 clips: its pairs stay as they are, and no bias is absorbed.

    Args:
        sim: any; with ``batches`` it is calibrated afterwards, each quantizer by its own rule. Without them a
            calibrated sim has to be calibrated again.
        batches: as the model takes them, unlabelled.
        layers: a name, a glob or a list; a pair needs both its layers among them. None means all.
        absorb: also absorb high biases.
        iterations: at most; it stops where scales settle.

    Returns:
        `Result`; per layer ``range_ratio_before`` and ``range_ratio_after``, the largest output channel's weight range
        over the smallest's, and ``absorbed``, the channels whose bias went on. History: the largest change of a
        scale in octaves by iteration.

    Raises:
        PrecisionError: no weight on an integer grid. InputError: weights that were changed before.

    Source: Nagel et al. 2019, arXiv 1906.04721, sections 4.1.1 to 4.1.3.

    >>> import torch, qnb
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).eval()
    >>> data = [torch.randn(16, 4)]
    >>> sim = qnb.QuantSim(model, data[0], "w4a8").calibrate(data)
    >>> result = qnb.methods.equalize(sim, data)
    >>> torch.allclose(sim.reference_model(data[0]), model(data[0]), atol=1e-5)
    True
    """
    progress = MethodProgress.of(progress)
    found, notes = pairs(sim, integer_layers(sim, layers, OPERATION))
    if not found:
        return Found(notes=(*notes, "Nothing to equalize: no layer is read by exactly one other layer."))
    spread = spreads(
        sim, [p.first.node for p in found], batches, lambda: progress(0, None, "measuring channels"), OPERATION
    )
    scales, changes = settle(sim, found, spread, iterations, lambda done: progress(done, iterations, "equalizing"))
    constants = [
        absorbable(p, spread[p.first.node].divided(s)) if absorb else torch.zeros_like(s)
        for p, s in zip(found, scales, strict=True)
    ]
    before = _ratios(sim, found)
    moved = [m for m in zip(found, scales, constants, strict=True) if (m[1] != 1).any() or (m[2] > 0).any()]
    if moved:
        _apply(sim, moved)
        touched = {name for pair, *_ in moved for name in pair.between}
        if not renew_encodings(sim, touched, batches, progress):
            notes.append("Activations have another range now: call sim.calibrate(batches).")
    notes += _left_out(found, spread, absorb)
    absorbed = {p.first.layer: int((c > 0).sum()) for p, c in zip(found, constants, strict=True)}
    after = _ratios(sim, found)
    rows = [
        {
            LAYER: name,
            "range_ratio_before": before[name],
            "range_ratio_after": after[name],
            "absorbed": absorbed.get(name, 0),
        }
        for name in before
    ]
    history = pd.DataFrame({"iteration": range(len(changes)), "largest_change_octaves": changes})
    return Found(pd.DataFrame(rows), history, tuple(notes))


def _apply(sim: QuantSim, moved: list[tuple[Pair, torch.Tensor, torch.Tensor]]) -> None:
    """Per pair with s and c: ``W1 / s``, ``b1 / s - c``, ``W2 s``, ``b2 + W2 s c``; in float64, as a new reference."""
    graph, statistics = nodes(sim), {}
    names = {n for p, *_ in moved for n in (p.first.weight, p.first.bias, p.second.weight, p.second.bias) if n}
    old = {name: attribute(sim.reference, name).detach() for name in names}
    new = {name: value.double() for name, value in old.items()}
    for pair, s, c in moved:
        first, second = graph[pair.first.node], graph[pair.second.node]
        rows = as_matrix(new[pair.first.weight], first)
        new[pair.first.weight] = from_matrix(rows / s.view(*rows.shape[:2], 1, 1), first, new[pair.first.weight])
        if pair.first.bias is not None:
            new[pair.first.bias] = new[pair.first.bias] / s - c
        columns, of_inputs = as_matrix(new[pair.second.weight], second), s.repeat_interleave(pair.repeat)
        columns = columns * of_inputs.view(columns.shape[0], 1, -1, 1)
        new[pair.second.weight] = from_matrix(columns, second, new[pair.second.weight])
        if (c > 0).any():
            shift = times_constant(new[pair.second.weight], second, c.repeat_interleave(pair.repeat))
            new[pair.second.bias] = new[pair.second.bias] + shift
        if (norm := first.meta.get("folded_batch_norm")) is not None:
            gamma, beta = (norm[part].to(s.device).double() for part in ("gamma", "beta"))
            statistics[first.name] = {"gamma": gamma / s, "beta": beta / s - c}
    replace_reference(sim, {n: v.to(old[n].dtype) for n, v in new.items()}, OPERATION, statistics)


def _ratios(sim: QuantSim, found: list[Pair]) -> dict[str, float]:
    """Layer -> its largest output channel's weight range over its smallest's, channels of zeros left out."""
    names = {layer.node: layer.layer for pair in found for layer in (pair.first, pair.second)}
    result = {}
    for node, ranges in Ranges(sim, found).of.items():
        channels = ranges.amax(2).flatten()
        channels = channels[channels > 0]
        result[names[node]] = float(channels.max() / channels.min()) if len(channels) else 1.0
    return result


def _left_out(found: list[Pair], spread: Mapping[str, Spread], absorb: bool) -> list[str]:
    """What stayed as it was, in words."""
    rectified = [p for p in found if p.ceiling < torch.inf]
    clipped = {
        p.first.layer: int((spread[p.first.node].high >= p.ceiling).sum())
        for p in rectified
        if spread[p.first.node].seen
    }
    padded = [p.first.layer for p in found if not p.shifts]
    notes = []
    if rectified and not clipped:
        notes.append("Without batches it is not known what a ReLU6 clips: layers before one keep their scales.")
    if count := sum(clipped.values()):
        names = listed([layer for layer, channels in clipped.items() if channels])
        notes.append(f"Channels that a ReLU6 clips, or may clip, keep their scale: {count} in {names}.")
    if absorb and padded:
        notes.append(f"No bias is absorbed where the next layer pads with zeros: {listed(padded)}.")
    return notes
