"""Tensors with a header of plain data in one file: safetensors, and JSON in its metadata. Reading runs no code.

The tensors' part is checked by the safetensors library: sizes, offsets and dtypes must agree with the bytes there are.
The header is parsed within bounds (`qnb.schema.parse`); whoever asked for it checks it against a schema of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch

from qnb import schema
from qnb.errors import FileError

LONGEST_HEADER = 100_000_000
"""Bytes of safetensors' own header at most; the library has the same limit."""


def dumps(kind: str, header: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> bytes:
    """The file's bytes.

    Args:
        kind: of the file, for example ``"qnb.quantsim"``.
        header: what JSON can hold.
        tensors: by name, on any device.

    >>> data = dumps("example", {"version": 1}, {"a": torch.ones(2)})
    >>> loads(data, "example", "read a file", "write it again")
    ({'version': 1}, {'a': tensor([1., 1.])})
    """
    from safetensors.torch import save

    return save(_apart(tensors), {kind: json.dumps(header, allow_nan=False)})


def _apart(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors on the CPU, each with memory of its own, as the library wants them; copied only where they must be."""
    found, seen = {}, set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        memory = tensor.untyped_storage()
        if memory.data_ptr() in seen or memory.nbytes() != tensor.nbytes:
            tensor = tensor.clone()
        seen.add(memory.data_ptr())
        found[name] = tensor
    return found


def loads(data: bytes, kind: str, operation: str, remedy: str) -> tuple[Any, dict[str, torch.Tensor]]:
    """(header, tensors on the CPU) of bytes that `dumps` made.

    Raises:
        FileError: damaged, cut short, or of another kind.
    """
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(len(data) - 8, LONGEST_HEADER):
        raise FileError(operation, "the file is cut short, or no safetensors file", remedy)
    head = schema.parse(data[8 : 8 + length], operation, remedy)
    metadata = head.get("__metadata__") if isinstance(head, dict) else None
    if not isinstance(metadata, dict) or not isinstance(metadata.get(kind), str):
        raise FileError(operation, f"another kind of file than {kind}", remedy)
    return schema.parse(metadata[kind], operation, remedy), _tensors(data, operation, remedy)


def _tensors(data: bytes, operation: str, remedy: str) -> dict[str, torch.Tensor]:
    from safetensors.torch import load

    try:
        tensors = load(data)
    except Exception as error:  # of the library, in several kinds
        raise FileError(operation, f"the file is damaged ({type(error).__name__}: {error})", remedy) from error
    for name, tensor in tensors.items():
        if tensor.dtype == torch.bool and bool((tensor.view(torch.uint8) > 1).any()):
            raise FileError(operation, f"the file is damaged: {name!r} holds what is neither true nor false", remedy)
    return tensors
