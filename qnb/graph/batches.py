"""Batches: iterables of what a model takes, that can be gone through more than once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch

from qnb.errors import InputError

LABELS = ("label", "labels", "target", "targets", "y")


def reiterable(batches: Iterable, operation: str) -> Iterable:
    """The batches, if they can be gone through again; refuses what would give nothing or something else.

    Raises:
        InputError: a one-shot generator, a bare tensor or dict, something that is no iterable, or nothing.
    """
    if isinstance(batches, torch.Tensor | Mapping | str):
        raise InputError(operation, f"one {type(batches).__name__} in place of batches", "pass a list of batches: [x]")
    if not isinstance(batches, Iterable):
        raise InputError(operation, f"a {type(batches).__name__}, which is not iterable", "pass a list or a DataLoader")
    if isinstance(batches, Iterator):
        raise InputError(
            operation,
            f"a one-shot {type(batches).__name__}, which is empty after one pass",
            "pass a list (list(batches)) or a DataLoader",
        )
    if length(batches) == 0:
        raise InputError(operation, "an empty loader", "pass at least one batch")
    return batches


def length(batches: Iterable) -> int | None:
    """How many batches there are, None where the loader does not know."""
    try:
        return len(batches)
    except TypeError:
        return None


def inputs(loader: Iterable, keep: int | str | Iterable[str] = 1) -> Inputs:
    """A view of a loader without its labels, to calibrate and compare with.

    Args:
        loader: re-iterable of tuples or lists ``(input, ..., label)`` or of dicts.
        keep: of a tuple the first ``keep`` elements; of a dict these keys, or with a number all keys but
            ``label``, ``labels``, ``target``, ``targets`` and ``y``.

    >>> list(inputs([("image", "label")]))
    ['image']
    """
    return Inputs(reiterable(loader, "qnb.inputs"), keep)


class Inputs:
    """See `inputs`; as long as its loader, and as often to be gone through."""

    def __init__(self, loader: Iterable, keep: int | str | Iterable[str]):
        self.loader = loader
        self.keep = keep if isinstance(keep, int | str) else tuple(keep)

    def __iter__(self) -> Iterator[Any]:
        for batch in self.loader:
            yield self._inputs(batch)

    def _inputs(self, batch: Any) -> Any:
        if isinstance(batch, Mapping):
            if isinstance(self.keep, int):
                return {k: v for k, v in batch.items() if k not in LABELS}
            keys = (self.keep,) if isinstance(self.keep, str) else self.keep
            if missing := [k for k in keys if k not in batch]:
                raise InputError("qnb.inputs", f"no key {missing[0]!r} in a batch", f"keep some of {', '.join(batch)}")
            return {k: batch[k] for k in keys}
        if isinstance(batch, tuple | list) and isinstance(self.keep, int):
            return batch[0] if self.keep == 1 else tuple(batch[: self.keep])
        if isinstance(batch, torch.Tensor) and isinstance(self.keep, int):
            return batch
        raise InputError(
            "qnb.inputs",
            f"a batch that is a {type(batch).__name__} with keep={self.keep!r}",
            "keep a number of elements of tuples, or keys of dicts",
        )

    def __len__(self) -> int:
        return len(self.loader)
