"""Learned step size: a quantizer's scale and zero point as an optimiser sees them.

Esser et al. 2020 (LSQ, arXiv 1902.08153) learn the scale s by its straight-through gradient, scaled by
``g = 1 / sqrt(N qmax)``; Bhalgat et al. 2020 (LSQ+, arXiv 2004.09576) learn the offset of asymmetric grids too.
Here the optimiser moves them in relative units, so that one learning rate suits every quantizer, scales stay
positive (the log domain is Jain et al.'s, TQT, arXiv 1903.08066), and zeros give what calibration found, bit for bit::

    s = s0 exp(theta)                       theta.grad = g s dL/ds
    z = round(z0 + (qmax - qmin) phi)       phi.grad   = g (qmax - qmin) dL/dz
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

from qnb.numerics import Grid
from qnb.numerics.affine import smallest_scale
from qnb.sim.quantizer import Quantizer

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim


class LearnedRange:
    """One quantizer's ``theta`` and ``phi``.

    Args:
        quantizer: calibrated, on an integer grid.
        count: N, how many values one of its scales serves: weights, or features of one sample.
        offset: also learn the zero point; only where it lies inside the grid, as a range that begins at zero (after
            a ReLU) has nothing below to win.
    """

    def __init__(self, quantizer: Quantizer, count: int, offset: bool = True):
        self.quantizer, grid = quantizer, quantizer.grid
        self.span = grid.qmax - grid.qmin
        self.factor = 1 / math.sqrt(count * grid.qmax)
        self.scale0, self.zero_point0 = quantizer.scale.detach().clone(), quantizer.zero_point.detach().clone()
        inside = (self.zero_point0 > grid.qmin) & (self.zero_point0 < grid.qmax)
        self.theta = nn.Parameter(torch.zeros_like(self.scale0))
        self.phi = None
        if offset and not grid.symmetric and bool(inside.all()):
            self.phi = nn.Parameter(torch.zeros_like(self.zero_point0))

    def parameters(self) -> list[nn.Parameter]:
        return [self.theta] if self.phi is None else [self.theta, self.phi]

    @torch.no_grad()
    def take_gradient(self) -> None:
        """From the quantizer's own tensors, which are then free of theirs."""
        scale, zero_point = self.quantizer.scale, self.quantizer.zero_point
        self.theta.grad = None if scale.grad is None else self.factor * scale * scale.grad
        if self.phi is not None:
            self.phi.grad = None if zero_point.grad is None else self.factor * self.span * zero_point.grad
        scale.grad = zero_point.grad = None

    @torch.no_grad()
    def write(self) -> None:
        """Give the quantizer its scale and its integer zero point, within what its grid can hold."""
        grid, quantizer = self.quantizer.grid, self.quantizer
        lowest = torch.log(smallest_scale(grid) / self.scale0).clamp(max=0.0)
        torch.maximum(self.theta, lowest, out=self.theta)
        quantizer.scale.copy_(self.scale0 * torch.exp(self.theta))
        if self.phi is not None:
            low, high = ((end - self.zero_point0) / self.span for end in (grid.qmin, grid.qmax))
            self.phi.copy_(torch.minimum(torch.maximum(self.phi, low), high))
            z = torch.round(self.zero_point0 + self.span * self.phi)
            quantizer.zero_point.copy_(z.clamp(grid.qmin, grid.qmax))

    def require_gradient(self, needed: bool = True) -> None:
        self.quantizer.scale.requires_grad_(needed)
        self.quantizer.zero_point.requires_grad_(needed and self.phi is not None)


def learned_ranges(sim: QuantSim, offsets: bool = True) -> dict[str, LearnedRange]:
    """A `LearnedRange` for each quantizer that may learn, by its path in the sim.

    Not those that are frozen or of fixed ranges (a softmax's output), not masked scores, whose range keeps room for the
    mask, and not symmetric 16-bit grids, whose ends the target prescribes.
    """
    found = {}
    for key, site in sim.plan.activations.items():
        if site.fixed is None and not site.masked:
            value = site.first.meta["val"]
            value = value[0] if isinstance(value, tuple | list) else value  # of a recurrent layer: its sequence
            count = value.numel() // value.shape[0] if value.dim() else 1
            found[f"activation_quantizers.{key}"] = sim.activation(key), count
    for key in sim.plan.weights:
        quantizer = sim.weight(key)
        scales = quantizer.scale.numel() if quantizer.scale is not None else 1
        found[f"weight_quantizers.{key}"] = quantizer, sim.weight_tensor(key).numel() // scales
    return {path: LearnedRange(q, max(count, 1), offsets) for path, (q, count) in found.items() if _learns(q)}


def _learns(quantizer: Quantizer) -> bool:
    grid = quantizer.grid
    learnable = quantizer.active and not quantizer.frozen and isinstance(grid, Grid)
    return learnable and not (grid.bits == 16 and grid.symmetric)
