"""Soft rounding: whether each weight goes up or down is learned (AdaRound, Nagel et al. 2020, arXiv 2004.10568)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from qnb.numerics import Grid

ZETA, GAMMA = 1.1, -0.1
"""The sigmoid is stretched to (gamma, zeta), so that h reaches 0 and 1 (Louizos et al. 2018, arXiv 1712.01312)."""
BETA = (8.0, 2.0)
"""The regularizer's exponent at first and at last. The paper's first one, 20, leaves most of h without a gradient of
the regularizer for much of its 10,000 iterations; in a tenth of them that costs accuracy."""
DECIDED = 1e-3
"""Early stop: no more than this part of the weights still between up and down."""


def rectified_sigmoid(v: Tensor) -> Tensor:
    """``h(V) = clip(sigmoid(V) (zeta - gamma) + gamma, 0, 1)``: how far up each weight is (equation 23).

    >>> rectified_sigmoid(torch.tensor([-3.0, 0.0, 3.0]))
    tensor([0.0000, 0.5000, 1.0000])
    """
    return (torch.sigmoid(v) * (ZETA - GAMMA) + GAMMA).clamp(0, 1)


def inverse_rectified_sigmoid(h: Tensor) -> Tensor:
    """The V of an h in [0, 1]."""
    return torch.logit((h - GAMMA) / (ZETA - GAMMA))


def regularizer(h: Tensor, beta: float) -> Tensor:
    """``1 - |2 h - 1|^beta``, which is 0 where h is 0 or 1 (equation 24), as a mean over the weights.

    >>> regularizer(torch.tensor([0.0, 0.5, 1.0]), 2.0)
    tensor(0.3333)
    """
    return (1 - (2 * h - 1).abs() ** beta).mean()


class SoftRounding:
    """``W~ = s clip(floor(W / s) + h(V), n, p)`` (equation 22), at first with ``h(V)`` such that ``W~ = W``.

    Args:
        weight: float32, any shape.
        scale, zero_point: of each element, or what broadcasts to them.
        grid: of the codes; n and p are its ends less the zero_point.
    """

    def __init__(self, weight: Tensor, scale: Tensor, zero_point: Tensor, grid: Grid):
        self.scale = scale.detach()
        self.low, self.high = grid.qmin - zero_point.detach(), grid.qmax - zero_point.detach()
        level = weight.detach() / self.scale
        self.floor = level.floor()
        self.nearest_up = level.round() > self.floor
        self.v = inverse_rectified_sigmoid(level - self.floor).requires_grad_()

    def h(self) -> Tensor:
        return rectified_sigmoid(self.v)

    def weight(self, h: Tensor) -> Tensor:
        """The weight with h, of 0 to 1 or of booleans, in the place of ``h(V)``."""
        return torch.clamp(self.floor + h, self.low, self.high) * self.scale

    def learned_up(self) -> Tensor:
        """Booleans: which weights V rounds up."""
        return self.h().detach() >= 0.5


@dataclass(frozen=True)
class Schedule:
    """How V is learned.

    Args:
        iterations: Adam steps at most.
        learning_rate: Adam's.
        regularization: lambda; the reconstruction loss is 1 where rounding is to nearest, the regularizer at most 1.
        warm_start: the part of the iterations without regularizer.
        early_stop: end as soon as nearly all of h is 0 or 1.
    """

    iterations: int
    learning_rate: float
    regularization: float
    warm_start: float
    early_stop: bool

    def beta(self, iteration: int) -> float | None:
        """The exponent, on a half cosine from the first to the last; None during the warm start."""
        t = iteration / self.iterations
        if t < self.warm_start:
            return None
        first, last = BETA
        return last + (first - last) / 2 * (1 + math.cos(math.pi * (t - self.warm_start) / (1 - self.warm_start)))


@torch.enable_grad()
def learn(
    roundings: Sequence[SoftRounding],
    reconstruction: Callable[[list[Tensor]], Tensor],
    schedule: Schedule,
    after: Callable[[int, Tensor], None],
) -> int:
    """Minimize ``reconstruction(W~) + lambda regularizer(h(V), beta)`` over V (equation 25); returns the iterations.

    Args:
        reconstruction: soft weights to a scalar loss, 1 for what rounding to nearest has.
        after: called after each iteration with its number and reconstruction loss.
    """
    parameters = [r.v for r in roundings]
    optimizer = torch.optim.Adam(parameters, schedule.learning_rate, fused=True)
    for iteration in range(schedule.iterations):
        h = [r.h() for r in roundings]
        loss = error = reconstruction([r.weight(part) for r, part in zip(roundings, h, strict=True)])
        beta = schedule.beta(iteration)
        if beta is not None:
            loss = loss + schedule.regularization * sum(regularizer(part, beta) for part in h)
        for v, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            v.grad = gradient  # of V alone: others that require a gradient, for example biases, get none
        optimizer.step()
        after(iteration, error.detach())
        if schedule.early_stop and beta is not None and iteration % 10 == 0 and decided(h):
            return iteration + 1
    return schedule.iterations


def decided(h: Sequence[Tensor]) -> bool:
    """Whether nearly all weights are up or down."""
    between = sum(int(((part > 0.05) & (part < 0.95)).sum()) for part in h)
    return between <= DECIDED * sum(part.numel() for part in h)
