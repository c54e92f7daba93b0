"""Ranges of tensors that are at hand."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from qnb.numerics import FloatGrid, Grid
from qnb.ranges.rows import Rows
from qnb.ranges.rules import RULES
from qnb.ranges.values import Values

_ROWS = 256


def tensor_range(
    x: Tensor,
    grid: Grid | FloatGrid,
    method: str = "minmax",
    axis: int | None = None,
    block_size: int | None = None,
    *,
    channel_axis: int | None = None,
    **options: Any,
) -> tuple[Tensor, Tensor]:
    """The range (min, max) that ``grid`` should cover for the values of one tensor.

    Args:
        x: float tensor; its values must be finite.
        grid: where the values go.
        method: a name in `RULES`: ``"minmax" "percentile" "sqnr" "mse" "saturating"``.
        axis: one range per index along this dimension; None for one range.
        block_size: one range per block of this many elements along axis.
        channel_axis: with blocks, the other dimension with ranges of its own (default 0, or 1 where axis is
            0); the remaining ones share.
        options: the rule's, such as ``percentile=99.9``.

    Returns:
        float32 (min, max), each ``[]``, ``[x.shape[axis]]``, or with blocks x's rank with ``x.shape[axis] /
        block_size`` at axis and 1 where ranges are shared: as `fake_quantize` takes a scale.

    >>> weight = torch.tensor([[0.5, -1.0], [0.25, 0.125]])
    >>> tensor_range(weight, Grid(8, symmetric=True), axis=0)
    (tensor([-1.0000,  0.1250]), tensor([0.5000, 0.2500]))
    """
    rule = RULES[method]
    rows, shape = Rows(axis, block_size, channel_axis).view(x)
    # Some rows at a time: a vocabulary's histograms together would take gigabytes.
    parts = [rule(Values(part), grid, **options) for part in rows.split(_ROWS)]
    low, high = (torch.cat(ends).view(shape) for ends in zip(*parts, strict=True))
    return low, high
