"""The input samples that a simulation does worst on; only those are kept, whatever the data's size."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor

from qnb import columns
from qnb.arguments import short, whole
from qnb.errors import CalibrationError, InputError
from qnb.graph.batches import length, reiterable
from qnb.measures.layers.error import sqnr_db
from qnb.measures.layers.lockstep import LayerValues, Lockstep
from qnb.measures.layers.predictions import predictions, sample_axis, scores
from qnb.measures.sensitivity.samples import per_sample, sample_count
from qnb.progress import Report
from qnb.sim import selection
from qnb.sim.placement.masking import attended

if TYPE_CHECKING:
    from qnb.graph.captured import Captured
    from qnb.measures.layers.lockstep import Visitor
    from qnb.sim.base import SimBase

OUTPUT, FLIPPED = "output", "flipped"
OPERATION = "worst_samples"
DTYPES = {
    **dict.fromkeys(("sample", "batch"), "int64"),
    **dict.fromkeys(("position", "fp32_prediction", "quantsim_prediction"), "Int64"),
    **dict.fromkeys((columns.SQNR_DB, "mse", "fp32_margin", "quantsim_margin"), "float64"),
    "flipped": "boolean",
}
"""Of the columns of `qnb.columns.WORST_SAMPLES`."""


@dataclass(frozen=True, eq=False)
class SamplesFound:
    """What `worst_samples` returns.

    Args:
        table: `qnb.columns.WORST_SAMPLES`, the worst first.
        inputs: for each row, the sample as a batch of one, as the model takes it.
        seen: how many samples there were.
        flipped: how many predictions flipped among them; None where the outputs are no scores.
    """

    table: pd.DataFrame
    inputs: tuple[Any, ...]
    seen: int
    flipped: int | None


def worst_samples(
    sim: SimBase,
    batches: Iterable,
    by: str = OUTPUT,
    count: int = 12,
    *,
    progress: Report | None = None,
    watch: Visitor | None = None,
) -> SamplesFound:
    """Find the input samples with the largest error, in one pass over the data.

    Args:
        sim: a calibrated QuantSim.
        batches: re-iterable, as the model takes them.
        by: ``"output"``: the lowest SQNR over all of the model's float outputs. A layer's name: the lowest SQNR there.
            ``"flipped"``: only samples whose prediction (argmax over the last dimension of the first float output) is
            not FP32's, those first whose prediction led by most in FP32.
        count: how many to keep, at most.
        progress: ``progress(done, total, message)`` after each batch.
        watch: called with every layer's `LayerValues`.

    Raises:
        InputError: there is no such layer, its values do not belong to one sample each, or predictions are asked for
            where the outputs are no scores.

    >>> import qnb
    >>> model, x = torch.nn.Linear(4, 3).eval(), torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    >>> found = worst_samples(qnb.QuantSim(model, x, "w4a4", target="generic").calibrate([x]), [x], count=2)
    >>> len(found.table), found.inputs[0].shape, found.seen
    (2, torch.Size([1, 4]), 8)
    """
    if not sim.calibrated:
        raise CalibrationError(OPERATION, "the sim is not calibrated", "call sim.calibrate(batches) first")
    sim, batches = sim.snapshot(), reiterable(batches, OPERATION)
    search, total = _Search(sim, by, count), length(batches)
    done = 0
    for done, batch in enumerate(batches, 1):
        search.batch(sim.flatten(batch, OPERATION), watch)
        if progress is not None:
            progress(done, total, "looking for the worst samples")
    if not done:
        raise InputError(OPERATION, "the loader gave no batch", "pass at least one batch")
    return search.found()


class _Search:
    """Keeps the worst samples seen so far, their inputs copied out of their batches."""

    def __init__(self, sim: SimBase, by: str, count: int):
        whole(OPERATION, "count", count)
        self.sim, self.by, self.count = sim, by, count
        self.layer = layer_of(sim, by)
        nodes = sim.captured.module.graph.nodes
        self.shapes = {n.name: n.meta.get("shape") for n in nodes}
        returned = next(n for n in nodes if n.op == "output").args[0]
        self.output_shapes = [getattr(n, "meta", {}).get("shape") for n in returned]
        self.lockstep = Lockstep(sim, own=False)
        self.kept: list[tuple[float, dict[str, Any], Any]] = []
        self.seen = self.batches = 0
        self.flipped: int | None = None

    def batch(self, flat: list[Tensor], watch: Visitor | None) -> None:
        count = sample_count(self.sim.captured, flat)
        energies: list[tuple[Tensor, Tensor]] = []

        def visit(values: LayerValues) -> None:
            if watch is not None:
                watch(values)
            if values.group.layer == self.layer:
                keep = attended(values.reference) if values.masked else None
                shape = self.shapes.get(values.group.output)
                energies.append(_energies(values.reference, values.simulated, keep, shape, count))

        reference, simulated = self.lockstep.run(flat, visit)
        if self.layer is None:
            for x, y, shape in zip(reference, simulated, self.output_shapes, strict=True):
                if isinstance(x, Tensor) and x.is_floating_point():
                    energies.append(_energies(x, y, None, shape, count))
        self._take(flat, count, energies, self._predictions(reference, simulated, count))

    def _predictions(self, reference: tuple, simulated: tuple, count: int) -> list[dict[str, Any]]:
        which = scores(reference, self.output_shapes, count)
        if which is None:
            if self.by == FLIPPED:
                received = "a model whose first float output has no scores in its last dimension"
                raise InputError(OPERATION, received, "use by='output', or the name of a layer")
            return [{}] * count
        x, y = reference[which], simulated[which]
        axis = sample_axis(x, self.output_shapes[which], count)
        rows = predictions(x, y, axis or 0, count)
        self.flipped = (self.flipped or 0) + sum(row["flipped"] for row in rows)
        return rows

    def _take(self, flat: list[Tensor], count: int, energies: list, predicted: list[dict[str, Any]]) -> None:
        if not energies or any(len(e[0]) != count for e in energies):
            what = "no float output" if not energies else "values that do not belong to one input sample each"
            where = f"layer {self.layer!r}" if self.layer else "the model"
            raise InputError(OPERATION, f"{where}, which has {what}", "name another layer, or pass batches of one")
        signal, noise = (sum(side).tolist() for side in zip(*((e[0], e[1]) for e in energies), strict=True))
        numel = sum(e[2] for e in energies) / count
        found = []
        for i, prediction in enumerate(predicted):
            if self.by == FLIPPED and not prediction["flipped"]:
                continue
            db = sqnr_db(signal[i], noise[i])
            row = {"sample": self.seen + i, "batch": self.batches, columns.SQNR_DB: db, "mse": noise[i] / numel}
            found.append((-prediction["fp32_margin"] if self.by == FLIPPED else db, row | prediction, i))
        captured = self.sim.captured
        kept = sorted([(k, r, s, True) for k, r, s in self.kept] + [(*f, False) for f in found], key=lambda e: e[0])
        self.kept = [(k, r, s if old else one(captured, flat, s, count)) for k, r, s, old in kept[: self.count]]
        self.seen, self.batches = self.seen + count, self.batches + 1

    def found(self) -> SamplesFound:
        table = pd.DataFrame([row for _, row, _ in self.kept], columns=list(columns.WORST_SAMPLES)).astype(DTYPES)
        return SamplesFound(table, tuple(sample for _, _, sample in self.kept), self.seen, self.flipped)


def layer_of(sim: SimBase, by: str) -> str | None:
    """The layer that ``by`` names; None where it asks for outputs or flipped predictions.

    Raises:
        InputError: it names none, or several.
    """
    if not isinstance(by, str):
        raise InputError(OPERATION, f"by={short(by)}", "use 'output', 'flipped', or the name of a layer")
    if by in (OUTPUT, FLIPPED):
        return None
    found = sorted(selection.layers([g.layer for g in sim.groups], by, OPERATION))
    if len(found) > 1:
        raise InputError(OPERATION, f"by={short(by)}, which {len(found)} layers match", f"name one: {found[0]!r}")
    return found[0]


def one(captured: Captured, flat: list[Tensor], index: int, count: int) -> Any:
    """One sample of a batch as a batch of its own, as the model takes it; a copy."""
    leaves = [x[index : index + 1].clone() if x.dim() and x.shape[0] == count else x.clone() for x in flat]
    args, named = captured.called.build(leaves)
    if not named:
        return args[0] if len(args) == 1 else tuple(args)
    return dict(zip(captured.parameters, args, strict=False)) | named


def _energies(x: Tensor, y: Tensor, keep: Tensor | None, shape: Any, count: int) -> tuple[Tensor, Tensor, int]:
    """Energy of FP32 values and of the error for each sample; how many values there are."""
    signal, noise = x.float(), y.float() - x.float()
    if keep is not None:
        signal, noise = torch.where(keep, signal, 0.0), torch.where(keep, noise, 0.0)
    return per_sample(signal.square(), count, shape), per_sample(noise.square(), count, shape), x.numel()
