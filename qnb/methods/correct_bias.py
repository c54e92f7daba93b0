"""Bias correction: rounding weights shifts each channel's mean; the bias compensates for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pandas as pd
import torch

from qnb.columns import LAYER
from qnb.errors import InputError
from qnb.graph import ops
from qnb.graph.attributes import attribute
from qnb.methods.auto import Auto
from qnb.methods.layerwise.expectation import expected
from qnb.methods.layerwise.frontier import Frontier, Segment
from qnb.methods.layerwise.layers import WeightedLayer, integer_layers
from qnb.methods.layerwise.weights import by_channel, channel_axis, nodes, put, sole_readers, times_constant
from qnb.methods.method import method
from qnb.methods.reporting.progress import MethodProgress
from qnb.methods.reporting.result import Found
from qnb.progress import Report
from qnb.sim.calibration import guard_bias_overflow
from qnb.text import listed

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim

OPERATION = "qnb.methods.correct_bias"


def _fits(sim: QuantSim, given: dict) -> None:
    if given["batches"] is None and not given["analytic"]:
        raise InputError(OPERATION, "neither batches nor analytic=True", "pass batches, or analytic=True")
    integer_layers(sim, given["layers"], OPERATION)


@method("correct_bias", "Bias correction", "correct", fits=_fits, auto=Auto(30, removes=(0.2, 0.1), passes=8))
def correct_bias(
    sim: QuantSim,
    batches: Iterable | None = None,
    *,
    analytic: bool = False,
    layers: str | Iterable[str] | None = None,
    progress: Report | None = None,
) -> Found:
    """Correct each layer's bias by the mean error of its output: ``b += E[FP32 output] - E[quantized output]``.

    Empirical: layer after layer, the inputs being what the layers before give, quantized and already corrected; the
    mean is taken before the activation, per output channel, over all batches. An int32 bias leaves up to half its step.
    Analytic: ``b += (W - W_q) E[x]`` with ``E[x]`` from the batch norm folded into the layer before, without data:
    of a normal with mean beta and standard deviation gamma, clipped where a ReLU or ReLU6 follows. Layers whose
    input no batch norm describes stay as they are.

    Args:
        sim: calibrated.
        batches: as the model takes them, unlabelled; without ``analytic`` they are needed.
        analytic: use batch norm statistics in place of data (batches then only measure before and after).
        layers: a name, a glob or a list; None means all.

    Returns:
        `Result`; per layer ``bias_shift``, the root mean square of the correction over channels, in the units of
        the layer's output.

    Raises:
        PrecisionError: no weight on an integer grid. InputError: neither batches nor ``analytic``.

    Source: Nagel et al. 2019, arXiv 1906.04721, section 4.2.

    >>> import torch, qnb
    >>> model = torch.nn.Linear(8, 4).eval()
    >>> data = [torch.rand(64, 8)]
    >>> sim = qnb.QuantSim(model, data[0], "w3a8").calibrate(data)
    >>> result = qnb.methods.correct_bias(sim, data)
    >>> torch.allclose(sim(data[0]).mean(0), model(data[0]).mean(0), atol=2e-3)
    True
    """
    progress = MethodProgress.of(progress)
    alone = sole_readers(sim)
    chosen = integer_layers(sim, layers, OPERATION)
    with_bias = [layer for layer in chosen if layer.bias is not None and alone.get(layer.bias)]
    without = [layer.layer for layer in chosen if layer not in with_bias]
    notes = [f"Not corrected, as these layers have no bias: {listed(without)}."] if without else []
    if analytic:
        shifts, more = _analytic(sim, with_bias, progress)
        notes += more
    else:
        shifts = _empirical(sim, with_bias, batches, progress)
    guard_bias_overflow(sim)
    rows = pd.DataFrame([{LAYER: name, "bias_shift": rms} for name, rms in shifts.items()])
    return Found(rows, rows, tuple(notes))


def _empirical(sim: QuantSim, chosen: list[WeightedLayer], batches: Iterable, progress: Report) -> dict[str, float]:
    shifts: dict[str, float] = {}
    walk = Frontier(
        sim, batches, operation=OPERATION, tick=lambda: progress(len(shifts), len(chosen), "correcting biases")
    )
    for layer in chosen:
        walk.advance(layer.node)
        segment = walk.segment(layer.node)
        shifts[layer.layer] = _correct(sim, layer, attribute(sim.graph_module, layer.bias), _mean_error(segment))
    return shifts


def _mean_error(segment: Segment) -> torch.Tensor:
    """``E[FP32] - E[quantized]`` of one layer, float64 ``[channels]``."""
    axis, total, count = channel_axis(segment.output), 0.0, 0
    with torch.no_grad():
        for batch in range(segment.count):
            segment.frontier.tick()
            error = by_channel(segment.target(batch) - segment.run(segment.values(batch)), axis)
            total, count = total + error.double().sum(1), count + error.shape[1]
    return total / count


def _analytic(sim: QuantSim, chosen: list[WeightedLayer], progress: Report) -> tuple[dict[str, float], list[str]]:
    graph, shifts, unknown = nodes(sim), {}, []
    for done, layer in enumerate(chosen):
        progress(done, len(chosen), "correcting biases")
        node = graph[layer.node]
        mean = expected(sim.captured.module, node.args[ops.of(node).data])
        if mean is None or channel_axis(node) != 1:
            unknown.append(layer.layer)
            continue
        weight = attribute(sim.graph_module, layer.weight).detach()
        error = attribute(sim.reference, layer.weight).detach() - sim.weight(layer.weight_key)(weight).detach()
        shift = times_constant(error.double(), node, mean.to(error.device))
        shifts[layer.layer] = _correct(sim, layer, attribute(sim.reference, layer.bias), shift)
    return shifts, [f"No batch norm describes the input of {listed(unknown)}."] if unknown else []


def _correct(sim: QuantSim, layer: WeightedLayer, bias: torch.Tensor, shift: torch.Tensor) -> float:
    """Put ``bias + shift`` into the sim; returns the shift's root mean square."""
    put(sim, layer.bias, bias.detach().double() + shift)
    return float(shift.square().mean().sqrt())
