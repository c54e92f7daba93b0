"""Attention scores behind a mask: which of them count, and where the range of a quantizer may end."""

from __future__ import annotations

import math

import torch

_NOWHERE = -5e3
"""A row whose highest score is at or below this is shut out as a whole (-inf, finfo.min, -1e9, -1e4 are in use)."""
_GAP = 30.0
"""exp(-30) is 1e-13: a score this far below its row's highest gets no weight on any grid. (Swin masks with -100.)"""


def attended(scores: torch.Tensor) -> torch.Tensor:
    """True where softmax over the last axis gives a position any weight.

    Args:
        scores: float, any shape, what a softmax over the last axis will see. NaN counts as attended.
    """
    top = scores.amax(-1, keepdim=True)
    return ~((scores < top - _GAP) | (top <= _NOWHERE))


def margin(bits: int, positions: int) -> float:
    """How far below the lowest score that counts a range ends: there, softmax gives all positions of a row that
    are shut out, together, less than half a step of its own output grid, ``2^-(bits + 1)``."""
    return (bits + 1) * math.log(2) + math.log(positions)
