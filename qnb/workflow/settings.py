"""What reproduces a run's numbers: versions, seed, and a fingerprint of the data."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch

from qnb import __version__
from qnb.graph.batches import length
from qnb.graph.captured import as_call
from qnb.graph.structure import flatten
from qnb.progress import Report

if TYPE_CHECKING:
    from qnb.workflow.workflow import Workflow

HASHED_BATCHES = 64


def versions() -> dict[str, str]:
    return {"qnb": __version__, "torch": str(torch.__version__), "python": platform.python_version()}


def fingerprint(batches: Iterable[Any], progress: Report | None = None) -> str:
    """SHA-256 over shapes, dtypes and bytes of the first 64 batches, 16 digits.

    >>> fingerprint([torch.zeros(2)]) == fingerprint([torch.zeros(2)]) != fingerprint([torch.ones(2)])
    True
    """
    digest, total = _Digest(), length(batches)
    for done, batch in enumerate(islice(batches, HASHED_BATCHES), 1):
        digest.add(batch)
        if progress is not None:
            progress(done, total and min(total, HASHED_BATCHES), "reading")
    return digest.text


class Fingerprinted:
    """A workflow's calibration data as it is; the first whole pass gives the workflow its fingerprint as well.

    It is of the data that the first run was calibrated with. A loader that gives other samples at each pass has that
    of the first one.
    """

    def __init__(self, flow: Workflow):
        self.flow = flow

    def __len__(self) -> int:
        return len(self.flow.batches)

    def __iter__(self) -> Iterator[Any]:
        digest = None if self.flow.data_fingerprint else _Digest()
        for index, batch in enumerate(self.flow.batches):
            yield batch  # first: who takes it says best what is wrong with it
            if digest is not None and index < HASHED_BATCHES:
                digest.add(batch)
        if digest is not None:
            self.flow.data_fingerprint = digest.text


class _Digest:
    """A hash that batches are added to."""

    def __init__(self):
        self._hash = hashlib.sha256()

    def add(self, batch: Any) -> None:
        leaves, structure = flatten(as_call(batch), "calibration batch")
        self._hash.update(repr(structure.to_json()).encode())
        for leaf in leaves:
            self._hash.update(f"{tuple(leaf.shape)}{leaf.dtype}".encode())
            self._hash.update(leaf.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)

    @property
    def text(self) -> str:
        return self._hash.hexdigest()[:16]
