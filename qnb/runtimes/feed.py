"""What goes into a session and what comes out: checked, quantized, cut into pieces of one batch size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from qnb.errors import InputError
from qnb.numerics import dequantize, quantize
from qnb.numerics.grid import parse_grid
from qnb.runtimes.onnx_file import Tensor


def arrange(tensors: Sequence[Tensor], grids: Mapping[str, dict], args: tuple, operation: str) -> list[torch.Tensor]:
    """The caller's inputs in the graph's order, as the graph takes them.

    Args:
        tensors: the graph's inputs.
        grids: by name of an integer input: ``{"grid": "uint8", "scale": float, "zero_point": int}``.
        args: tensors or arrays in order, or one dict by name.

    Raises:
        InputError: a wrong number, name, type, rank or size.
    """
    names = [tensor.name for tensor in tensors]
    if len(args) == 1 and isinstance(args[0], Mapping):
        if set(args[0]) != set(names):
            received = f"inputs {', '.join(map(repr, args[0])) or 'none'}"
            raise InputError(operation, received, f"pass exactly {', '.join(map(repr, names))}")
        args = tuple(args[0][name] for name in names)
    if len(args) != len(tensors):
        received = f"{len(args)} input{'s' * (len(args) != 1)}"
        raise InputError(operation, received, f"pass {len(tensors)}: {'; '.join(map(str, tensors))}")
    values = [
        _convert(tensor, arg, grids.get(tensor.name), operation) for tensor, arg in zip(tensors, args, strict=True)
    ]
    _check_sizes(tensors, values, operation)
    return values


def _convert(tensor: Tensor, value: Any, grid: dict | None, operation: str) -> torch.Tensor:
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(np.array(value))
    if not isinstance(value, torch.Tensor):
        received = f"a {type(value).__name__} for input {tensor.name!r}"
        raise InputError(operation, received, "pass a torch tensor or a NumPy array")
    value = value.detach().cpu()
    if value.dim() != len(tensor.shape):
        received = f"input {tensor.name!r} has shape {list(value.shape)}"
        raise InputError(operation, received, f"give it {len(tensor.shape)} dimensions: {tensor}")
    if grid is not None and value.is_floating_point():
        scale, zero_point = torch.tensor(float(grid["scale"])), torch.tensor(float(grid["zero_point"]))
        return quantize(value.float(), scale, zero_point, grid["grid"]).to(tensor.dtype)
    floats, of = tensor.dtype.is_floating_point, str(value.dtype).removeprefix("torch.")
    same_kind = value.is_floating_point() if floats else (value.dtype == torch.bool) == (tensor.dtype == torch.bool)
    if not same_kind or (not floats and value.is_floating_point()) or value.is_complex():
        wanted = str(tensor.dtype).removeprefix("torch.")
        received = f"input {tensor.name!r} is {of}, where the file takes {wanted}"
        also = ", or floats: they are quantized on their way in" if grid is not None else ""
        raise InputError(operation, received, f"convert it, as with .to(torch.{wanted}){also}")
    if not floats and tensor.dtype != torch.bool and value.numel():
        _check_range(tensor, value, grid, operation)
    return value.to(tensor.dtype)


def _check_range(tensor: Tensor, value: torch.Tensor, grid: dict | None, operation: str) -> None:
    limits = torch.iinfo(tensor.dtype)
    low, high = limits.min, limits.max
    if grid is not None:
        low, high = parse_grid(grid["grid"]).qmin, parse_grid(grid["grid"]).qmax  # pyright: ignore[reportAttributeAccessIssue]
    smallest, largest = (int(v) for v in value.to(torch.int64).aminmax())
    if smallest < low or largest > high:
        received = f"input {tensor.name!r} has integers from {smallest} to {largest}"
        raise InputError(operation, received, f"give it values from {low} to {high}")


def _check_sizes(tensors: Sequence[Tensor], values: Sequence[torch.Tensor], operation: str) -> None:
    """All inputs share dimension 0; other sizes are the file's; dimensions of one name have one size."""
    named: dict[str, tuple[int, str]] = {}
    for tensor, value in zip(tensors, values, strict=True):
        for axis, (size, wanted) in enumerate(zip(value.shape, tensor.shape, strict=True)):
            if isinstance(wanted, str) and axis:
                known, first = named.setdefault(wanted, (size, tensor.name))
                if known != size and wanted != "?":
                    received = f"dimension {wanted!r} is {known} in {first!r} and {size} in {tensor.name!r}"
                    raise InputError(operation, received, "give it one size")
            elif axis and size != wanted:
                received = f"input {tensor.name!r} has shape {list(value.shape)}"
                raise InputError(operation, received, f"dimension {axis} must be {wanted}: {tensor}")
    batches = {t.name: len(v) for t, v in zip(tensors, values, strict=True) if v.dim()}
    if len(set(batches.values())) > 1:
        received = f"batch sizes {', '.join(f'{size} ({name!r})' for name, size in batches.items())}"
        raise InputError(operation, received, "give all inputs the same dimension 0")
    if 0 in batches.values():
        raise InputError(operation, "an empty batch", "pass at least one sample")


def pieces(values: Sequence[torch.Tensor], size: int | None) -> tuple[list[list[np.ndarray]], int, int]:
    """Cut along dimension 0 into pieces of ``size`` samples; the last is filled up by repeating its last sample.

    Returns:
        arrays by piece and input; how many samples there are; how many with the filling.
    """
    count = next((len(value) for value in values if value.dim()), 1)
    if size is None or size == count:
        return [[value.numpy() for value in values]], count, count
    total = -(-count // size) * size
    found = []
    for start in range(0, count, size):
        cut = [value[start : start + size] if value.dim() else value for value in values]
        short = size - min(size, count - start)
        if short:
            cut = [torch.cat([v, v[-1:].expand(short, *v.shape[1:])]) if v.dim() else v for v in cut]
        found.append([value.numpy() for value in cut])
    return found, count, total


def join(name: str, parts: list[np.ndarray], count: int, total: int, operation: str) -> torch.Tensor:
    """One tensor of the pieces' results, along dimension 0, without what the filling added."""
    tensors = [torch.from_numpy(np.asarray(part)) for part in parts]
    if len(tensors) == 1 and count == total:
        return tensors[0]
    rows = sum(len(tensor) for tensor in tensors) if tensors[0].dim() else 0
    if not rows or rows * count % total:
        shape = list(tensors[0].shape)
        received = f"{name!r} has shape {shape} for a batch of {total // len(tensors)}: dimension 0 is not the batch"
        raise InputError(operation, received, f"pass a batch of exactly {total // len(tensors)}")
    return torch.cat(tensors)[: rows * count // total]


def real(value: torch.Tensor, grid: dict | None) -> torch.Tensor:
    """An output as the caller reads it: float32; integers that stand for no float stay."""
    if grid is not None:
        scale, zero_point = torch.tensor(float(grid["scale"])), torch.tensor(float(grid["zero_point"]))
        return dequantize(value.to(torch.int32), scale, zero_point, grid["grid"])
    return value.float() if value.is_floating_point() else value


def random_inputs(
    tensors: Sequence[Tensor], grids: Mapping[str, dict], batch: int, operation: str
) -> list[torch.Tensor]:
    """Inputs of the file's shapes, the same every time: normal floats, whole grids of codes, ids 0 and 1."""
    open_ = sorted({size for t in tensors for axis, size in enumerate(t.shape) if axis and isinstance(size, str)})
    if open_:
        remedy = f"pass inputs, or shapes={{{', '.join(f'{name!r}: 128' for name in open_)}}} when you open the file"
        raise InputError(operation, f"the file leaves {', '.join(map(repr, open_))} open", remedy)
    generator, made = torch.Generator().manual_seed(0), []
    for tensor in tensors:
        shape = [size if isinstance(size, int) else batch for size in tensor.shape]
        if tensor.name in grids:
            grid = parse_grid(grids[tensor.name]["grid"])
            codes = torch.randint(grid.qmin, grid.qmax + 1, shape, generator=generator, dtype=torch.int32)  # pyright: ignore[reportAttributeAccessIssue]
            made.append(codes.to(tensor.dtype))
        elif tensor.dtype.is_floating_point:
            made.append(torch.randn(shape, generator=generator).to(tensor.dtype))
        else:
            made.append(torch.randint(0, 2, shape, generator=generator).to(tensor.dtype))
    return made
