"""Where a model's output error comes from: layer by layer, and whether from weights, activations or biases."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from qnb import columns
from qnb.errors import CalibrationError, InputError
from qnb.graph.batches import length, reiterable
from qnb.measures.attribution.gradients import OPERATION
from qnb.measures.attribution.result import Attribution
from qnb.measures.attribution.sweep import Row, Sweep
from qnb.measures.attribution.units import Units
from qnb.measures.layers.error import sqnr_db as decibel
from qnb.measures.layers.output_parts import Part, energies, output_parts, sqnr_db
from qnb.progress import Report

if TYPE_CHECKING:
    from qnb.sim.base import SimBase

PASSES = 11
"""How often an op is computed at most, forward or backward: 1 for the outputs' energies, 2 for FP32 and simulated
values, 4 for gradients at two places, 1 in between for elementwise ops, and 3 for each layer with simulated inputs,
then simulated weights, then biases."""


def attribute(sim: SimBase, batches: Iterable, *, progress: Report | None = None) -> Attribution:
    """Which layers the error at a model's outputs comes from, and whether from weights, activations or biases.

    At each layer the error is split into what it inherits and what its quantized weight, its quantized bias and its
    output quantizer add. The gradient at the layer's output, on the way from FP32 to simulated values
    (integrated gradients, arXiv 1703.01365), says what an added error does to the model's outputs. Its share is the
    part of the error's energy there that it accounts for. Shares are negative where errors cancel others. There
    are no random numbers, and nothing is left over but ``residual``.

    The outputs' error is the mean noise-to-signal ratio of their parts: an output that joins scores and boxes counts
    as two (see `qnb.measures.layers.output_parts`). Masked attention scores, and values that are not finite in FP32, do
    not count.

    A quantized constant counts as a weight of the layer that reads it. What a recovery method changed in a weight or
    bias counts as error of that weight or bias. Where a sim computes in a runtime's integers, or a recurrent layer step
    by step with quantizers inside, what that changes counts as activation error.

    Args:
        sim: a calibrated QuantSim or exact simulation; it is not changed.
        batches: re-iterable, as the model takes them, the same in each pass. There are two passes.
        progress: ``progress(done, total, message)`` after each batch; what it raises stops the work.

    Returns:
        The shares of every input and layer, and what they leave unexplained. The number of passes does not depend on
        the number of layers. Of one batch at a time all FP32 and simulated values are kept.

    Raises:
        CalibrationError: the sim is not calibrated.
        InputError: batches that do not fit; outputs without floating-point numbers; an op without a gradient.

    >>> import torch, qnb
    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4)).eval()
    >>> batches = [torch.randn(16, 8)]
    >>> sim = qnb.QuantSim(model, batches[0], "w4a8").calibrate(batches)
    >>> found = qnb.attribute(sim, batches)
    >>> found.table.layer.tolist(), abs(found.residual) < 0.01
    (['input', '0', '2'], True)
    """
    if not sim.calibrated:
        raise CalibrationError(OPERATION, "the sim is not calibrated", "call sim.calibrate(batches) first")
    sim, batches = sim.snapshot(), reiterable(batches, OPERATION)
    count, done = length(batches), 0

    def each(message: str) -> Iterator:
        nonlocal done
        for batch in batches:
            yield sim.flatten(batch, OPERATION)
            done += 1
            if progress is not None:
                progress(done, None if count is None else 2 * count, message)

    parts = output_parts(sim)
    signals = sum((energies(sim, parts, inputs) for inputs in each("running FP32")), np.zeros(len(parts)))
    if not done:
        raise InputError(OPERATION, "the loader gave no batch", "pass at least one batch")
    used: list[tuple[Part, float]] = [(p, float(s)) for p, s in zip(parts, signals, strict=True) if s > 0]
    if not used:
        received = "a model whose outputs are not floating-point numbers, or are all zero"
        raise InputError(OPERATION, received, "return logits in place of classes")
    sweep = Sweep(Units(sim), used)
    for inputs in each("attributing the error"):
        sweep.batch(inputs)
    ratios = np.array([float(noise) / signal for noise, (_, signal) in zip(sweep.noises, used, strict=True)])
    return _result(sweep, ratios)


def _result(sweep: Sweep, ratios: np.ndarray) -> Attribution:
    whole = float(ratios.sum())
    rows = [_row(layer, op, row, whole) for (layer, op), row in sweep.rows.items()]
    table = pd.DataFrame(rows, columns=list(columns.ATTRIBUTION))
    residual = 1.0 - float(table[columns.OUTPUT_SHARE].sum()) if whole > 0 else 0.0
    return Attribution(table, residual, sqnr_db(ratios), PASSES)


def _row(layer: str, op: str, row: Row, whole: float) -> tuple:
    signal, inherited, added = (float(x) for x in (row.signal, row.inherited, row.added))
    shares = [float(x) / whole if 0 < whole < np.inf else 0.0 for x in (row.weight, row.activation, row.bias)]
    return layer, op, decibel(signal, inherited), decibel(signal, added), *shares, sum(shares)
