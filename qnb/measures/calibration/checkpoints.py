"""Ranges as they are after so many calibration samples, all from one pass: range statistics are read while they grow.

A min-max or a histogram does not depend on how its data came in batches, and a calibration method reads it without
changing it. So no second pass is needed.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from qnb.errors import CalibrationError, InputError
from qnb.graph.batches import length
from qnb.measures.sensitivity.samples import sample_count
from qnb.numerics import Grid
from qnb.progress import Report
from qnb.ranges import RULES
from qnb.sim import calibration

if TYPE_CHECKING:
    from qnb.graph.captured import Captured
    from qnb.sim.base import SimBase
    from qnb.sim.calibration import Watch

OPERATION = "qnb.calibration_curve"


@dataclass(frozen=True)
class Checkpoint:
    """Ranges after the first calibration samples.

    Args:
        samples: how many.
        ranges: key of an activation quantizer to (low, high), float32 of shape ``()``.
    """

    samples: int
    ranges: dict[str, tuple[Tensor, Tensor]]

    def put(self, sim: SimBase) -> None:
        """Give a sim, the one that was calibrated, the encodings that a calibration with these samples ends with."""
        calibration.restore_weight_ranges(sim, set())  # the guard may have raised some for other activations
        for key, (low, high) in self.ranges.items():
            calibration.activation_encoding(sim, key, low, high)
        calibration.guard_bias_overflow(sim)


def calibrated_keys(sim: SimBase) -> list[str]:
    """Keys of the activation quantizers whose ranges follow from calibration data."""
    quantizers = {key: sim.activation(key) for key in sim.plan.activations}
    return [
        key
        for key, q in quantizers.items()
        if q.rule is not None and isinstance(q.grid, Grid) and not q.frozen and sim.plan.activations[key].fixed is None
    ]


@torch.no_grad()
def checkpoints(sim: SimBase, batches: Iterable, progress: Report | None = None) -> list[Checkpoint]:
    """Ranges after 1, 2, 4, 8 ... samples, and after all, each by its quantizer's own calibration method.

    A batch inside of which such a number is reached is run twice: first cut there, then whole, so that what follows is
    what calibration sees, to the bit. Where the model's batch dimension is fixed, or its inputs' first dimensions are
    not one, the ends of batches count.

    Args:
        sim: calibrated, and the caller's own: weights get the encodings that they have while activations are watched,
            and statistics are new.

    Raises:
        CalibrationError: no batch, or values that are not finite.
        InputError: no range that follows from calibration data.
    """
    keys = calibrated_keys(sim)
    if not keys:
        received = "a simulation without ranges that calibration data sets"
        raise InputError(OPERATION, received, "take one with integer activations that calibrate() gave their ranges")
    total, seen = length(batches), 0
    found: list[Checkpoint] = []

    def tell(done: int) -> None:
        if progress is not None:
            progress(done, total, "collecting ranges")

    calibration.weight_ranges(sim)
    rules = {key: RULES[sim.activation(key).rule[0]] for key in keys}
    with calibration.observers(sim, rules, OPERATION) as watch:
        for watch.batch, batch in enumerate(batches):
            flat = sim.flatten(batch, OPERATION)
            count = sample_count(sim.captured, flat)
            due = [n - seen for n in _powers(seen + count) if n > seen]
            cuts = [n for n in due if n < count] if _is_open(sim.captured) else []
            for rows, ranges in _inside(sim, watch, flat, cuts):
                found.append(Checkpoint(seen + rows, ranges))
                tell(watch.batch)
            sim.run_flat(flat)
            seen += count
            if len(due) > len(cuts):
                found.append(Checkpoint(seen, _ranges(sim, watch)))
            tell(watch.batch + 1)
        if not seen:
            raise CalibrationError(OPERATION, "the loader gave no batch", "pass at least one batch")
        if found[-1].samples < seen:
            found.append(Checkpoint(seen, _ranges(sim, watch)))
    return found


def _powers(most: int) -> list[int]:
    return [1 << i for i in range(most.bit_length())]


def _is_open(captured: Captured) -> bool:
    """Whether batches may be cut: the inputs' first dimensions vary as one, down to 1."""
    firsts = {i.shape[0] for i in captured.inputs if i.shape and isinstance(i.shape[0], str)}
    return len(firsts) == 1 and all(captured.limits.get(name, (1, 0))[0] <= 1 for name in firsts)


def _inside(sim: SimBase, watch: Watch, flat: list[Tensor], cuts: list[int]) -> Iterator[tuple[int, dict]]:
    """(rows, ranges after so many rows of this batch); the statistics are as before."""
    if not cuts:
        return
    whole, watch.seen = watch.seen, copy.deepcopy(watch.seen)
    varying = [bool(i.shape) and isinstance(i.shape[0], str) for i in sim.captured.inputs]
    for start, end in zip([0, *cuts], cuts, strict=False):
        sim.run_flat([x[start:end] if v else x for x, v in zip(flat, varying, strict=True)])
        yield end, _ranges(sim, watch)
    watch.seen = whole


def _ranges(sim: SimBase, watch: Watch) -> dict[str, tuple[Tensor, Tensor]]:
    found = {}
    for key, statistics in watch.seen.items():
        quantizer = sim.activation(key)
        if statistics.count:
            method, options = quantizer.rule
            found[key] = RULES[method](statistics, quantizer.grid, **options)
    return found
