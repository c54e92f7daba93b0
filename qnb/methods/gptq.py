"""GPTQ: round weights column by column; columns not yet rounded make up for the error (arXiv 2210.17323)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import pandas as pd
import torch

from qnb.columns import LAYER
from qnb.errors import InputError
from qnb.graph.attributes import attribute
from qnb.methods.layerwise.frontier import Frontier
from qnb.methods.layerwise.layers import integer_layers
from qnb.methods.layerwise.reconstruction import Reconstruction, reconstruction
from qnb.methods.layerwise.unfold import Product, by_element, products
from qnb.methods.layerwise.weights import put, sole_readers
from qnb.methods.method import method
from qnb.methods.reporting.progress import MethodProgress
from qnb.methods.reporting.result import Found
from qnb.numerics import Grid, fake_quantize
from qnb.progress import Report

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim

OPERATION = "qnb.methods.gptq"


def _fits(sim: QuantSim, given: dict) -> None:
    damping, block = given["damping"], given["block"]
    if not damping > 0 or block < 1:
        raise InputError(
            OPERATION, f"damping={damping}, block={block}", "use positive numbers, for example 0.01 and 128"
        )
    integer_layers(sim, given["layers"], OPERATION)


@method("gptq", "GPTQ", "round", fits=_fits)
def gptq(
    sim: QuantSim,
    batches: Iterable,
    *,
    layers: str | Iterable[str] | None = None,
    damping: float = 0.01,
    block: int = 128,
    act_order: bool = False,
    asymmetric: bool = True,
    progress: Report | None = None,
) -> Found:
    """Round weights so that each layer's output changes least, with the second-order error feedback of GPTQ.

    Layer by layer in graph order, with ``H = 2 X X^T`` of the inputs that the layers before, already rounded, give:
    column q is rounded, and the columns after it take ``-(w_q - Q(w_q)) / [H^-1]_qq [H^-1]_{q,:}``. Convolutions are
    products of their unfolded input, one H per group. Each weight goes to the grid and scale that it has, and the
    sim's weight becomes ``code * scale``, so that its quantizer gives these codes. Output channels for which rounding
    to nearest gives the smaller squared error of the output keep it.

    Args:
        batches: unlabelled, as the model takes them.
        layers: a name, a glob or a list of them; None means all.
        damping: added to H's diagonal, as a part of its mean.
        block: columns between two updates of all later columns: speed alone depends on it.
        act_order: go by falling diagonal of H in place of the weight's own order.
        asymmetric: aim at the FP32 model's output, so that each layer makes up for the layers before it too; False
            aims at what the layer itself would give on the same inputs, as in the first paper.

    Raises:
        InputError: a damping or block that is not positive. PrecisionError: no integer weights.

    Source: Frantar et al. 2022, arXiv 2210.17323; the FP32 target: Li et al. 2025, arXiv 2504.02692 (here the weight
    that least squares gives for it is what is rounded).

    >>> import torch, qnb
    >>> model, x = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 4)).eval(), torch.randn(64, 8)
    >>> sim = qnb.QuantSim(model, x, "w4a8").calibrate([x])
    >>> result = qnb.methods.gptq(sim, [x])
    >>> bool((result.table.fit_after_db >= result.table.fit_before_db).all())
    True
    """
    progress = MethodProgress.of(progress)
    chosen, alone = integer_layers(sim, layers, OPERATION), sole_readers(sim)
    found, notes = products(sim, [layer for layer in chosen if alone[layer.weight]])
    notes += [
        f"{layer.layer} keeps rounding to nearest: {layer.weight} is also used elsewhere."
        for layer in chosen
        if not alone[layer.weight]
    ]
    rows, done = [], 0

    def tick() -> None:
        progress(done, len(found), "rounding weights")

    walk = Frontier(sim, batches, reference=asymmetric, tick=tick, operation=OPERATION)
    for done, product in enumerate(found):  # noqa: B007 (tick reads it)
        walk.advance(product.node.name)
        sums = reconstruction(sim, walk, product, tick)
        rows.append(_round_layer(sim, product, sums, damping, block, act_order, tick))
        progress.row(**rows[-1])
    table = pd.DataFrame(rows, columns=[LAYER, "fit_before_db", "fit_after_db", "nearest_fraction"])
    return Found(table, notes=tuple(notes))


def _round_layer(sim: QuantSim, product: Product, sums: Reconstruction, damping, block, act_order, tick) -> dict:
    """Round one layer's weight and put it into the sim; a row of the table."""
    quantizer = sim.weight(product.layer.weight_key)
    weight = sim.weight_tensor(product.layer.weight_key).detach()
    exact = product.rows(attribute(sim.reference, product.layer.weight).detach()).double()
    scale, zero_point = (product.rows(by_element(v.detach(), weight, quantizer)).double() for v in quantizer.encoding())
    grid, nearest = quantizer.grid, product.rows(quantizer(weight)).double()
    h, options = 2 * sums.gram, (damping, block, act_order, tick)
    rounded = round_columns(exact, h, scale, zero_point, grid, *options, cross=sums.cross)
    if grid.bits == 16 and grid.symmetric:  # the error fed back may push a code beyond what the target multiplies
        rounded = torch.minimum(rounded, sim.target.max_weight_code_16bit * scale)
    better = sums.error(rounded - exact) < sums.error(nearest - exact)
    best = torch.where(better[..., None], rounded, nearest)
    put(sim, product.layer.weight, product.weight(best, weight))
    return {
        LAYER: product.layer.layer,
        "fit_before_db": sums.db(nearest - exact),
        "fit_after_db": sums.db(best - exact),
        "nearest_fraction": 1 - float(better.double().mean()),
    }


def round_columns(
    weight: torch.Tensor,
    h: torch.Tensor,
    scale: torch.Tensor,
    zero_point: torch.Tensor,
    grid: Grid,
    damping: float = 0.01,
    block: int = 128,
    act_order: bool = False,
    tick: Callable = lambda: None,
    cross: torch.Tensor | None = None,
) -> torch.Tensor:
    """GPTQ's rounding of one weight (algorithm 1 of the paper), all groups at once.

    Args:
        weight, scale, zero_point: float64 ``[groups, R, K]``.
        h: ``2 X X^T``, float64 ``[groups, K, K]``.
        cross: B of a `Reconstruction`: what is rounded is then the weight that least squares gives for the FP32
            target, ``W - 2 B H^-1``.

    Returns:
        The rounded weight ``(code - zero_point) * scale``, of the same shape.
    """
    if act_order:
        order = h.diagonal(dim1=1, dim2=2).argsort(dim=1, descending=True, stable=True)[:, None]
        w, s, z, cross = (None if t is None else t.take_along_dim(order, 2) for t in (weight, scale, zero_point, cross))
        h = h.take_along_dim(order, 2).take_along_dim(order.mT, 1)
        found = round_columns(w, h, s, z, grid, damping, block, False, tick, cross)
        return found.take_along_dim(order.argsort(dim=2), 2)
    tick()
    factor = inverse_factor(h, damping)
    tick()
    w = weight.clone() if cross is None else weight - 2 * (cross @ factor.mT) @ factor
    rounded = torch.empty_like(w)
    for start in range(0, w.shape[2], block):
        tick()
        end = min(start + block, w.shape[2])
        errors = torch.empty_like(w[:, :, start:end])
        for q in range(start, end):
            column, s, z = (t[:, :, q : q + 1] for t in (w, scale, zero_point))
            rounded[:, :, q : q + 1] = nearest = fake_quantize(column.contiguous(), s, z, grid.name, 2, 1)
            error = (column - nearest) / factor[:, q, q, None, None]
            w[:, :, q:end] -= error * factor[:, None, q, q:end]
            errors[:, :, q - start] = error[:, :, 0]
        w[:, :, end:] -= errors @ factor[:, start:end, end:]
    return rounded


def inverse_factor(h: torch.Tensor, damping: float) -> torch.Tensor:
    """Upper triangular U with ``U^T U = (H + damping mean(diag H))^-1``.

    Row q of U holds, up to its factor ``U_qq``, row q of the inverse once the columns before q are taken out of H. U is
    the inverse of the Cholesky factor that starts at the last column, so that H itself need not be inverted.
    """
    lower = torch.linalg.cholesky(damped(h, damping).flip(1, 2))
    identity = torch.eye(h.shape[1], dtype=h.dtype, device=h.device)
    return torch.linalg.solve_triangular(lower, identity.expand_as(h), upper=False).flip(1, 2)


def damped(h: torch.Tensor, damping: float) -> torch.Tensor:
    """H with ``damping`` times its mean diagonal added to its diagonal; where no input ever is, with a 1 there."""
    mean = h.diagonal(dim1=1, dim2=2).mean(1)
    added = torch.where(mean > 0, damping * mean, 1.0)
    return h + torch.eye(h.shape[1], dtype=h.dtype, device=h.device) * added[:, None, None]
