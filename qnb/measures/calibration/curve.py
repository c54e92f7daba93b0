"""Ranges and the error at a model's outputs against the number of calibration samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from qnb import columns
from qnb.errors import CalibrationError, InputError
from qnb.graph.batches import reiterable
from qnb.measures.calibration.checkpoints import OPERATION, Checkpoint, calibrated_keys, checkpoints
from qnb.measures.calibration.result import CalibrationCurve, with_enough
from qnb.measures.layers.output_parts import OutputNoise, sqnr_db
from qnb.progress import Report
from qnb.sim import QuantSim

if TYPE_CHECKING:
    from qnb.sim.base import SimBase

POINTS = 10
"""So many counts at most, the largest ones: each costs a forward pass, and ten of them reach back to 1/512 of the
samples."""


def calibration_curve(
    sim: QuantSim, batches: Iterable, *, judged_on: Iterable | None = None, progress: Report | None = None
) -> CalibrationCurve:
    """How many calibration samples are enough: the ranges of the first 1, 2, 4, 8 ... of them, and what each costs at
    the model's outputs.

    Each activation is calibrated anew by its own calibration method, in one pass in which the range statistics are read
    on the way; what a range was set to since by other means (learned in training, read from a file) does not count.
    Then the outputs are simulated once for each count. Where the model's batch dimension is open, batches are cut to
    give these counts (and run a second time, whole), else the counts are those at the ends of batches.

    Args:
        sim: a calibrated QuantSim; it is not changed.
        batches: the calibration data, re-iterable, as the model takes it.
        judged_on: batches that the error at the outputs is measured on, the same for each count; ``batches`` by
            default. SQNR is that of the mean noise-to-signal ratio of the outputs' parts, as in `qnb.attribute`.
        progress: ``progress(done, total, message)`` after each batch; what it raises stops the work.

    Returns:
        The curve, and the ranges of every input and layer that follow from calibration data. At most 10 counts, the
        largest ones.

    Raises:
        CalibrationError: the sim is not calibrated, or gives values that are not finite.
        InputError: batches that do not fit, no range that follows from calibration data, or outputs without
            floating-point numbers.

    >>> import torch, qnb
    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4)).eval()
    >>> batches = [torch.randn(16, 8)]
    >>> sim = qnb.QuantSim(model, batches[0], "w8a8").calibrate(batches)
    >>> found = qnb.calibration_curve(sim, batches)
    >>> found.table.samples.tolist(), found.ranges.layer.unique().tolist()
    ([1, 2, 4, 8, 16], ['input', '0', '2'])
    """
    if not isinstance(sim, QuantSim):
        received, remedy = (
            f"a {type(sim).__name__}, which is not calibrated anew",
            "pass the QuantSim that it was made of",
        )
        raise InputError(OPERATION, received, remedy)
    if not sim.calibrated:
        raise CalibrationError(OPERATION, "the sim is not calibrated", "call sim.calibrate(batches) first")
    batches = reiterable(batches, OPERATION)
    twin = sim.copy()
    layers = list(_layers(twin, set(calibrated_keys(twin))))
    noise = OutputNoise(twin, batches if judged_on is None else reiterable(judged_on, OPERATION), progress)
    found = checkpoints(twin, batches, progress)[-POINTS:]
    levels, ranges = [], []
    for point in found:
        point.put(twin)
        ranges += [(*layer, point.samples, *_limits(twin, key)) for key, layer in layers]
        levels.append(sqnr_db(noise(twin, progress)))
    frame = pd.DataFrame(ranges, columns=list(columns.CALIBRATION_RANGES))
    order = {layer: place for place, (_, layer) in enumerate(layers)}
    frame = frame.iloc[np.argsort([order[key] for key in zip(frame.layer, frame.kind, strict=True)], kind="stable")]
    frame = frame.reset_index(drop=True)
    return CalibrationCurve(_table(found, levels, frame), frame)


def _layers(sim: SimBase, keys: set[str]) -> Iterator[tuple[str, tuple[str, str]]]:
    """(key of its quantizer, (layer, kind)) of each input and layer, in graph order; tied layers each."""
    seen = set()
    sites = [(key, site.layer, "input") for key, site in sim.plan.activations.items() if site.kind == "input"]
    for key, layer, kind in [*sites, *((g.key, g.layer, "activation") for g in sim.groups)]:
        if key in keys and (layer, kind) not in seen:
            seen.add((layer, kind))
            yield key, (layer, kind)


def _limits(sim: SimBase, key: str) -> tuple[float, float]:
    low, high = sim.activation(key).limits()
    return float(low), float(high)


def _table(found: list[Checkpoint], levels: list[float], ranges: pd.DataFrame) -> pd.DataFrame:
    spans = ranges.assign(span=ranges["max"] - ranges["min"])
    rows = []
    last = spans[spans.samples == found[-1].samples].set_index([columns.LAYER, columns.KIND]).span
    for point, level in zip(found, levels, strict=True):
        now = spans[spans.samples == point.samples].set_index([columns.LAYER, columns.KIND]).span
        shares = now / last
        least = str(shares.index[int(np.argmin(shares.to_numpy()))][0]) if len(shares) else ""
        share = (float(shares.median()), float(shares.min())) if len(shares) else (1.0, 1.0)
        rows.append((point.samples, level, *share, least, False))
    return with_enough(pd.DataFrame(rows, columns=list(columns.CALIBRATION_CURVE)))
