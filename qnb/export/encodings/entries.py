"""One entry of an encodings file: as it stands there, and as what it means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from qnb.errors import FileError


@dataclass(frozen=True)
class Encoding:
    """What a file says of one tensor, in the terms of both versions.

    Args:
        bits: 2 to 16; 16 or 32 if floating.
        floating: the tensor is float16, or float32 and not quantized.
        symmetric: None where the file does not say (unsigned codes of 2.0.0 with zero in the middle).
        layout: what has a scale of its own: ``"tensor"``, ``"channel"`` or ``"block"``.
        scale: float32, of the file's own shape.
        zero: the code of the value 0, counted from the lowest code; of the scale's shape.
        axis: as `Grid` has it; None where the file does not say.
        channels_first: scales of blocks come channel by channel, wherever the tensor's channel axis is (LPBQ).
    """

    bits: int
    floating: bool = False
    symmetric: bool | None = None
    layout: str = "tensor"
    scale: Tensor | None = None
    zero: Tensor | None = None
    axis: int | None = None
    block_size: int | None = None
    channels_first: bool = False


@dataclass(frozen=True)
class Entry:
    """One entry of the file at hand; its errors name file and tensor."""

    operation: str
    name: str
    raw: dict

    def error(self, received: str, remedy: str = "fix the entry, or write the file again") -> FileError:
        return FileError(self.operation, f"tensor {self.name!r}: {received}", remedy)

    @property
    def is_int32(self) -> bool:
        """As biases are."""
        return self.raw.get("output_dtype") == "int32" or (self.raw.get("dtype") == "INT" and self.raw.get("bw") == 32)

    @property
    def is_float(self) -> bool:
        return self.raw.get("dtype") in ("FLOAT", "FP") or str(self.raw.get("output_dtype")).startswith("float")

    def whole(self, key: str, low: int, high: int) -> int:
        value = self.raw.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.error(f"{key}={short(value)}", f"use a whole number from {low} to {high}")
        return value

    def numbers(self, key: str) -> Tensor:
        """float64; a number, or a list of them, nested or not."""
        value = self.raw.get(key)
        try:
            array = np.asarray(value if _are_numbers(value) else None)
        except (ValueError, OverflowError):  # rows of different lengths
            array = np.asarray(None)
        if array.dtype.kind not in "iuf" or not array.size:
            raise self.error(f"{key}={short(value)}", f"give {key} as numbers")
        if not np.isfinite(array).all():
            raise self.error(f"{key} holds NaN or infinite values")
        return torch.from_numpy(array.astype(np.float64))

    def integers(self, key: str) -> Tensor:
        values = self.numbers(key)
        if (values != values.round()).any():
            raise self.error(f"{key} holds fractions", f"give {key} as whole numbers")
        return values

    def scales(self, key: str) -> Tensor:
        """float32, all positive."""
        values = self.numbers(key).float()
        if not (torch.isfinite(values) & (values > 0)).all():
            raise self.error(f"{key} holds values that are not positive float32 numbers", "use positive scales")
        return values


def _are_numbers(value, depth: int = 8) -> bool:
    """Whether it is a number or a list of them, nested or not. (Of one text among them numpy makes an array of texts,
    all as long as the longest.)"""
    if isinstance(value, list):
        return depth > 0 and all(_are_numbers(v, depth - 1) for v in value)
    return isinstance(value, int | float) and not isinstance(value, bool)


def short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
