"""How one scale per channel or per block lines up with a tensor."""

from __future__ import annotations

import torch
from torch import Tensor

from qnb.errors import InputError


def align(
    x: Tensor, scale: Tensor, zero_point: Tensor, axis: int | None, block_size: int | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Views of x, scale and zero_point that broadcast against each other.

    With blocks, x of shape ``[.., n, ..]`` is seen as ``[.., n / block_size, block_size, ..]``.
    """
    if axis is None:
        if scale.dim() == 0:
            return x, scale, zero_point
        return x, scale.reshape(()), zero_point.reshape(())
    axis = axis % x.dim()
    if block_size is None:
        shape = [1] * x.dim()
        shape[axis] = -1
        return x, scale.view(shape), zero_point.view(shape)
    blocks = x.unflatten(axis, (x.shape[axis] // block_size, block_size))
    return blocks, scale.unsqueeze(axis + 1), zero_point.unsqueeze(axis + 1)


def check_layout(
    shape: torch.Size,
    scale: Tensor,
    zero_point: Tensor,
    axis: int | None,
    block_size: int | None,
    operation: str,
) -> None:
    """Raises InputError where scale and zero_point do not fit a tensor of this shape."""
    if scale.shape != zero_point.shape:
        received = f"scale of shape {tuple(scale.shape)}, zero_point of shape {tuple(zero_point.shape)}"
        raise InputError(operation, received, "give both the same shape")
    if axis is None:
        if block_size is not None or scale.numel() != 1:
            received = f"axis=None, block_size={block_size}, scale of shape {tuple(scale.shape)}"
            raise InputError(operation, received, "use one scale for the tensor, or give the axis")
        return
    rank = len(shape)
    if not -rank <= axis < rank:
        raise InputError(operation, f"axis={axis} for a tensor of shape {tuple(shape)}", "use an axis it has")
    axis = axis % rank
    if block_size is None:
        if scale.dim() != 1 or scale.shape[0] != shape[axis]:
            received = f"scale of shape {tuple(scale.shape)} for axis {axis} of {tuple(shape)}"
            raise InputError(operation, received, f"use a 1-D scale of {shape[axis]} elements")
        return
    _check_blocks(shape, scale, axis, block_size, operation)


def _check_blocks(shape: torch.Size, scale: Tensor, axis: int, block_size: int, operation: str) -> None:
    if block_size < 1 or shape[axis] % block_size:
        received = f"block_size={block_size} for axis {axis} of {tuple(shape)}"
        raise InputError(operation, received, f"use a block_size that divides {shape[axis]}")
    wanted = [*shape[:axis], shape[axis] // block_size, *shape[axis + 1 :]]
    fits = scale.dim() == len(wanted) and all(
        have == want or (have == 1 and i != axis)
        for i, (have, want) in enumerate(zip(scale.shape, wanted, strict=True))
    )
    if not fits:
        received = f"scale of shape {tuple(scale.shape)} for blocks of {block_size} on axis {axis} of {tuple(shape)}"
        raise InputError(operation, received, f"use a scale of shape {tuple(wanted)}, or 1 off the axis")
