"""How likely a model finds each token of a sequence: negative log-likelihoods, summed over sequences."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from qnb.errors import EvaluateError, InputError
from qnb.measures.metrics.accuracy import logits_of
from qnb.measures.metrics.targets import Labelled, read

AT_ONCE = 1 << 21
"""Logits whose logarithms are taken at once, in float64: 16 MB."""


@dataclass(frozen=True)
class Likelihoods:
    """Of each sequence with tokens that count: their summed negative log-likelihood in nats, and how many they are."""

    nats: list[float]
    tokens: list[int]


def likelihoods(model: Any, batches: Iterable, ignore_index: int, shift: bool | None, operation: str) -> Likelihoods:
    """One pass over the batches. Sequences without a token that counts are left out.

    Raises:
        InputError: batches whose targets cannot be told, or without a token that counts.
        EvaluateError: logits that do not fit, or are not finite.
    """
    nats: list[float] = []
    tokens: list[int] = []
    seen, some = None, False
    with torch.no_grad():
        for batch in batches:
            labelled, some = read(batch, ignore_index, shift, seen, operation), True
            seen = seen if labelled.own is None else labelled.own
            found, counts = _of_batch(logits_of(model(*labelled.args, **labelled.kwargs)), labelled, operation)
            nats += [value for value, count in zip(found, counts, strict=True) if count]
            tokens += [count for count in counts if count]
    if not tokens:
        received = "no token that counts" if some else "a loader that gave no batch"
        raise InputError(operation, received, "pass sequences of two tokens or more, of which some count")
    return Likelihoods(nats, tokens)


def _of_batch(logits: Any, labelled: Labelled, operation: str) -> tuple[list[float], list[int]]:
    """(nats, tokens) of each sequence."""
    targets, counted = labelled.targets, labelled.counted
    wanted = (*targets.shape, "vocabulary")
    if not isinstance(logits, Tensor) or logits.dim() != 3 or logits.shape[:2] != targets.shape:
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        remedy = "it takes logits [batch, tokens, vocabulary]; write your own evaluate otherwise"
        raise EvaluateError(operation, f"logits {shape} where {wanted} belong", remedy)
    chosen = targets[counted]
    vocabulary = logits.shape[-1]
    if chosen.numel() and not 0 <= int(chosen.min()) <= int(chosen.max()) < vocabulary:
        received = f"targets from {int(chosen.min())} to {int(chosen.max())} with {vocabulary} logits"
        raise EvaluateError(operation, received, "pass token ids of the model's vocabulary, or ignore_index")
    nats = torch.zeros(targets.shape, dtype=torch.float64)
    nats[counted] = _negative_log(logits, counted, chosen)
    if not torch.isfinite(nats).all():
        raise EvaluateError(operation, "a token whose likelihood is zero or no number", "look for NaN or inf in logits")
    return nats.sum(1).tolist(), counted.sum(1).tolist()


def _negative_log(logits: Tensor, counted: Tensor, chosen: Tensor) -> Tensor:
    """-log softmax of the chosen tokens in float64, ``[counted]``; a few rows at a time, on the CPU where a device has
    no float64."""
    rows, columns = counted.nonzero(as_tuple=True)
    step, found = max(1, AT_ONCE // logits.shape[-1]), []
    for start in range(0, len(chosen), step):
        part = slice(start, start + step)
        some = logits[rows[part].to(logits.device), columns[part].to(logits.device)]
        some = (some.cpu() if some.device.type == "mps" else some).double()
        ids = chosen[part].to(some.device)
        found.append((some.logsumexp(-1) - some.gather(-1, ids[:, None])[:, 0]).cpu())
    return torch.cat(found) if found else torch.zeros(0, dtype=torch.float64)
