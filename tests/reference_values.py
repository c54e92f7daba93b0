"""Known tensors and what AIMET 2.42 makes of them, digit by digit."""

from __future__ import annotations

import numpy as np
import torch


def fill(n: int, seed: int, amplitude: float = 1.0) -> np.ndarray:
    """Numbers in [-amplitude, amplitude) that every machine computes alike: an integer hash."""
    h = (np.arange(n, dtype=np.uint64) + np.uint64(seed * 7919)) * np.uint64(2654435761) & np.uint64(0xFFFFFFFF)
    h ^= h >> np.uint64(15)
    h = h * np.uint64(2246822519) & np.uint64(0xFFFFFFFF)
    h ^= h >> np.uint64(13)
    return (((h >> np.uint64(16)).astype(np.float64) - 32768) / 32768 * amplitude).astype(np.float32)


def tensor(shape: tuple[int, ...], seed: int, amplitude: float = 1.0) -> torch.Tensor:
    return torch.from_numpy(fill(int(np.prod(shape)), seed, amplitude)).reshape(shape)


def activation() -> torch.Tensor:
    """``[4, 3, 5, 5]`` with one outlier."""
    x = tensor((4, 3, 5, 5), 1, 2.0)
    x[0, 0, 0, 0] = 7.25
    return x


def weight() -> torch.Tensor:
    """``[4, 8]`` with a channel of zeros."""
    w = tensor((4, 8), 2)
    w[2] = 0
    return w


ACTIVATION = [
    # method, options, bits, symmetric, scale, offset (= -zero_point)
    ("minmax", {}, 4, False, 0.6162312627, -3),
    ("minmax", {}, 8, False, 0.0362488999966, -55),
    ("minmax", {}, 16, False, 1.41046301e-4, -14133),
    ("minmax", {}, 4, True, 1.0357142687, 0),
    ("minmax", {}, 8, True, 0.0570866167545, 0),
    ("minmax", {}, 16, True, 2.21259193e-4, 0),
    ("sqnr", {}, 8, False, 0.0362488999966, -55),
    ("sqnr", {}, 8, True, 0.0568627454340, 0),
    ("sqnr", {}, 4, False, 0.6033930182, -3),
    ("sqnr", {}, 4, True, 0.8893333673, 0),
    ("percentile", {"percentile": 99}, 8, False, 0.0155049003661, -128),
]
WEIGHT_SCALES = [0.006563425064, 0.006111925934, 1.1920929e-7, 0.007096052170]
LPBQ_INTEGERS = [6, 16, 9, 16, 16, 16, 16, 13]
"""4 bits in 8, blocks of 4 along the inputs."""
