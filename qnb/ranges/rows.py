"""One row of values per scale: how channels and blocks of a tensor become rows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from qnb.errors import InputError


@dataclass(frozen=True)
class Rows:
    """Which elements of a tensor share a scale.

    Args:
        axis: the dimension scales run along; None for one scale.
        block_size: elements per block along axis; None for one scale per channel.
        channel_axis: with blocks, the other dimension that keeps its own scales; all further ones (a
            convolution's kernel) share. Default: 0, or 1 where axis is 0.
    """

    axis: int | None = None
    block_size: int | None = None
    channel_axis: int | None = None

    def view(self, x: Tensor) -> tuple[Tensor, tuple[int, ...]]:
        """x as float rows of shape ``[scales, elements]``, and the shape that the scales have.

        Raises:
            InputError: an axis that x lacks, or a block_size that does not divide.
        """
        x = x.detach()
        x = x if x.dtype in (torch.float32, torch.float64) else x.float()
        if self.axis is None:
            return x.reshape(1, -1), ()
        if not -x.dim() <= self.axis < x.dim():
            raise InputError("ranges", f"axis={self.axis} for a tensor of shape {tuple(x.shape)}", "use an axis it has")
        axis = self.axis % x.dim()
        if self.block_size is None:
            return x.movedim(axis, 0).reshape(x.shape[axis], -1), (x.shape[axis],)
        return self._blocks(x, axis)

    def _blocks(self, x: Tensor, axis: int) -> tuple[Tensor, tuple[int, ...]]:
        size = self.block_size
        if size < 1 or x.shape[axis] % size:
            received = f"block_size={size} for axis {axis} of {tuple(x.shape)}"
            raise InputError("ranges", received, f"use a block_size that divides {x.shape[axis]}")
        keep = [axis]
        if x.dim() > 1:
            channel = self.channel_axis if self.channel_axis is not None else int(axis == 0)
            keep = sorted({axis, channel % x.dim()})
        shape = tuple(n // size if i == axis else n if i in keep else 1 for i, n in enumerate(x.shape))
        blocks = x.unflatten(axis, (-1, size))
        # Unflattening moved the dimensions behind axis by one; the block itself joins the reduced ones.
        order = [i + (i > axis) for i in keep]
        order += [i for i in range(blocks.dim()) if i not in order]
        scales = 1
        for n in shape:
            scales *= n
        return blocks.permute(order).reshape(scales, -1), shape


def extremes(rows: Tensor) -> tuple[Tensor, Tensor]:
    """float32 (smallest, largest) of each row; ``aminmax`` is quick over all, slow along a dimension."""
    if rows.shape[0] == 1:
        low, high = (value.view(1) for value in torch.aminmax(rows))
    else:
        low, high = rows.amin(1), rows.amax(1)
    return low.float(), high.float()
