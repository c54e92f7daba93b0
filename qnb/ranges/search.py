"""Range search: candidates for (scale, lowest level) and the error that a histogram predicts for them."""

from __future__ import annotations

import torch
from torch import Tensor

from qnb.numerics import Grid
from qnb.ranges.bins import Bins

SMALLEST_SCALE = 2.0**-23
_ELEMENTS = 2**21  # of the largest temporary


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


def predicted_error(bins: Bins, delta: Tensor, offset: Tensor, grid: Grid, clipping_weight: float) -> Tensor:
    """Sum of squared errors if each value lay in the middle of its bin, ``[rows, candidates]``.

    Args:
        delta, offset: ``[rows, candidates]``.
        clipping_weight: factor on the errors of bins outside the candidate's grid.
    """
    steps = grid.qmax - grid.qmin
    middle, counts = bins.midpoints[:, None, :], bins.counts.to(delta.dtype)[:, None, :]
    error = torch.empty_like(delta)
    size = max(1, _ELEMENTS // (len(delta) * middle.shape[-1]))
    for part in range(0, delta.shape[1], size):
        d, o = delta[:, part : part + size, None], offset[:, part : part + size, None]
        code = (middle / d).sub_(o).round_()
        clamped = code.clamp(0, steps)
        squared = clamped.add(o).mul_(d).sub_(middle).pow_(2).mul_(counts)
        if clipping_weight != 1:
            squared = torch.where(code == clamped, squared, squared * clipping_weight)
        error[:, part : part + size] = squared.sum(-1)
    return error
