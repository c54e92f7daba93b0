"""Sums over a batch's samples, whatever dimension they stand in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from qnb.graph.captured import Captured


def sample_count(captured: Captured, flat: Sequence[Tensor]) -> int:
    """Samples in a batch: the first dimension of an input whose first dimension varies, or of any; 1 without."""
    inputs = list(zip(captured.inputs, flat, strict=True))
    varying = [x for i, x in inputs if i.shape and isinstance(i.shape[0], str)]
    return next((int(x.shape[0]) for x in [*varying, *flat] if x.dim()), 1) or 1


def per_sample(x: Tensor, count: int, shape: Sequence[int | None] | None = None) -> Tensor:
    """Sums over everything but the samples, float64 ``[count]``; ``[1]`` where they cannot be told apart.

    Args:
        shape: of the node as captured, None where a dimension varies: those are looked at first.

    >>> import torch
    >>> per_sample(torch.ones(6, 5), 2), per_sample(torch.ones(5, 2), 2, (5, None)), per_sample(torch.ones(3), 2)
    (tensor([15., 15.], dtype=torch.float64), tensor([5., 5.], dtype=torch.float64), tensor([3.], dtype=torch.float64))
    """
    varying = [i for i, size in enumerate(shape or ()) if size is None]
    for axis in varying or [0]:
        if axis < x.dim() and x.shape[axis] and x.shape[axis] % count == 0:
            return x.movedim(axis, 0).reshape(count, -1).sum(1).double().cpu()
    return x.sum().double().reshape(1).cpu()
