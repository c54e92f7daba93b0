"""Coordinate descent on the rounding problem itself: turn single weights over, as long as that pays."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from qnb.methods.layer_problem import LayerProblem
from qnb.methods.rounding import SoftRounding


def flip(problem: LayerProblem, rounding: SoftRounding, up: Tensor, steps: int, tick: Callable[[], None]) -> Tensor:
    """Booleans ``[groups, R, K]``, which weights go up: as good as ``up`` or better on every output channel.

    Rounding is a quadratic problem in binary unknowns (AdaRound, section 3.1). Changing weight k of a channel by d
    changes the channel's loss ``|e|^2`` by ``2 d g_k + d^2 c_k``, with ``g = e^T J``, ``c = sum J^2`` and J the
    outputs' derivative: exact without an activation, close to it with one, so that each change is checked by the true
    loss before it is kept. One step tries the best change of every channel and costs one matrix product.
    """
    columns, groups = problem.columns, len(up)
    up = up.clone()
    with torch.no_grad():
        y = problem.before_activation(rounding.weight(up))
    output, slope = _with_slope(problem, y)
    loss = (output - problem.wanted).square().sum(0)
    curvature = _by_row(slope.square(), groups) @ columns.square()
    refused = torch.zeros_like(up)
    for _ in range(steps):
        tick()
        change = rounding.weight(~up) - rounding.weight(up)
        gradient = _by_row((output - problem.wanted) * slope, groups) @ columns
        gain = 2 * change * gradient + change.square() * curvature
        gain[refused | (change == 0)] = torch.inf
        best, at = gain.min(dim=2, keepdim=True)
        changed = y + _column(columns, at) * change.gather(2, at).flatten()
        new_output, new_slope = _with_slope(problem, changed)
        new_loss = (new_output - problem.wanted).square().sum(0)
        better = (best.flatten() < 0) & (new_loss < loss)
        if not (best < 0).any():
            break
        taken = better.view_as(at)
        up.scatter_(2, at, up.gather(2, at) ^ taken)
        refused.scatter_(2, at, ~taken).masked_fill_(taken, False)
        y, output, slope = (torch.where(better, new, old)
                            for new, old in ((changed, y), (new_output, output), (new_slope, slope)))  # fmt: skip
        loss = torch.where(better, new_loss, loss)
    return up


def _with_slope(problem: LayerProblem, y: Tensor) -> tuple[Tensor, Tensor]:
    """The activation's value and derivative, element by element."""
    with torch.enable_grad():
        y = y.detach().requires_grad_()
        output = problem.activation(y)
        (slope,) = torch.autograd.grad(output.sum(), y)
    return output.detach(), slope


def _by_row(x: Tensor, groups: int) -> Tensor:
    """``[N, groups R]`` as ``[groups, R, N]``."""
    return x.unflatten(1, (groups, -1)).permute(1, 2, 0)


def _column(columns: Tensor, at: Tensor) -> Tensor:
    """The inputs of each channel's weight number ``at`` ``[groups, R, 1]``: ``[N, groups R]``."""
    group = torch.arange(len(columns), device=columns.device)[:, None]
    return columns.mT[group, at[:, :, 0]].flatten(0, 1).T
