"""Metrics with their doubt: a score, its interval, and how much worse one is than another."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from qnb.errors import EvaluateError, InputError
from qnb.graph.batches import LABELS, reiterable

RESAMPLES = 2000


@dataclass(frozen=True)
class Score:
    """What an evaluation function returns.

    Args:
        value: the metric, finite.
        n: how many samples it was taken on; with it there is an interval.
        per_sample: one value per sample (0 or 1 for accuracy), in the same order each time; with it, runs are
            compared sample by sample.
        higher_is_better: False for a loss or an error rate.

    Raises:
        EvaluateError: a value that is not finite, or numbers that do not fit together.

    >>> Score(0.975, 80)
    0.9750 (78/80)
    """

    value: float
    n: int | None = None
    per_sample: Sequence[float] | None = None
    higher_is_better: bool = True

    def __post_init__(self):
        object.__setattr__(self, "value", float(self.value))
        if not math.isfinite(self.value):
            raise EvaluateError("Score", f"value {self.value}", "return a finite number")
        if self.per_sample is not None:
            samples = tuple(float(v) for v in self.per_sample)
            object.__setattr__(self, "per_sample", samples)
            object.__setattr__(self, "n", len(samples) if self.n is None else self.n)
            if self.n != len(samples) or not all(map(math.isfinite, samples)):
                raise EvaluateError("Score", f"{len(samples)} per-sample values with n={self.n}",
                                    "give one finite value per sample")  # fmt: skip
        if self.n is not None and self.n < 1:
            raise EvaluateError("Score", f"n={self.n}", "give the number of samples, 1 or more")

    @property
    def binary(self) -> bool:
        """Whether it is a share of samples that were right."""
        if self.per_sample is not None:
            return set(self.per_sample) <= {0.0, 1.0}
        return self.n is not None and 0 <= self.value <= 1 and abs(self.value * self.n - round(self.value * self.n)) < 1e-6

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """(low, high): Wilson's for shares (Wilson 1927), bootstrap percentiles for other per-sample values;
        NaN where nothing is known about the samples."""
        if self.binary:
            from scipy.stats import binomtest

            found = binomtest(round(self.value * self.n), self.n).proportion_ci(confidence, method="wilson")
            return float(found.low), float(found.high)
        if self.per_sample is None:
            return math.nan, math.nan
        return _bootstrap(np.asarray(self.per_sample), confidence)

    def __float__(self) -> float:
        return self.value

    def __repr__(self) -> str:
        if self.n is None:
            return f"{self.value:.6g}"
        if self.binary:
            return f"{self.value:.4f} ({round(self.value * self.n)}/{self.n})"
        return f"{self.value:.6g} (n = {self.n})"


@dataclass(frozen=True)
class Drop:
    """How much worse: ``value`` with its interval ``low`` to ``high`` (NaN where unknown); negative is better.

    ``paired``: compared sample by sample. ``p_value`` of no difference, NaN where unknown.
    """

    value: float
    low: float
    high: float
    paired: bool
    p_value: float


def paired_drop(reference: Score, other: Score, confidence: float = 0.95) -> Drop:
    """How much worse ``other`` is than ``reference``, in the metric's units.

    With per-sample values on both sides the differences are resampled, and the p-value is McNemar's exact test
    for shares (McNemar 1947) or Wilcoxon's; else the two intervals are combined (Newcombe 1998, method 10).
    """
    sign = 1.0 if reference.higher_is_better else -1.0
    value = sign * (reference.value - other.value)
    a, b = reference.per_sample, other.per_sample
    if a is not None and b is not None and len(a) == len(b):
        difference = sign * (np.asarray(a) - np.asarray(b))
        if not difference.any():
            return Drop(value, 0.0, 0.0, True, 1.0)
        low, high = _bootstrap(difference, confidence)
        shift = value - difference.mean()  # a metric need not be the mean of its samples
        shift = 0.0 if abs(shift) < 1e-12 else shift
        return Drop(value, low + shift, high + shift, True, _p_value(difference))
    (a_low, a_high), (b_low, b_high) = reference.interval(confidence), other.interval(confidence)
    if math.isnan(a_low) or math.isnan(b_low):
        return Drop(value, math.nan, math.nan, False, math.nan)
    up = math.hypot(a_high - reference.value, other.value - b_low)
    down = math.hypot(reference.value - a_low, b_high - other.value)
    below, above = (down, up) if sign > 0 else (up, down)
    return Drop(value, value - below, value + above, False, math.nan)


def _p_value(difference: np.ndarray) -> float:
    from scipy.stats import binomtest, wilcoxon

    if set(np.unique(difference)) <= {-1.0, 0.0, 1.0}:
        worse, better = int((difference > 0).sum()), int((difference < 0).sum())
        return float(binomtest(worse, worse + better).pvalue)
    return float(wilcoxon(difference).pvalue)


def _bootstrap(samples: np.ndarray, confidence: float) -> tuple[float, float]:
    """Percentile bootstrap of the mean (Efron 1979), the same each time."""
    rng = np.random.default_rng(0)
    means = np.array([rng.choice(samples, len(samples)).mean() for _ in range(RESAMPLES)])
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def accuracy(loader: Iterable) -> Callable[[Any], Score]:
    """An evaluation function: the share of samples whose largest logit is their label's.

    Args:
        loader: re-iterable of ``(input, ..., labels)`` or of dicts with ``labels`` (or ``label``, ``target``,
            ``targets``, ``y``). The model gives logits ``[N, classes]``, or something with ``.logits``.

    >>> model = torch.nn.Identity()
    >>> accuracy([(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.tensor([1, 1]))])(model)
    0.5000 (1/2)
    """
    loader = reiterable(loader, "qnb.accuracy")

    def evaluate(model) -> Score:
        right: list[float] = []
        with torch.no_grad():
            for batch in loader:
                args, kwargs, labels = _split(batch)
                right += _right(_logits(model(*args, **kwargs)), labels).tolist()
        if not right:
            raise InputError("qnb.accuracy", "a loader that gave no batch", "pass at least one batch")
        return Score(sum(right) / len(right), per_sample=right)

    return evaluate


def _split(batch: Any) -> tuple[tuple, dict, torch.Tensor]:
    """(args, kwargs, labels) of a labelled batch."""
    if isinstance(batch, Mapping):
        key = next((k for k in LABELS if k in batch), None)
        if key is None:
            raise InputError("qnb.accuracy", f"a batch without labels (keys {', '.join(batch)})", "add a key 'labels'")
        return (), {k: v for k, v in batch.items() if k != key}, batch[key]
    if not isinstance(batch, tuple | list) or len(batch) < 2:
        raise InputError("qnb.accuracy", f"a batch that is a {type(batch).__name__}", "pass tuples (inputs, labels)")
    *inputs, labels = batch
    if len(inputs) == 1 and isinstance(inputs[0], Mapping):
        return (), dict(inputs[0]), labels
    if len(inputs) == 1 and isinstance(inputs[0], tuple | list):
        return tuple(inputs[0]), {}, labels
    return tuple(inputs), {}, labels


def _logits(output: Any) -> torch.Tensor:
    if isinstance(output, Mapping) and "logits" in output:
        return output["logits"]
    output = getattr(output, "logits", output)
    return output[0] if isinstance(output, tuple | list) else output


def _right(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    if not isinstance(logits, torch.Tensor) or logits.dim() != 2 or labels.shape != logits.shape[:1]:
        shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise EvaluateError("qnb.accuracy", f"logits {shape} with labels {tuple(labels.shape)}",
                            "it takes logits [N, classes] and labels [N]; write your own evaluate otherwise")  # fmt: skip
    return (logits.argmax(1) == labels.to(logits.device)).double()
