"""Range search: candidates for (scale, lowest level) and the error that a histogram predicts for them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from qnb.numerics import Grid
from qnb.ranges.bins import Bins

SMALLEST_SCALE = 2.0**-23
_ELEMENTS = 2**18  # of the largest temporary


def symmetric_candidates(low: Tensor, high: Tensor, grid: Grid, deltas: int = 101) -> tuple[Tensor, Tensor]:
    """(delta, offset), each ``[rows, deltas]``: hundredths of the scale whose grid spans the range.

    A candidate stands for the grid ``[offset * delta, (offset + steps) * delta]``.
    """
    steps = grid.qmax - grid.qmin
    largest = 2 * torch.maximum(high, -low) / steps
    part = torch.arange(1, deltas + 1, device=low.device, dtype=torch.float32)
    delta = (largest[:, None] * part / (deltas - 1)).clamp(min=SMALLEST_SCALE)
    return delta, torch.full_like(delta, grid.qmin)


def asymmetric_candidates(
    low: Tensor, high: Tensor, grid: Grid, deltas: int = 17, offsets: int = 21
) -> tuple[Tensor, Tensor]:
    """(delta, offset), each ``[rows, deltas * (offsets + 1)]``: sixteenths of the scale that min-max gives,
    at offsets spread over the grid and at min-max's own; each cut to the observed range.
    """
    steps = grid.qmax - grid.qmin
    largest = (high - low) / steps
    observed = torch.round(low / largest)
    bottom = largest * observed
    top = bottom + largest * steps
    part = torch.arange(1, deltas + 1, device=low.device, dtype=torch.float32)
    delta = (largest[:, None] * part / (deltas - 1))[:, :, None]
    offsets = min(steps + 2, offsets)
    stride = steps / (offsets - 2)
    spread = torch.round(torch.arange(-steps, stride, stride, device=low.device, dtype=torch.float32))
    offset = torch.cat([spread.expand(len(low), -1), observed[:, None]], dim=1)[:, None, :]
    start = delta * offset
    end = torch.minimum(start + delta * steps, top[:, None, None])
    start = torch.maximum(start, bottom[:, None, None])
    delta = ((end - start) / steps).clamp(min=SMALLEST_SCALE)
    return delta.flatten(1), torch.round(start / delta).flatten(1)


def midpoint_error(bins: Bins, delta: Tensor, offset: Tensor, grid: Grid, clipping_weight: float) -> Tensor:
    """Sum of squared errors if each value lay in the middle of its bin, float64 ``[rows, candidates]``.

    Args:
        delta, offset: ``[rows, candidates]``.
        clipping_weight: factor on the errors of bins outside the candidate's grid.
    """
    steps = grid.qmax - grid.qmin
    middle, counts = bins.midpoints[:, None, :], bins.counts.to(delta.dtype)[:, None, :]

    def error(d: Tensor, o: Tensor) -> Tensor:
        code = (middle / d).sub_(o).round_()
        clamped = code.clamp(0, steps)
        clipped = code != clamped if clipping_weight != 1 else None
        squared = clamped.add_(o).mul_(d).sub_(middle).square_().mul_(counts)
        if clipped is not None:
            squared = torch.where(clipped, squared * clipping_weight, squared)
        return squared.sum(-1, dtype=torch.float64)

    return _in_parts(error, delta, offset, middle.shape[-1])


def uniform_error(bins: Bins, delta: Tensor, offset: Tensor, grid: Grid) -> Tensor:
    """Expected sum of squared errors if values were spread evenly over their bins.

    Float64 ``[rows, candidates]``. Holds for bins narrower and wider than delta alike: with u = x / delta and
    n the level that u is rounded and clamped to, the squared error integrates to ``n / 12 + (u - n)^3 / 3``,
    inside the grid and outside it.
    """
    steps = grid.qmax - grid.qmin
    edges = bins.edges.double()[:, None, :]
    density = (bins.counts / bins.step.double()[:, None])[:, None, :]

    def error(d: Tensor, o: Tensor) -> Tensor:
        level = (u := edges / d).round().clamp_(min=o, max=o + steps)
        u.sub_(level)
        integral = (u * u).mul_(u).mul_(1 / 3).add_(level, alpha=1 / 12)
        return (integral.diff(dim=-1) * density).sum(-1) * (d * d * d).squeeze(-1)

    return _in_parts(error, delta.double(), offset.double(), edges.shape[-1])


def _in_parts(error: Callable[[Tensor, Tensor], Tensor], delta: Tensor, offset: Tensor, points: int) -> Tensor:
    """Evaluates all candidates, as many at a time as memory and caches like."""
    size = max(1, _ELEMENTS // (len(delta) * points))
    pairs = zip(delta[:, :, None].split(size, 1), offset[:, :, None].split(size, 1), strict=True)
    return torch.cat([error(d, o) for d, o in pairs], dim=1)
