"""Tabu search on the rounding problem itself: turn single weights over, the most profitable first."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from qnb.methods.rounding.layer_problem import LayerProblem
from qnb.methods.rounding.soft import SoftRounding

TENURE = 8
"""Steps at most, a quarter of the weights at most, for which one that was turned over stays so: another one can then
make up for what it did wrong."""
PATIENCE = 16
"""Steps without a better rounding of any output channel, after which the search ends."""


def flip(problem: LayerProblem, rounding: SoftRounding, up: Tensor, steps: int, tick: Callable[[], None]) -> Tensor:
    """Booleans ``[groups, R, K]``, which weights go up: as good as ``up`` or better on every output channel.

    Rounding is a quadratic problem in binary unknowns (AdaRound, section 3.1), for which tabu search is the usual
    heuristic (Glover et al. 1998). Changing weight k of a channel by d changes the channel's loss ``|e|^2`` by
    ``2 d g_k + d^2 c_k``, with ``g = e^T J``, ``c = sum J^2`` and J the output's derivative by the weights: exactly
    so without an activation, nearly with one. One step makes the best change of every channel, even if it is for the
    worse, and costs one matrix product; the best rounding met, by its true loss, is returned.
    """
    columns, groups = problem.columns, len(up)
    with torch.no_grad():
        y = problem.before_activation(rounding.weight(up))
    error, slope = _error_and_slope(problem, y)
    curvature = _by_row(slope.square(), groups) @ columns.square()
    free_at = torch.zeros(up.shape, dtype=torch.int32, device=up.device)
    best, least, improved = up, error.square().sum(0), 0
    tenure = min(TENURE, max(1, up.shape[2] // 4))
    for step in range(steps):
        tick()
        change = rounding.weight(~up) - rounding.weight(up)
        gain = 2 * change * (_by_row(error * slope, groups) @ columns) + change.square() * curvature
        gain[(free_at > step) | (change == 0)] = torch.inf
        at = gain.argmin(dim=2, keepdim=True)
        possible = gain.gather(2, at).isfinite()
        up = up.scatter(2, at, up.gather(2, at) ^ possible)
        free_at.scatter_(2, at, step + 1 + tenure)
        y = y + _column(columns, at) * (change.gather(2, at) * possible).flatten()
        error, slope = _error_and_slope(problem, y)
        loss = error.square().sum(0)
        better = loss < least * (1 - 1e-6)
        best, least = torch.where(better.view_as(at), up, best), torch.where(better, loss, least)
        improved = step if better.any() else improved
        if step - improved >= PATIENCE:
            break
    return best


def _error_and_slope(problem: LayerProblem, y: Tensor) -> tuple[Tensor, Tensor]:
    """The output's error and the activation's derivative, ``[N, groups R]``."""
    with torch.enable_grad():
        y = y.detach().requires_grad_()
        output = problem.activation(y)
        (slope,) = torch.autograd.grad(output.sum(), y)
    return output.detach() - problem.wanted, slope


def _by_row(x: Tensor, groups: int) -> Tensor:
    """``[N, groups R]`` as ``[groups, R, N]``."""
    return x.unflatten(1, (groups, -1)).permute(1, 2, 0)


def _column(columns: Tensor, at: Tensor) -> Tensor:
    """The inputs of each channel's weight number ``at`` ``[groups, R, 1]``: ``[N, groups R]``."""
    group = torch.arange(len(columns), device=columns.device)[:, None]
    return columns.mT[group, at[:, :, 0]].flatten(0, 1).T
