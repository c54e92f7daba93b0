"""Signal and noise of layers by token position or by head: summed in float64, whatever the number of batches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from qnb.measures.layers.lockstep import LayerValues
from qnb.sim.placement.masking import attended
from qnb.sim.placement.plan import LayerGroup

SINGLE, JOINED = 512, 128
"""Token positions that are a row each; of those behind, so many are one row."""
FIGURES = 4
"""Signal, noise, noise of the layer alone, number of values."""


def slots(length: int) -> np.ndarray:
    """The row of each token position.

    >>> slots(4).tolist(), slots(700)[[511, 512, 639, 640]].tolist()
    ([0, 1, 2, 3], [511, 512, 512, 513])
    """
    at = np.arange(length)
    return np.where(at < SINGLE, at, SINGLE + (at - SINGLE) // JOINED)


def ends(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """First and last token position of each of so many rows.

    >>> [x.tolist() for x in ends(2)], [x[-1].item() for x in ends(514)]
    ([[0, 1], [0, 1]], [640, 767])
    """
    row = np.arange(rows)
    first = np.where(row < SINGLE, row, SINGLE + (row - SINGLE) * JOINED)
    return first, np.where(row < SINGLE, row, first + JOINED - 1)


def of_values(values: LayerValues, form: tuple[int, ...], counted: Tensor | None) -> Tensor:
    """`FIGURES` of values seen as ``form``, summed over their last axis: float64 ``[FIGURES, *form[:-1]]``.

    Args:
        counted: bool, of a shape that goes with ``form[:-1]``; None for all. What is masked does not count either.
    """
    reference = values.reference.float()
    keep = attended(values.reference) if values.masked else None
    clean = (lambda x: x) if keep is None else (lambda x: torch.where(keep, x, 0.0))
    energies = [_energy(clean(reference), form)]
    for other in (values.simulated, values.own):
        energies.append(energies[-1] if other is None else _energy(clean(other.float() - reference), form))
    each = torch.full_like(energies[0], form[-1]) if keep is None else keep.reshape(form).sum(-1).double()
    found = torch.stack([*(torch.nan_to_num(e, nan=torch.inf, posinf=torch.inf) for e in energies), each])
    return found if counted is None else torch.where(counted, found, 0.0)


def _energy(x: Tensor, form: tuple[int, ...]) -> Tensor:
    return torch.linalg.vector_norm(x.reshape(form), dim=-1).double().square()


@dataclass
class Energies:
    """`FIGURES` of layers, a column for each position or head."""

    layers: dict[str, tuple[LayerGroup, np.ndarray]] = field(default_factory=dict)

    def add(self, group: LayerGroup, figures: Tensor, columns: np.ndarray) -> None:
        """Add ``figures [FIGURES, any]`` to these columns."""
        known = self.layers.get(group.layer, (group, np.zeros((FIGURES, 0))))[1]
        total = np.zeros((FIGURES, max(known.shape[1], int(columns.max(initial=-1)) + 1)))
        total[:, : known.shape[1]] = known
        np.add.at(total, (slice(None), columns), figures.cpu().numpy())
        self.layers[group.layer] = (group, total)

    def table(self, order: Iterable[str], names: tuple[str, ...], by_position: bool) -> pd.DataFrame:
        """One row for each layer, in this order, and each of its columns with values.

        Args:
            names: of the columns; see `qnb.columns.POSITIONS` and `qnb.columns.HEADS`.
        """
        parts = []
        for layer in order:
            if layer not in self.layers:
                continue
            group, total = self.layers[layer]
            signal, noise, own, numel = total
            at = ends(total.shape[1]) if by_position else (np.arange(total.shape[1]),)
            mean = np.divide(noise, numel, out=np.zeros_like(noise), where=numel > 0)
            figures = (decibels(signal, noise), decibels(signal, own), mean, numel.astype(np.int64))
            head = ([layer] * total.shape[1], [group.op] * total.shape[1])
            part = pd.DataFrame(dict(zip(names, (*head, *at, *figures), strict=True)))
            parts.append(part[numel > 0])
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(names))


def decibels(signal: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """SQNR in dB: inf where nothing was lost, -inf where a value overflowed or there is no signal; never NaN."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = 10 * np.log10(signal / noise)
    return np.where(noise == 0, np.inf, np.where(np.isfinite(noise) & (signal > 0), found, -np.inf))
