"""What reproduces a run's numbers: versions, seed, and a fingerprint of the data."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable
from typing import Any

import torch

from qnb import __version__
from qnb.graph.captured import as_call
from qnb.graph.structure import flatten


def versions() -> dict[str, str]:
    return {"qnb": __version__, "torch": str(torch.__version__), "python": platform.python_version()}


def fingerprint(batches: Iterable[Any], most: int = 64) -> str:
    """SHA-256 over shapes, dtypes and bytes of the first ``most`` batches, 16 digits.

    >>> fingerprint([torch.zeros(2)]) == fingerprint([torch.zeros(2)]) != fingerprint([torch.ones(2)])
    True
    """
    digest = hashlib.sha256()
    for index, batch in enumerate(batches):
        if index >= most:
            break
        leaves, structure = flatten(as_call(batch), "calibration batch")
        digest.update(repr(structure.to_json()).encode())
        for leaf in leaves:
            digest.update(f"{tuple(leaf.shape)}{leaf.dtype}".encode())
            digest.update(leaf.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
