"""Which token each position of a batch has to predict, and which positions count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from qnb.errors import EvaluateError, InputError
from qnb.graph.batches import LABELS
from qnb.measures.metrics.accuracy import split

IDS, MASK = "input_ids", "attention_mask"
SAY = "say which with shift=True (Hugging Face's labels) or shift=False"


@dataclass(frozen=True)
class Labelled:
    """A batch as the model takes it, and what it has to predict.

    Args:
        args, kwargs: of the model.
        targets: int64 ``[batch, tokens]``: position t predicts ``targets[:, t]``.
        counted: bool ``[batch, tokens]``.
        own: whether the targets were given at their tokens' own positions; None where the batch does not say.
    """

    args: tuple
    kwargs: dict[str, Any]
    targets: Tensor
    counted: Tensor
    own: bool | None


def read(batch: Any, ignore_index: int, shift: bool | None, seen: bool | None, operation: str) -> Labelled:
    """A batch's targets.

    Args:
        shift: whether targets stand at their tokens' own positions; None to see it in the data: they repeat the
            batch's own tokens there, or the next ones.
        seen: what earlier batches showed.

    Raises:
        InputError: no token ids, or targets that do not say what they are, or not what earlier ones said.
    """
    if isinstance(batch, Tensor) or (isinstance(batch, tuple | list) and len(batch) == 1):
        args, kwargs, targets = (batch,) if isinstance(batch, Tensor) else tuple(batch), {}, None
    elif isinstance(batch, Mapping) and not any(key in batch for key in LABELS):
        args, kwargs, targets = (), dict(batch), None
    else:
        args, kwargs, targets = split(batch, operation)
    ids, own = _ids(args, kwargs), None
    if targets is None:
        if ids is None:
            remedy = f"pass a tensor of token ids [batch, tokens], a dict with {IDS!r}, or pairs (inputs, targets)"
            raise InputError(operation, "a batch without token ids and without targets", remedy)
        targets, moves = ids, True
    else:
        targets = _whole(targets, operation)
        _refuse_mask(batch, targets, ids, operation)
        own = shift if shift is not None else _at_own(ids, targets, targets != ignore_index, seen, operation)
        moves = bool(own)
    attended = _attended(kwargs, targets, operation)
    counted = (targets != ignore_index) & attended
    if moves:
        return Labelled(args, kwargs, _moved(targets, ignore_index), _moved(counted, False) & attended, own)
    if ids is not None and _next(ids, targets, counted):  # each has the mask of the token that it predicts
        counted[:, :-1] &= attended[:, 1:]
    return Labelled(args, kwargs, targets, counted, own)


def _moved(values: Tensor, last: Any) -> Tensor:
    """One position to the left; the last position has nothing to predict."""
    return torch.cat([values[:, 1:], torch.full_like(values[:, :1], last)], 1)


def _ids(args: tuple, kwargs: Mapping[str, Any]) -> Tensor | None:
    """The token ids that go into the model."""
    found = kwargs.get(IDS, args[0] if args else None)
    if IDS not in kwargs and not args:
        others = [v for k, v in kwargs.items() if "mask" not in k and not k.endswith(("type_ids", "position_ids"))]
        found = others[0] if len(others) == 1 else None
    whole = isinstance(found, Tensor) and found.dim() == 2 and not found.is_floating_point()
    return found.long().cpu() if whole and found.dtype != torch.bool else None


def _whole(targets: Any, operation: str) -> Tensor:
    if not isinstance(targets, Tensor):
        try:
            targets = torch.as_tensor(targets)
        except (TypeError, ValueError, RuntimeError) as error:
            received = f"targets in a {type(targets).__name__}"
            raise EvaluateError(operation, received, "pass token ids as a tensor [batch, tokens]") from error
    if targets.dim() != 2 or targets.is_floating_point() or targets.dtype == torch.bool:
        received = f"targets of shape {tuple(targets.shape)} and {targets.dtype}"
        raise InputError(operation, received, "pass token ids [batch, tokens]; inputs that are no targets in a dict")
    return targets.long().cpu()


def _at_own(ids: Tensor | None, targets: Tensor, counted: Tensor, seen: bool | None, operation: str) -> bool | None:
    """Whether targets repeat the tokens at their own positions, rather than the next ones."""
    if not counted.any():
        return seen
    if ids is None or ids.shape != targets.shape:
        raise InputError(operation, "targets beside inputs that are no token ids of their shape", SAY)
    own, following = bool((ids == targets)[counted].all()), _next(ids, targets, counted)
    if own and following and seen is not None:
        return seen
    if own == following:
        said = "both their own and the next tokens" if own else "neither their own nor the next tokens"
        raise InputError(operation, f"targets that are {said} of the inputs", SAY)
    if seen is not None and own != seen:
        raise InputError(operation, "batches whose targets are their own tokens, and some whose are the next", SAY)
    return own


def _next(ids: Tensor, targets: Tensor, counted: Tensor) -> bool:
    """Whether all targets but the last are the tokens that come next."""
    return ids.shape == targets.shape and bool((ids[:, 1:] == targets[:, :-1])[counted[:, :-1]].all())


def _refuse_mask(batch: Any, targets: Tensor, ids: Tensor | None, operation: str) -> None:
    """A tuple ``(input_ids, attention_mask)`` has no targets, but the mask would pass for some."""
    binary = targets.numel() > 0 and bool(((targets == 0) | (targets == 1)).all())
    if binary and not isinstance(batch, Mapping) and ids is not None and int(ids.max()) > 1:
        remedy = f"pass a dict: {{{IDS!r}: ..., {MASK!r}: ...}}"
        raise InputError(operation, "a tuple that ends with zeros and ones, as an attention mask is", remedy)


def _attended(kwargs: Mapping[str, Any], targets: Tensor, operation: str) -> Tensor:
    mask = kwargs.get(MASK)
    if mask is None:
        return torch.ones_like(targets, dtype=torch.bool)
    if not isinstance(mask, Tensor) or mask.shape != targets.shape:
        shape = tuple(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
        remedy = "pass a mask [batch, tokens], and leave what does not count out of the targets"
        raise InputError(operation, f"an attention_mask {shape} with targets {tuple(targets.shape)}", remedy)
    return mask.cpu() != 0
