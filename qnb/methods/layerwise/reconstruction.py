"""How far a layer's output is from FP32, as a function of its weights: what range search and rounding minimize."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from qnb.graph.attributes import attribute
from qnb.measures.layers.error import sqnr_db
from qnb.methods.layerwise.frontier import Frontier
from qnb.methods.layerwise.unfold import Product

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim


@dataclass
class Reconstruction:
    """The squared error of each output channel as a function of the weights' error D, ``[groups, R, K]``.

    ``|(W + D) x' - W x|^2 = D G D^T + 2 D B^T + c`` with ``G = x' x'^T``, ``B = (W x' - W x) x'^T``,
    ``c = |W x' - W x|^2``; all float64.

    Args:
        gram: G, ``[groups, K, K]``.
        cross: B, ``[groups, R, K]``.
        constant, signal: c and ``|W x|^2``, ``[groups, R]``.
    """

    gram: torch.Tensor
    cross: torch.Tensor
    constant: torch.Tensor
    signal: torch.Tensor

    def error(self, d: torch.Tensor) -> torch.Tensor:
        """``[groups, R]``"""
        return ((d @ self.gram + 2 * self.cross) * d).sum(-1) + self.constant

    def db(self, d: torch.Tensor) -> float:
        """SQNR of the layer's output, all channels together."""
        return sqnr_db(float(self.signal.sum()), float(self.error(d).sum().clamp(min=0)))


def reconstruction(sim: QuantSim, walk: Frontier, product: Product, tick: Callable[[], None]) -> Reconstruction:
    """Gather a layer's sums over all batches; the walk stands before the layer.

    Where the walk carries no FP32 values, ``x = x'``: what the layers before did wrong is then not to be made up for.
    """
    weight = product.rows(attribute(sim.reference, product.layer.weight).detach())
    weight = weight.to(torch.promote_types(weight.dtype, torch.float32))
    groups, r, k = weight.shape
    shapes = ((groups, k, k), (groups, r, k), (groups, r), (groups, r))
    sums = Reconstruction(*(weight.new_zeros(shape, dtype=torch.float64) for shape in shapes))
    for batch in range(len(walk.simulated)):
        given = product.inputs(walk, batch)
        wanted = given if walk.reference is None else product.inputs(walk, batch, reference=True)
        for quantized, exact in zip(product.columns(given), product.columns(wanted), strict=True):
            tick()
            target = weight @ exact.to(weight.dtype)
            quantized = quantized.to(weight.dtype)
            shift = weight @ quantized - target
            sums.gram += quantized @ quantized.mT
            sums.cross += shift @ quantized.mT
            sums.constant += shift.double().square().sum(-1)
            sums.signal += target.double().square().sum(-1)
    return sums
