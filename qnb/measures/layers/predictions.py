"""What a model predicts for each sample, in FP32 and simulated, and by how much each prediction leads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def scores(outputs: Sequence[Any], shapes: Sequence[Sequence[int | None] | None], count: int) -> int | None:
    """Which output holds scores: the first of floats, if its last dimension holds several for each sample.

    Args:
        shapes: of the outputs as captured, None where a dimension varies.
        count: samples in the batch.
    """
    for i, (x, shape) in enumerate(zip(outputs, shapes, strict=True)):
        if isinstance(x, Tensor) and x.is_floating_point():
            axis = sample_axis(x, shape, count)
            return i if axis is not None and x.dim() > 1 and axis != x.dim() - 1 and x.shape[-1] > 1 else None
    return None


def sample_axis(x: Tensor, shape: Sequence[int | None] | None, count: int) -> int | None:
    """The dimension that the samples stand in, perhaps with something else: one that varies, else the first."""
    varying = [i for i, size in enumerate(shape or ()) if size is None] or [0]
    return next((i for i in varying if i < x.dim() and x.shape[i] and x.shape[i] % count == 0), None)


def predictions(reference: Tensor, simulated: Tensor, axis: int, count: int) -> list[dict[str, Any]]:
    """A row for each sample: the prediction is the argmax over the last dimension.

    Of several positions the one is told where the prediction flipped though FP32's led by most; where none flipped,
    the one where QuantSim's leads by least.

    >>> row = predictions(torch.tensor([[1.0, 3.0]]), torch.tensor([[2.0, 1.5]]), 0, 1)[0]
    >>> row["flipped"], row["fp32_prediction"], row["quantsim_prediction"], row["fp32_margin"], row["quantsim_margin"]
    (True, 1, 0, 2.0, 0.5)
    """
    rows = [x.float().movedim(axis, 0).reshape(count, -1, x.shape[-1]) for x in (reference, simulated)]
    labels = [x.argmax(-1) for x in rows]
    margins = [top[..., 0] - top[..., 1] for top in (x.topk(2, -1).values for x in rows)]
    flipped = labels[0] != labels[1]
    certain = torch.where(flipped, margins[0], -torch.inf).argmax(1)
    place = torch.where(flipped.any(1), certain, margins[1].argmin(1))
    several = flipped.shape[1] > 1

    def at(values: Tensor) -> list:
        return values.gather(1, place[:, None])[:, 0].tolist()

    figures = zip(at(flipped), place.tolist(), *map(at, labels), *map(at, margins), strict=True)
    names = ("flipped", "position", "fp32_prediction", "quantsim_prediction", "fp32_margin", "quantsim_margin")
    return [dict(zip(names, row, strict=True)) | ({} if several else {"position": None}) for row in figures]
