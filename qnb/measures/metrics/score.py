"""Metrics with their uncertainty: a score, its interval, and how much worse one is than another."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch

from qnb.errors import EvaluateError, InputError
from qnb.graph.batches import LABELS, reiterable
from qnb.measures.metrics.intervals import bootstrap, unseen_share, wilson


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
        EvaluateError: a value that is not a finite number, or per-sample values that are not one finite number for
            each sample, or that all lie on one side of the value (97.4 % beside zeros and ones).

    >>> Score(0.975, 80)
    0.9750 (78/80)
    """

    value: float
    n: int | None = None
    per_sample: Sequence[float] | None = None
    higher_is_better: bool = True

    def __post_init__(self):
        store = partial(object.__setattr__, self)
        store("value", _number(self.value))
        if self.per_sample is not None:
            store("per_sample", _samples(self.per_sample, self.value))
            if self.n is None:
                store("n", len(self.per_sample))
            elif self.n != len(self.per_sample):
                raise EvaluateError(
                    "Score", f"{len(self.per_sample)} per-sample values with n={self.n}", "give one value per sample"
                )
        if self.n is not None:
            if not math.isfinite(self.n) or self.n < 1 or int(self.n) != self.n:
                raise EvaluateError("Score", f"n={self.n}", "give the number of samples, 1 or more")
            store("n", int(self.n))

    @property
    def correct_count(self) -> int | None:
        """How many samples were right, where the value is their share of n; None where it is something else."""
        if self.n is None or not 0 <= self.value <= 1:
            return None
        count = round(self.value * self.n)
        if self.per_sample is not None:
            fits = set(self.per_sample) <= {0.0, 1.0} and count == sum(self.per_sample)
        else:
            fits = abs(self.value - count / self.n) < 1e-7  # as close as float32 comes to a share
        return count if fits else None

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """(low, high) around the value; NaN where nothing is known about the samples.

        Shares, and any value in [0, 1] of which only n is known, have Wilson's interval (Wilson 1927). It is too
        wide rather than too narrow for other means of numbers in [0, 1], which vary less than right and wrong do.
        Other per-sample values are resampled (bootstrap percentiles, Efron 1979), the same way each time.

        Raises:
            InputError: a confidence that is not between 0 and 1.

        >>> low, high = Score(0.975, 80).interval()
        >>> f"{low:.3f} {high:.3f}"
        '0.913 0.993'
        """
        _check_confidence(confidence, "Score.interval")
        if confidence not in self._intervals:
            self._intervals[confidence] = self._interval(confidence)
        return self._intervals[confidence]

    def _interval(self, confidence: float) -> tuple[float, float]:
        if self._resampled:
            return bootstrap(np.array([self.per_sample]), [self.value], confidence)[0]
        if self.n is None or not 0 <= self.value <= 1:
            return math.nan, math.nan
        return wilson(self.value if self.correct_count is None else self.correct_count / self.n, self.n, confidence)

    @cached_property
    def _intervals(self) -> dict[float, tuple[float, float]]:
        """By confidence, what is known already; a Score does not change."""
        return {}

    @property
    def _resampled(self) -> bool:
        """Whether the interval is found by resampling."""
        return self.per_sample is not None and self.correct_count is None

    def __float__(self) -> float:
        return self.value

    def __repr__(self) -> str:
        if self.n is None:
            return f"{self.value:.6g}"
        if self.correct_count is not None:
            return f"{self.value:.4f} ({self.correct_count}/{self.n})"
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
    Shares whose p-value is above ``1 - confidence`` have 0 in their interval. Where no sample changed, a share's
    interval has the share of samples that may have changed all the same (`unseen_share`) at both sides; of other
    metrics nothing is known then, and it is NaN.

    Raises:
        InputError: a confidence that is not between 0 and 1.

    >>> before, after = Score(1.0, per_sample=[1, 1, 1, 1]), Score(0.75, per_sample=[1, 1, 0, 1])
    >>> paired_drop(before, after)
    Drop(value=0.25, low=0.0, high=0.75, paired=True, p_value=1.0)
    """
    _check_confidence(confidence, "paired_drop")
    sign = 1.0 if reference.higher_is_better else -1.0
    value = sign * (reference.value - other.value) + 0.0  # no minus zero
    a, b = reference.per_sample, other.per_sample
    if a is not None and b is not None and len(a) == len(b):
        return _paired(reference, other, sign * (np.asarray(a) - np.asarray(b)), value, confidence)
    (a_low, a_high), (b_low, b_high) = reference.interval(confidence), other.interval(confidence)
    if math.isnan(a_low) or math.isnan(b_low):
        return Drop(value, math.nan, math.nan, False, math.nan)
    up = math.hypot(a_high - reference.value, other.value - b_low)
    down = math.hypot(reference.value - a_low, b_high - other.value)
    below, above = (down, up) if sign > 0 else (up, down)
    return Drop(value, value - below, value + above, False, math.nan)


def _paired(reference: Score, other: Score, difference: np.ndarray, value: float, confidence: float) -> Drop:
    """``difference [n]``: how much worse each sample became."""
    from scipy.stats import binomtest, wilcoxon

    if not difference.any():
        counted = reference.correct_count is not None and other.correct_count is not None
        most = unseen_share(len(difference), confidence) if counted else math.nan
        return Drop(value, value - most, value + most, True, 1.0)
    rows, values = [difference], [value]
    if other._resampled and confidence not in other._intervals:  # whose samples are drawn the same way
        rows, values = [*rows, other.per_sample], [*values, other.value]
    (low, high), *own = bootstrap(np.array(rows), values, confidence)
    if own:
        other._intervals[confidence] = own[0]
    shares = set(np.unique(difference)) <= {-1.0, 0.0, 1.0}
    if shares:
        worse, better = int((difference > 0).sum()), int((difference < 0).sum())
        p_value = float(binomtest(worse, worse + better).pvalue)
    else:
        p_value = float(wilcoxon(difference).pvalue)
    if shares and p_value > 1 - confidence:
        # Four or five samples that all became worse may be chance, which resampling alone does not see.
        low, high = min(low, 0.0), max(high, 0.0)
    return Drop(value, low, high, True, p_value)


def _check_confidence(confidence: float, operation: str) -> None:
    if not 0 < confidence < 1:
        raise InputError(operation, f"confidence={confidence}", "use a number between 0 and 1, such as 0.95")


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise EvaluateError("Score", f"a value that is a {type(value).__name__}", "return a finite number") from error
    if not math.isfinite(number):
        raise EvaluateError("Score", f"value {number}", "return a finite number")
    return number


def _samples(values: Any, value: float) -> tuple[float, ...]:
    """Per-sample values as a tuple of floats; each side of the metric's value has some, or they are equal to it."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().double().numpy()
    try:
        samples = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        received = f"per-sample values in a {type(values).__name__}, not all of them numbers"
        raise EvaluateError("Score", received, "give one finite value per sample") from error
    if samples.ndim != 1 or not samples.size or not np.isfinite(samples).all():
        received = f"per-sample values of shape {samples.shape}, {np.isfinite(samples).sum()} of them finite"
        raise EvaluateError("Score", received, "give one finite value per sample")
    low, high = samples.min(), samples.max()
    slack = 1e-3 * max(abs(low), abs(high), abs(value))  # the value may be rounded
    if not low - slack <= value <= high + slack:
        received = f"value {value:.6g} with per-sample values from {low:.6g} to {high:.6g}"
        raise EvaluateError("Score", received, "give both in the same units, or leave per_sample out")
    return tuple(samples.tolist())


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
