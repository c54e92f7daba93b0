"""Sequential MSE: weight ranges that keep each layer's output, one layer after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import torch

from qnb.arguments import whole
from qnb.columns import LAYER
from qnb.graph.attributes import attribute
from qnb.methods.auto import Auto, with_integer_weights
from qnb.methods.layerwise.frontier import Frontier
from qnb.methods.layerwise.layers import integer_layers
from qnb.methods.layerwise.reconstruction import Reconstruction, reconstruction
from qnb.methods.layerwise.unfold import Product, by_element, products
from qnb.methods.method import method
from qnb.methods.reporting.progress import MethodProgress
from qnb.methods.reporting.result import Found
from qnb.numerics import Grid, affine_parameters, fake_quantize
from qnb.progress import Report
from qnb.ranges import tensor_range
from qnb.sim.calibration import guard_bias_overflow
from qnb.sim.quantizer import WeightQuantizer

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim

OPERATION = "qnb.methods.seq_mse"


def _fits(sim: QuantSim, given: dict) -> None:
    whole(OPERATION, "candidates", given["candidates"], 2)
    integer_layers(sim, given["layers"], OPERATION)


@method(
    "seq_mse", "Sequential MSE", "range", fits=_fits, auto=Auto(40, with_integer_weights, removes=(0.4, 0.0), passes=60)
)
def seq_mse(
    sim: QuantSim,
    batches: Iterable,
    *,
    layers: str | Iterable[str] | None = None,
    candidates: int = 20,
    progress: Report | None = None,
) -> Found:
    """Choose each weight range so that the layer's output, on what the layers before it give, is nearest to FP32.

    Layer by layer in graph order, ranges ``i / candidates`` of min-max are tried, per tensor, channel or block as the
    grid is, and the one with the least ``|Q(W) x' - W x|^2`` is taken, where x' comes from the layers before, already
    quantized, and x from FP32. Ranges are clipped at both ends alike. The range that a layer has is among those tried,
    so no output channel ends with a larger error on these batches.

    The error is taken before the activation: there it is a sum of squares per output channel, so that with
    ``G = x' x'^T`` at hand every candidate is judged without running the layer. Blocks of one channel add to one
    output; they are chosen one after the other, each given what the others have at that time.

    Args:
        batches: unlabelled, as the model takes them.
        layers: a name, a glob or a list of them; None means all.
        candidates: how many ranges to try.

    Raises:
        InputError: fewer than two candidates. PrecisionError: no integer weights.

    Source: AIMET's SeqMSE, which follows from AdaRound's layer-by-layer setting (Nagel et al. 2020, arXiv 2004.10568).

    >>> import torch, qnb
    >>> model, x = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 4)).eval(), torch.randn(64, 8)
    >>> sim = qnb.QuantSim(model, x, "w4a8").calibrate([x])
    >>> result = qnb.methods.seq_mse(sim, [x])
    >>> bool((result.table.fit_after_db >= result.table.fit_before_db).all())
    True
    """
    progress = MethodProgress.of(progress)
    chosen = integer_layers(sim, layers, OPERATION)
    free = [layer for layer in chosen if not sim.weight(layer.weight_key).frozen]
    found, notes = products(sim, [layer for layer in free if sim.weight(layer.weight_key).grid.bits < 16])
    if len(found) + len(notes) < len(free):
        notes.append("16-bit weights keep their range: clipping them gains nothing.")
    rows, done = [], 0

    def tick() -> None:
        progress(done, len(found), "choosing weight ranges")

    walk = Frontier(sim, batches, tick=tick, operation=OPERATION)
    for done, product in enumerate(found):  # noqa: B007 (tick reads it)
        walk.advance(product.node.name)
        sums = reconstruction(sim, walk, product, tick)
        row = _choose_ranges(sim, product, sums, candidates, tick)
        if row is None:
            notes.append(f"{product.layer.layer} keeps its range: its blocks do not line up with its groups.")
        else:
            rows.append(row)
            progress.row(**row)
    guard_bias_overflow(sim)
    table = pd.DataFrame(rows, columns=[LAYER, "range_fraction", "fit_before_db", "fit_after_db"])
    return Found(table, notes=tuple(notes))


@dataclass(frozen=True)
class Candidates:
    """Encodings to choose from; number 0 is the one that the quantizer has.

    Args:
        low, high, scale, zero_point: ``[candidates, units]``; a unit is what shares one scale.
    """

    grid: Grid
    low: torch.Tensor
    high: torch.Tensor
    scale: torch.Tensor
    zero_point: torch.Tensor

    def quantize(self, weight: torch.Tensor, index: int, unit: torch.Tensor) -> torch.Tensor:
        """Candidate ``index`` of ``[groups, R, K]`` whose rows belong to units ``[groups, R]``."""
        scale, zero_point = (v[index][unit][..., None] for v in (self.scale, self.zero_point))
        return fake_quantize(weight.contiguous(), scale, zero_point, self.grid.name, 2, weight.shape[2])


def _candidates(quantizer: WeightQuantizer, weight: torch.Tensor, count: int) -> Candidates:
    """The present encoding, then min-max and its parts down to ``1 / count``."""
    grid, (scale, zero_point) = quantizer.grid, quantizer.encoding()
    low, high = tensor_range(weight, grid, "minmax", quantizer.axis, quantizer.block_size)
    known = quantizer.minimum is not None
    ranges = [(quantizer.minimum, quantizer.maximum) if known else quantizer.limits()]
    ranges += [(low * (i / count), high * (i / count)) for i in range(count, 0, -1)]
    tried = [(*ranges[0], scale, zero_point), *((*r, *affine_parameters(*r, grid)) for r in ranges[1:])]
    return Candidates(grid, *(torch.stack([v.detach().reshape(-1) for v in part]) for part in zip(*tried, strict=True)))


def _choose_ranges(sim: QuantSim, product: Product, sums: Reconstruction, count: int, tick) -> dict | None:
    """Give the layer's weight quantizer its best range; a row of the table."""
    quantizer = sim.weight(product.layer.weight_key)
    weight = sim.weight_tensor(product.layer.weight_key).detach()
    candidates = _candidates(quantizer, weight, count)
    shape, number = quantizer.scale.shape, torch.arange(quantizer.scale.numel(), device=weight.device)
    units = product.rows(by_element(number.view(shape), weight, quantizer))
    parts = _column_blocks(units)
    if parts is None:
        return None
    exact = product.rows(attribute(sim.reference, product.layer.weight).detach()).double()
    before = product.rows(quantizer(weight)).double() - exact
    best, after = search(product.rows(weight), exact, before, candidates, units, parts, sums, tick)
    chosen = {
        name: getattr(candidates, name).gather(0, best[None]).view(shape)
        for name in ("low", "high", "scale", "zero_point")
    }
    quantizer.set_encoding(chosen["scale"], chosen["zero_point"])
    quantizer.minimum, quantizer.maximum = chosen["low"], chosen["high"]
    fraction = float((chosen["scale"].view(-1) / candidates.scale[1]).mean())
    return {
        LAYER: product.layer.layer,
        "range_fraction": fraction,
        "fit_before_db": sums.db(before),
        "fit_after_db": sums.db(after),
    }


def search(
    weight: torch.Tensor,
    exact: torch.Tensor,
    error: torch.Tensor,
    candidates: Candidates,
    units: torch.Tensor,
    parts: list[slice],
    sums: Reconstruction,
    tick: Callable[[], None],
) -> tuple[torch.Tensor, torch.Tensor]:
    """The best candidate of every unit.

    Args:
        weight, exact: what is quantized, and the FP32 weight, ``[groups, R, K]``.
        error: of the weight with candidate 0.
        units: which unit each weight belongs to.
        parts: columns that belong to one unit in every row.

    Returns:
        Number of the candidate of each unit, and the weight's error then.
    """
    error, best = error.clone(), units.new_zeros(candidates.scale.shape[1])
    slope = error @ sums.gram + sums.cross  # half the derivative of the squared error by D
    for part in parts:
        unit = units[:, :, part.start]
        old = taken = error[:, :, part].clone()
        least = slope.new_zeros(len(best))
        for index in range(1, len(candidates.scale)):
            tick()
            new = candidates.quantize(weight[:, :, part], index, unit).double() - exact[:, :, part]
            step = new - old
            change = ((step @ sums.gram[:, part, part] + 2 * slope[:, :, part]) * step).sum(-1)
            total = torch.zeros_like(least).index_add_(0, unit.flatten(), change.flatten())
            better = total < least
            least, best = torch.where(better, total, least), torch.where(better, index, best)
            taken = torch.where(better[unit][..., None], new, taken)
        slope += (taken - old) @ sums.gram[:, part]
        error[:, :, part] = taken
    return best, error


def _column_blocks(units: torch.Tensor) -> list[slice] | None:
    """Columns in runs that share their unit in every row; None where rows differ in that."""
    lengths = torch.unique_consecutive(units[0, 0], return_counts=True)[1].tolist()
    ends = torch.tensor(lengths).cumsum(0).tolist()
    parts = [slice(end - length, end) for end, length in zip(ends, lengths, strict=True)]
    fits = all((units[:, :, part] == units[:, :, part.start, None]).all() for part in parts)
    return parts if fits else None
