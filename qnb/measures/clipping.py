"""Values beyond the quantizers' ranges, counted while a model runs: of an evaluation's data, not of calibration's."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor

from qnb import columns
from qnb.arguments import whole
from qnb.measures.layers.error import READ_AT_ONCE
from qnb.numerics import Grid
from qnb.sim.placement.masking import attended

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle

    from qnb.sim.base import SimBase
    from qnb.sim.quantizer import Quantizer

OPERATION = "qnb.measures.clipping.counted"
KINDS = ("input", "activation")
PASSES = 4
SHARE = 1 / 8
"""Of an evaluation's values; more would take more than a tenth of its time."""


@contextmanager
def counted(sim: SimBase, every: int = 1, most: int = 4, parts: int = 1) -> Iterator[Clipping]:
    """Count, in some of the forward passes inside, the values that activation quantizers clip.

    Looking at all values of a pass costs a quarter of the pass, three quarters where many are clipped; `sparse` says
    how to see an eighth of them, spread over an evaluation.

    Several threads may run the sim at once. Copies and snapshots of it count nothing, and neither does a compiled
    model (``torch.compile``).

    Args:
        sim: a calibrated QuantSim, or an exact simulation; what it computes stays the same.
        every: the first pass counts, and then every so many-th one.
        most: so many passes count at most.
        parts: of how many equal parts of a batch's samples (the first dimension) one counts: in the first pass that
            counts the first, then the one after it, and so on.

    Raises:
        InputError: one of these is not 1 or more.

    >>> import torch, qnb
    >>> sim = qnb.QuantSim(torch.nn.ReLU().eval(), torch.ones(1, 4), "w8a8")
    >>> sim = sim.calibrate([torch.tensor([[0.0, 1.0, 2.0, 3.0]])])
    >>> with counted(sim) as clipping:
    ...     y = sim(torch.tensor([[0.0, 2.0, 4.0, 6.0]]))
    >>> clipping.table()[["kind", "clipped_fraction", "seen_max", "max"]].head(1)
        kind  clipped_fraction  seen_max  max
    0  input               0.5       6.0  3.0
    """
    for name, value in (("every", every), ("most", most), ("parts", parts)):
        whole(OPERATION, name, value, 1)
    clipping = Clipping(sim, every, most, parts)
    try:
        clipping.open(sim)
        yield clipping
    finally:
        clipping.close()


def sparse(forwards: int | None) -> dict[str, int]:
    """Arguments of `counted` that see about `SHARE` of an evaluation, in at most four passes and a quarter of all,
    spread over it.

    Args:
        forwards: how many forward passes the evaluation takes; None where nobody knows.

    >>> sparse(3), sparse(40)
    ({'every': 3, 'most': 1, 'parts': 3}, {'every': 10, 'most': 4, 'parts': 1})
    """
    total = max(1, forwards or 4 * PASSES)
    passes = min(PASSES, math.ceil(total / 4))
    return {"every": math.ceil(total / passes), "most": passes, "parts": math.ceil(passes / (total * SHARE))}


class Clipping:
    """What was counted: `table`. Made by `counted`."""

    def __init__(self, sim: SimBase, every: int, most: int, parts: int):
        self.every, self.most, self.parts = every, most, parts
        self._sim: SimBase | None = sim
        self._handles: list[RemovableHandle] = []
        self._passes, self._here = itertools.count(), threading.local()
        self.rows: dict[str, _Row] = {}
        for key, site in sim.plan.activations.items():
            quantizer = sim.activation(key)
            counts = site.kind in KINDS and quantizer.active and isinstance(quantizer.grid, Grid)
            if counts and not quantizer.needs_calibration:
                self.rows[key] = _Row(self._here, quantizer, site.masked)
        found = {key: [site.layer] for key, site in sim.plan.activations.items() if key in self.rows}
        for group in sim.groups:
            if group.key in found and group.layer not in found[group.key]:
                found[group.key].append(group.layer)
        self._layers = [(layer, sim.plan.activations[key].kind, key) for key in found for layer in found[key]]

    def open(self, sim: SimBase) -> None:
        """Begin to watch; where nothing can be clipped there is nothing to watch."""
        if self.rows:
            self._handles.append(sim.register_forward_pre_hook(self._begin))
            self._handles.append(sim.register_forward_hook(self._end, always_call=True))
            self._handles += [row.quantizer.register_forward_pre_hook(row.see) for row in self.rows.values()]

    def close(self) -> None:
        """Watch no longer. A hook that is still somewhere, of a snapshot made meanwhile, does nothing from here on."""
        self._sim = None
        handles, self._handles = self._handles, []
        for handle in handles:
            handle.remove()

    def _begin(self, sim: Any, _: Any) -> None:
        """Before a forward pass; a snapshot has this hook too, and is another model."""
        if torch.compiler.is_compiling() or sim is not self._sim:
            return
        turn, rest = divmod(next(self._passes), self.every)
        counts = not rest and turn < self.most
        self._here.part, self._here.last = (turn % self.parts, self.parts) if counts else None, turn == self.most - 1

    def _end(self, sim: Any, *_: Any) -> None:
        """After it, whether it raised or not."""
        if torch.compiler.is_compiling() or sim is not self._sim:
            return
        counted, self._here.part = self._here.part is not None, None
        if counted and self._here.last:
            self.close()  # passes that follow run as they always do

    def __deepcopy__(self, memo: dict) -> Clipping:
        """Of a copy of the model made meanwhile: its hooks do nothing, as it is another model."""
        return self

    def table(self) -> pd.DataFrame:
        """One row per layer with an activation quantizer on an integer grid that saw values, in graph order; columns
        `qnb.columns.CLIPPING`.

        ``clipped_fraction`` is the share of the ``numel`` values seen that lie more than half a step beyond
        ``min`` to ``max``, the ends of the grid, all in the tensor's units; ``seen_min`` and ``seen_max`` are the
        extremes of those values. Masked attention scores do not count. Layers that share a quantizer have the same
        figures, of all of their values.
        """
        figures = {key: row.figures() for key, row in self.rows.items()}
        rows = [(layer, kind, *figures[key]) for layer, kind, key in self._layers if figures[key][-1]]
        return pd.DataFrame(rows, columns=list(columns.CLIPPING))


@dataclass(eq=False)
class _Row:
    """Figures of one quantizer, by call; ``here.part`` says which part of this thread's pass counts, if any.

    Appending to a list is all that threads do. On a GPU the figures stay there until they are asked for: reading them
    would wait for all that runs.
    """

    here: threading.local
    quantizer: Quantizer
    masked: bool
    seen: list[Tensor | tuple[float, float, int]] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    def __post_init__(self):
        grid, (scale, zero_point) = self.quantizer.grid, map(float, self.quantizer.encoding())
        self.low, self.high = (grid.qmin - zero_point) * scale, (grid.qmax - zero_point) * scale
        half = scale / 2
        self.least, self.largest = self.low - half, self.high + half

    def __deepcopy__(self, memo: dict) -> _Row:
        return self

    def see(self, quantizer: Quantizer, args: tuple) -> None:
        """Before the quantizer; ``args[0]`` is what it gets, which is left alone."""
        if torch.compiler.is_compiling() or (part := getattr(self.here, "part", None)) is None:
            return
        if quantizer is not self.quantizer or quantizer.observer is not None or not quantizer.active:
            return
        x = args[0].detach()
        if x.dim():
            x = x[_share(len(x), *part)]
        x = x[attended(x)] if self.masked else x
        if x.numel():
            self.seen.append(self._figures(x))
            self.sizes.append(x.numel())

    def _figures(self, x: Tensor) -> Tensor | tuple[float, float, int]:
        """(smallest, largest, how many beyond); most tensors hold none, which one pass over them says."""
        ends = torch.aminmax(x)
        if x.device.type in READ_AT_ONCE:
            smallest, largest = ends[0].item(), ends[1].item()
            below = smallest < self.least and int(torch.count_nonzero(x < self.least))
            above = largest > self.largest and int(torch.count_nonzero(x > self.largest))
            return smallest, largest, below + above
        beyond = torch.count_nonzero(x < self.least) + torch.count_nonzero(x > self.largest)
        return torch.stack([*(end.double() for end in ends), beyond.double()])

    def figures(self) -> tuple[float, float, float, float, float, int]:
        """As `qnb.columns.CLIPPING` has them behind layer and kind."""
        smallest, largest, beyond, numel = math.inf, -math.inf, 0, sum(self.sizes)
        for low, high, clipped in (f.tolist() if isinstance(f, Tensor) else f for f in list(self.seen)):
            smallest, largest, beyond = min(smallest, low), max(largest, high), beyond + int(clipped)
        return beyond / max(numel, 1), smallest, largest, self.low, self.high, numel


def _share(count: int, part: int, parts: int) -> slice:
    """One of equal parts of so many samples: next to each other, which needs no copy. At least one sample."""
    size = max(1, count // parts)
    start = part * count // parts
    return slice(start, start + size)
