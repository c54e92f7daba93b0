"""How far the predicted distribution moves: Kullback-Leibler divergence and agreement, by token position."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor, fx

from qnb import columns
from qnb.graph import ops
from qnb.measures.sequence.energies import ends

if TYPE_CHECKING:
    from qnb.sim.base import SimBase
    from qnb.sim.placement.plan import LayerGroup

AT_ONCE = 1 << 21
"""Logits that are in float64 at once: 16 MB."""
LEAST, MOST, PER_DECADE = -14, 4, 100
"""Divergences are counted in bins between these powers of ten: their 95th percentile is known to 1.2 %."""
BINS = (MOST - LEAST) * PER_DECADE + 2
"""The first bin is for what counts as zero, the last for what is larger or infinite."""


def divergence(reference: Tensor, simulated: Tensor, probabilities: bool = False) -> tuple[Tensor, Tensor]:
    """KL(reference || simulated) in nats, float64, and whether both predict the same class.

    Args:
        reference, simulated: logits ``[rows, classes]``.
        probabilities: they are probabilities.

    >>> kl, same = divergence(torch.tensor([[0.0, 0.0]]), torch.tensor([[math.log(3.0), 0.0]]))
    >>> round(kl.item(), 6), round(0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25), 6), same.item()
    (0.143841, 0.143841, True)
    """
    step, found = max(1, AT_ONCE // max(reference.shape[-1], 1)), []
    for start in range(0, len(reference), step):
        part = [_float64(x[start : start + step]) for x in (reference, simulated)]
        p, q = ((x / x.sum(-1, keepdim=True)).log() if probabilities else x.log_softmax(-1) for x in part)
        terms = torch.where(p == -math.inf, 0.0, p.exp() * (p - q))
        found.append(torch.nan_to_num(terms.sum(-1), nan=math.inf, posinf=math.inf).clamp(min=0.0))
    kl = torch.cat(found) if found else torch.zeros(0, dtype=torch.float64)
    return kl, reference.argmax(-1) == simulated.argmax(-1)


def _float64(x: Tensor) -> Tensor:
    return (x.cpu() if x.device.type == "mps" else x).double()


class Predictions:
    """Divergences by token position: their sum, a histogram, and how often both predict the same."""

    def __init__(self):
        self.sums, self.same = np.zeros(0), np.zeros(0, np.int64)
        self.counts = np.zeros((0, BINS), np.int64)

    def add(self, reference: Tensor, simulated: Tensor, rows: np.ndarray, probabilities: bool) -> None:
        """Logits ``[any, classes]``, and the row of each."""
        kl, same = (x.cpu().numpy() for x in divergence(reference, simulated, probabilities))
        self._grow(int(rows.max(initial=-1)) + 1)
        with np.errstate(divide="ignore"):
            bins = np.floor((np.log10(kl) - LEAST) * PER_DECADE).clip(-1, BINS - 2) + 1
        np.add.at(self.sums, rows, kl)
        np.add.at(self.same, rows, same.astype(np.int64))
        np.add.at(self.counts, (rows, bins.astype(np.int64)), 1)

    def _grow(self, rows: int) -> None:
        more = max(0, rows - len(self.sums))
        self.sums, self.same = np.pad(self.sums, (0, more)), np.pad(self.same, (0, more))
        self.counts = np.pad(self.counts, ((0, more), (0, 0)))

    def table(self) -> pd.DataFrame:
        """`qnb.columns.PREDICTIONS`, a row for each position with predictions."""
        n = self.counts.sum(1)
        figures = [self._figures(row, int(count)) for row, count in enumerate(n) if count]
        first, last = (x[n > 0] for x in ends(len(n)))
        return pd.DataFrame(
            [(int(a), int(b), *row) for a, b, row in zip(first, last, figures, strict=True)],
            columns=list(columns.PREDICTIONS),
        )

    def _figures(self, row: int, n: int) -> tuple[float, float, float, int]:
        return self.sums[row] / n, percentile(self.counts[row]), self.same[row] / n, n

    def overall(self) -> tuple[float, float, float]:
        """(mean KL, its 95th percentile, share of equal predictions) of all positions; NaN of none."""
        n = int(self.counts.sum())
        if not n:
            return math.nan, math.nan, math.nan
        return float(self.sums.sum() / n), percentile(self.counts.sum(0)), float(self.same.sum() / n)


def percentile(counts: np.ndarray, share: float = 0.95) -> float:
    """The least divergence that so many do not exceed, from the counts of the bins."""
    place = int(np.searchsorted(np.cumsum(counts), share * counts.sum() - 1e-9))
    if place in (0, BINS - 1):
        return 0.0 if place == 0 else math.inf
    return float(10 ** (LEAST + (place - 0.5) / PER_DECADE))


def logits_of(sim: SimBase, ids: bool) -> tuple[LayerGroup, bool] | None:
    """The layer whose output are logits, and whether it gives probabilities; None where no output is known to be any.

    An output called ``logits`` is, or the only one: ``[N, classes]``, or of a model of token ids what a matrix product
    or a softmax gives.
    """
    nodes = next(n for n in sim.captured.module.graph.nodes if n.op == "output").args[0]
    names = [name.rpartition(".")[2] for name in sim.captured.returned.names()]
    found = [n for n in nodes if isinstance(n, fx.Node) and _floats(n)]
    named = [n for n, name in zip(nodes, names, strict=True) if name == "logits" and n in found]
    if not named and len(found) == 1:
        made, rank = ops.maker(found[0]), found[0].meta["val"].dim()
        family = ops.of(made).family in ("linear", "matmul") or "softmax" in ops.name(made)
        named = found if rank == 2 or (rank == 3 and ids and made.op == "call_function" and family) else []
    if len(named) != 1:
        return None
    by_output, node = {g.output: g for g in sim.groups}, named[0]
    while node.name not in by_output and node.all_input_nodes:
        node = node.all_input_nodes[0]
    group = by_output.get(node.name)
    return None if group is None else (group, group.op.split("+")[-1] == "softmax")


def _floats(node: fx.Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, Tensor) and value.is_floating_point() and value.dim() in (2, 3)
