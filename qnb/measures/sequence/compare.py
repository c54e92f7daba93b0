"""Compare FP32 and QuantSim by token position and by attention head, in one pass."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from qnb import columns
from qnb.errors import CalibrationError, InputError
from qnb.graph.batches import length, reiterable
from qnb.measures.layers.lockstep import LayerValues, Lockstep, Visitor
from qnb.measures.sequence.energies import Energies, of_values, slots
from qnb.measures.sequence.errors import SequenceErrors
from qnb.measures.sequence.predictions import Predictions, logits_of
from qnb.measures.sequence.tokens import Tokens
from qnb.progress import Report

if TYPE_CHECKING:
    from torch import Tensor

    from qnb.sim.base import SimBase
    from qnb.sim.placement.plan import LayerGroup

OPERATION = "qnb.sequence_errors"


def sequence_errors(
    sim: SimBase, batches: Iterable, *, progress: Report | None = None, watch: Visitor | None = None
) -> SequenceErrors:
    """Compare FP32 and QuantSim by token position, by attention head, and in what they predict, in one pass.

    Token positions are the second axis of outputs ``[batch, tokens, features]`` (and of rows that are batch and tokens
    in one). How many tokens there are is known from token ids ``[batch, tokens]``; without them, from attention. Heads
    are the second axis of values ``[batch, heads, tokens, any]`` in attention. Tokens whose ``attention_mask`` is 0 and
    masked attention scores do not count. Positions from 512 on are joined, 128 to a row. Memory does not depend on the
    number of batches.

    Args:
        sim: a calibrated QuantSim.
        batches: re-iterable of tensors, tuples or dicts, as the model takes them.
        progress: called as ``progress(done, total, message)`` after each batch.
        watch: also shown every layer's `LayerValues`, in the same pass.

    Raises:
        CalibrationError: the sim is not calibrated.
        InputError: a model without token positions, found after the first batch; no batch.

    >>> import torch, qnb
    >>> model = torch.nn.Sequential(torch.nn.Embedding(10, 8), torch.nn.Linear(8, 10)).eval()
    >>> batch = torch.arange(10).reshape(2, 5)
    >>> found = qnb.sequence_errors(qnb.QuantSim(model, batch, "w8a8").calibrate([batch]), [batch])
    >>> found.positions.groupby("layer", sort=False).position.count().to_dict(), len(found.predictions)
    ({'0': 5, '1': 5}, 5)
    """
    if not sim.calibrated:
        raise CalibrationError(OPERATION, "the sim is not calibrated", "call sim.calibrate(batches) first")
    sim, batches = sim.snapshot(), reiterable(batches, OPERATION)
    gatherer, lockstep = _Gatherer(sim), Lockstep(sim)
    total, done = length(batches), 0

    def visit(values: LayerValues) -> None:
        gatherer.see(values)
        if watch is not None:
            watch(values)

    for batch in batches:
        inputs = sim.flatten(batch, OPERATION)
        gatherer.begin(inputs)
        lockstep.run(inputs, visit)
        gatherer.end()
        done += 1
        if progress is not None:
            progress(done, total, "comparing sequences")
    if not done:
        raise InputError(OPERATION, "the loader gave no batch", "pass at least one batch")
    return gatherer.errors()


class _Gatherer:
    """Sums of one pass. What attention says of the tokens is known at the end of a batch only: until then the figures
    of each layer, a few numbers for each token, wait."""

    def __init__(self, sim: SimBase):
        self.sim = sim
        self.positions, self.heads, self.predictions = Energies(), Energies(), Predictions()

    def begin(self, inputs: list[Tensor]) -> None:
        self.tokens = Tokens.of(self.sim, inputs)
        self.logits = logits_of(self.sim, self.tokens.ids)
        self.waiting: list[tuple[LayerGroup, str, int, int, Tensor]] = []

    def see(self, values: LayerValues) -> None:
        self.tokens.see(values)
        group, x = values.group, values.reference
        by_head, by_position = self.tokens.by_head(x, group.op), self.tokens.by_position(x, group.op)
        if by_head is not None:
            form = tuple(by_head.shape)
            mask = self.tokens.counted(form[0], form[2], x.device)
            figures = of_values(values, form, None if mask is None else mask[:, None]).sum((1, 3))
            self.waiting.append((group, "head", form[2], form[1], figures))
        elif by_position is not None:
            form = tuple(by_position.shape)
            figures = of_values(values, form, self.tokens.counted(form[0], form[1], x.device)).sum(1)
            self.waiting.append((group, "position", form[1], 0, figures))
        if self.logits is not None and group is self.logits[0]:
            self._predictions(values, self.logits[1])

    def _predictions(self, values: LayerValues, probabilities: bool) -> None:
        x = self.tokens.by_position(values.reference, values.group.op)
        if x is None and values.reference.dim() == 2:
            x = values.reference[:, None]  # one prediction for each sample
        if x is None:
            return
        rows = np.broadcast_to(slots(x.shape[1]), x.shape[:2])
        mask = self.tokens.counted(x.shape[0], x.shape[1], x.device)
        keep = ... if mask is None else mask
        chosen = rows.reshape(-1) if mask is None else rows[mask.cpu().numpy()]
        first, second = (
            v.reshape(x.shape)[keep].reshape(-1, x.shape[-1]) for v in (values.reference, values.simulated)
        )
        self.predictions.add(first, second, chosen, probabilities)

    def end(self) -> None:
        tokens = self.tokens
        if tokens.length is None:
            received = "a model without token positions: it takes no token ids [batch, tokens], and has no attention"
            raise InputError(OPERATION, received, "look at its layers with qnb.compare_layers(sim, batches)")
        for group, kind, long, heads, figures in self.waiting:
            if long != tokens.length:
                continue
            if kind == "position":
                self.positions.add(group, figures, slots(long))
            elif tokens.are_heads(heads):
                self.heads.add(group, figures, np.arange(heads))
        self.waiting = []

    def errors(self) -> SequenceErrors:
        order = [group.layer for group in self.sim.groups]
        return SequenceErrors(
            self.positions.table(order, columns.POSITIONS, True),
            self.heads.table(order, columns.HEADS, False),
            self.predictions.table(),
            *self.predictions.overall(),
        )
