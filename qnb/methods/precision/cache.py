"""What a search found so far, in a file, so that a cancelled one goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from qnb.atomic import write_atomically
from qnb.errors import FileError
from qnb.measures.metrics.score import Score
from qnb.sim.storage.file import dumps

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim

FORMAT, VERSION = "qnb.precision_search", 1


class SearchCache:
    """Sensitivities and measured scores of one search.

    Args:
        path: of a JSON file, which need not exist; None keeps nothing.
        key: called where there is a path; gives a fingerprint of all that the numbers depend on.

    Raises:
        FileError: the file is damaged, of another kind, or of another search; before any long work.
    """

    def __init__(self, path: str | Path | None, key: Callable[[], str], operation: str):
        self.path, self.operation = path, operation
        self.passes: dict[str, dict[str, float]] = {}
        self.scores: dict[str, dict[str, Score]] = {}
        if path is not None:
            self.key = key()
            if Path(path).exists():
                self._read()
            self.save()  # a folder that is missing is better found now

    def _read(self) -> None:
        remedy = "delete it, or give another path"
        try:
            stored = json.loads(Path(self.path).read_text())
            if stored["format"] != FORMAT or stored["version"] != VERSION:
                raise ValueError("another format")
            key = stored["key"]
            self.passes = {name: {k: float(v) for k, v in found.items()} for name, found in stored["passes"].items()}
            self.scores = {name: {k: Score(**v) for k, v in found.items()} for name, found in stored["scores"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            received = f"{str(self.path)!r} is damaged or no cache of a search ({type(error).__name__}: {error})"
            raise FileError(self.operation, received, remedy) from error
        if key != self.key:
            raise FileError(
                self.operation,
                f"{str(self.path)!r} is the cache of another sim, other data, candidates, layers, seed or sensitivity",
                remedy,
            )

    def save(self) -> None:
        """Write what there is; the file is replaced as a whole."""
        if self.path is not None:
            scores = {name: {k: asdict(s) for k, s in found.items()} for name, found in self.scores.items()}
            content = {"format": FORMAT, "version": VERSION, "key": self.key, "passes": self.passes, "scores": scores}
            write_atomically(self.path, json.dumps(content).encode())

    def of(self, evaluate: Callable) -> dict[str, Score]:
        """Scores of one evaluation function, by what was evaluated; to be added to."""
        name = getattr(evaluate, "__qualname__", type(evaluate).__qualname__)
        return self.scores.setdefault(f"{getattr(evaluate, '__module__', '')}.{name}", {})


def fingerprint(sim: QuantSim, batches: Iterable, *settings: Any) -> str:
    """SHA-256 over the sim (graph, tensors, encodings), the data and settings, as far as ``repr`` tells them apart."""
    digest = hashlib.sha256(dumps(sim))
    for batch in batches:
        for tensor in sim.flatten(batch, "mixed_precision"):
            digest.update(f"{tuple(tensor.shape)}{tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    digest.update(repr(settings).encode())
    return digest.hexdigest()
