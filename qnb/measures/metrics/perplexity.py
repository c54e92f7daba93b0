"""Metrics of language models: perplexity, and the cross-entropy that it is the exponential of."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from qnb.arguments import whole
from qnb.errors import EvaluateError, InputError
from qnb.graph.batches import reiterable
from qnb.measures.metrics.likelihoods import Likelihoods, likelihoods
from qnb.measures.metrics.score import Score

MOST_NATS = 700.0
"""Nats per token whose exponential is still a float64."""


def perplexity(batches: Iterable, *, ignore_index: int = -100, shift: bool | None = None) -> Callable[[Any], Score]:
    """An evaluation function: the perplexity of a language model, ``exp`` of the mean negative log-likelihood.

    All tokens of all batches count alike, so it does not depend on how they are batched. Log-likelihoods are taken in
    float64. Positions whose ``attention_mask`` is 0, before or at the predicted token, do not count, nor do targets
    equal to ``ignore_index``.

    Args:
        batches: re-iterable of token ids as the model takes them: a tensor ``[batch, tokens]``, or a dict with
            ``input_ids`` and what else the model takes. Without targets the logits at position t predict token t + 1.
            Targets ``[batch, tokens]`` come under ``labels`` (``label``, ``target``, ``targets``, ``y``), or as
            the last of a tuple ``(inputs, targets)``. The model gives logits ``[batch, tokens, vocabulary]``,
            something with ``.logits``, or a tuple that begins with them.
        ignore_index: the target of what does not count.
        shift: where targets stand. True: at their tokens' own positions, as Hugging Face's labels do; they are moved
            by one. False: at the positions that predict them; they are taken as they are. None sees it in the data:
            targets that repeat the inputs, or that are the inputs' next tokens. Others are an error.

    Returns:
        ``evaluate(model)``, whose `Score` has a perplexity per sequence, weighted by its tokens: the value is their
        geometric mean, and two runs are compared by resampling sequences. ``n`` is the number of sequences.

    Raises:
        InputError: at once, a one-shot generator or an empty loader; while evaluating, targets that do not say where
            they stand, no token that counts.
        EvaluateError: while evaluating, logits that do not fit the targets or are not finite.

    >>> import torch
    >>> class Uniform(torch.nn.Module):
    ...     def forward(self, ids):
    ...         return torch.zeros(*ids.shape, 50)
    >>> perplexity([torch.tensor([[3, 1, 4], [1, 5, 9]])])(Uniform())
    50 (n = 2)
    """
    found = _checked(batches, ignore_index, shift, "qnb.perplexity")

    def evaluate(model: Any) -> Score:
        each = found(model)
        most = max(nats / tokens for nats, tokens in zip(each.nats, each.tokens, strict=True))
        if most > MOST_NATS:
            received = f"a sequence with {most:.0f} nats per token, whose perplexity is no float64"
            raise EvaluateError("qnb.perplexity", received, "look at the logits, or use qnb.cross_entropy")
        value = math.exp(math.fsum(each.nats) / sum(each.tokens))
        samples = [math.exp(nats / tokens) for nats, tokens in zip(each.nats, each.tokens, strict=True)]
        return Score(value, per_sample=samples, higher_is_better=False, weights=each.tokens, mean="geometric")

    return evaluate


def cross_entropy(batches: Iterable, *, ignore_index: int = -100, shift: bool | None = None) -> Callable[[Any], Score]:
    """An evaluation function: the mean negative log-likelihood of a language model, in nats per token.

    It is the logarithm of `perplexity`: 0.01 nats are one per cent of perplexity, whatever the model.

    Args:
        batches, ignore_index, shift: as for `perplexity`.

    Returns:
        ``evaluate(model)``, whose `Score` has a mean per sequence, weighted by its tokens.

    Raises:
        InputError, EvaluateError: as for `perplexity`.

    >>> import torch
    >>> two_alike = torch.nn.Embedding.from_pretrained(torch.zeros(2, 2))
    >>> cross_entropy([torch.tensor([[0, 1, 0]])])(two_alike)
    0.693147 (n = 1)
    """
    found = _checked(batches, ignore_index, shift, "qnb.cross_entropy")

    def evaluate(model: Any) -> Score:
        each = found(model)
        value = math.fsum(each.nats) / sum(each.tokens)
        samples = [nats / tokens for nats, tokens in zip(each.nats, each.tokens, strict=True)]
        return Score(value, per_sample=samples, higher_is_better=False, weights=each.tokens)

    return evaluate


def _checked(batches: Iterable, ignore_index: int, shift: bool | None, operation: str) -> Callable[[Any], Likelihoods]:
    batches = reiterable(batches, operation)
    whole(operation, "ignore_index", ignore_index, None)
    if shift not in (None, True, False):
        raise InputError(operation, f"shift={shift!r}", "pass True, False, or None to see it in the data")
    return lambda model: likelihoods(model, batches, ignore_index, shift, operation)
