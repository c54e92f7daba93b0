"""Arrays as small pictures (PNG), which a chart or a page holds in itself."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np

LARGEST, SMALLEST = 64, 48
"""Pixels along the longer side: larger pictures are averaged down, smaller ones repeated up, which shows each pixel."""


def to_pixels(values: np.ndarray) -> np.ndarray:
    """A picture ``[channels, height, width]`` as uint8 ``[height, width, 1 or 3]``.

    From its smallest to its largest value it takes all of black to white: inputs are often standardized. Of four
    channels the first three are colours, of two or more than four the first is shown; what is not finite is black.

    >>> to_pixels(np.array([[[0.0, 0.5], [1.0, 0.0]]])).shape
    (48, 48, 1)
    """
    shown = values[:3] if len(values) in (3, 4) else values[:1]
    finite = np.isfinite(shown)
    low, high = (shown[finite].min(), shown[finite].max()) if finite.any() else (0.0, 0.0)
    scaled = np.where(finite, (shown - low) * (255.0 / (high - low) if high > low else 0.0), 0.0)
    longest = max(scaled.shape[1:])
    by = -(-longest // LARGEST)
    height, width = (max(n // by, 1) for n in scaled.shape[1:])
    cut = scaled[:, : height * by, : width * by]
    if by > 1 and cut.shape[1:] == (height * by, width * by):
        scaled = cut.reshape(len(cut), height, by, width, by).mean((2, 4))
    up = max(1, SMALLEST // max(scaled.shape[1:]))
    return scaled.round().astype(np.uint8).repeat(up, 1).repeat(up, 2).transpose(1, 2, 0)


def png(picture: np.ndarray) -> bytes:
    """A picture, uint8 ``[height, width, 1 or 3]``, as a PNG file (W3C PNG, colour types 0 and 2)."""
    height, width, channels = picture.shape
    # Each row begins with its filter, 0 for none.
    rows = np.concatenate([np.zeros((height, 1), np.uint8), picture.reshape(height, -1)], 1).tobytes()
    head = struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def address(file: bytes) -> str:
    """A PNG file as an address that holds it."""
    return "data:image/png;base64," + base64.b64encode(file).decode("ascii")
