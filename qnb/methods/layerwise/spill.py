"""Tensors in memory up to a limit, and in memory-mapped files beyond it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from typing import Any

import torch


class Shelf:
    """Keeps many tensors within ``memory_bytes``; the rest lies in files that are deleted once they are not needed.

    >>> shelf = Shelf(memory_bytes=16)
    >>> kept = [shelf.keep(torch.full((4,), value)) for value in (1.0, 2.0)]
    >>> [float(tensor[0]) for tensor in kept], shelf.spilled_bytes
    ([1.0, 2.0], 16)
    """

    def __init__(self, memory_bytes: int = 2**30):
        self.memory_bytes = memory_bytes
        self.used_bytes = self.spilled_bytes = 0
        self._folder: tempfile.TemporaryDirectory | None = None
        self._kept: dict[int, int] = {}
        self._count = 0

    def keep(self, value: Any) -> Any:
        """The value, or its copy in a file; anything but a tensor on the CPU stays as it is."""
        if not isinstance(value, torch.Tensor) or value.device.type != "cpu" or value.numel() == 0:
            return value
        if id(value) in self._kept:  # FP32 and simulation read one input
            return value
        size = value.numel() * value.element_size()
        if self.used_bytes + size <= self.memory_bytes:
            self.used_bytes += size
            self._kept[id(value)] = size
            return value
        self.spilled_bytes += size
        return self._write(value)

    def release(self, value: object) -> None:
        """Say that a kept value is needed no more."""
        self.used_bytes -= self._kept.pop(id(value), 0)

    def _write(self, value: torch.Tensor) -> torch.Tensor:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="qnb-")
        self._count += 1
        path = os.path.join(self._folder.name, str(self._count))
        mapped = torch.from_file(path, shared=True, size=value.numel(), dtype=value.dtype).view(value.shape)
        mapped.copy_(value.detach())
        with contextlib.suppress(OSError):  # where an open file cannot be deleted, it goes with the folder
            os.unlink(path)
        return mapped
