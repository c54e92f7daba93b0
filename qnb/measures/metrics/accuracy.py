"""The share of samples that a model gets right, and how labelled batches are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from qnb.errors import EvaluateError, InputError
from qnb.graph.batches import LABELS, reiterable
from qnb.measures.metrics.score import Score


def accuracy(loader: Iterable) -> Callable[[Any], Score]:
    """An evaluation function: the share of samples whose largest logit is their label's.

    Args:
        loader: re-iterable of ``(input, ..., labels)`` or of dicts with ``labels`` (or ``label``, ``target``,
            ``targets``, ``y``); a batch's other keys, or an input that is a dict, go to the model by name, an
            input that is a tuple by position. The model gives logits ``[N, classes]``, or something with
            ``.logits``. Labels are class numbers ``[N]``.

    Raises:
        InputError: at once, a one-shot generator or an empty loader; while evaluating, a batch without labels.
        EvaluateError: while evaluating, logits and labels whose shapes do not fit.

    >>> model = torch.nn.Identity()
    >>> accuracy([(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.tensor([1, 1]))])(model)
    0.5000 (1/2)
    """
    loader = reiterable(loader, "qnb.accuracy")

    def evaluate(model) -> Score:
        right: list[float] = []
        with torch.no_grad():
            for batch in loader:
                args, kwargs, labels = split(batch, "qnb.accuracy")
                right += _right(logits_of(model(*args, **kwargs)), labels).tolist()
        if not right:
            raise InputError("qnb.accuracy", "a loader that gave no batch", "pass at least one batch")
        return Score(sum(right) / len(right), per_sample=right)

    return evaluate


def split(batch: Any, operation: str) -> tuple[tuple, dict, torch.Tensor]:
    """(args, kwargs, labels) of a labelled batch.

    Raises:
        InputError: it has no labels.
    """
    if isinstance(batch, Mapping):
        key = next((k for k in LABELS if k in batch), None)
        if key is None:
            raise InputError(operation, f"a batch without labels (keys {', '.join(batch)})", "add a key 'labels'")
        return (), {k: v for k, v in batch.items() if k != key}, batch[key]
    if not isinstance(batch, tuple | list) or len(batch) < 2:
        raise InputError(operation, f"a batch that is a {type(batch).__name__}", "pass tuples (inputs, labels)")
    *inputs, labels = batch
    if len(inputs) == 1 and isinstance(inputs[0], Mapping):
        return (), dict(inputs[0]), labels
    if len(inputs) == 1 and isinstance(inputs[0], tuple | list):
        return tuple(inputs[0]), {}, labels
    return tuple(inputs), {}, labels


def logits_of(output: Any) -> Any:
    """The logits of what a model returned: ``.logits``, the key ``"logits"``, or the first of several outputs."""
    if isinstance(output, Mapping) and "logits" in output:
        return output["logits"]
    output = getattr(output, "logits", output)
    return output[0] if isinstance(output, tuple | list) else output


def _right(logits: torch.Tensor, labels: Any) -> torch.Tensor:
    """1.0 or 0.0 for each sample, float64 ``[N]``."""
    try:
        labels = torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError) as error:
        received = f"labels in a {type(labels).__name__}, not all of them numbers"
        raise EvaluateError("qnb.accuracy", received, "pass class numbers as a tensor [N]") from error
    if not isinstance(logits, torch.Tensor) or logits.dim() != 2 or labels.shape != logits.shape[:1]:
        shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise EvaluateError(
            "qnb.accuracy",
            f"logits {shape} with labels {tuple(labels.shape)}",
            "it takes logits [N, classes] and labels [N]; write your own evaluate otherwise",
        )
    return (logits.argmax(1) == labels.to(logits.device)).double()
