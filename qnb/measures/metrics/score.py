"""Metrics with their uncertainty: a score, its interval, and how much worse one is than another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np

from qnb.errors import EvaluateError, InputError
from qnb.measures.metrics import samples
from qnb.measures.metrics.intervals import around, bootstrap, mean_of, resampled, unseen_share, wilson

MEANS = ("arithmetic", "geometric")


@dataclass(frozen=True)
class Score:
    """What an evaluation function returns.

    Args:
        value: the metric, finite.
        n: how many samples it was taken on; with it there is an interval.
        per_sample: one value per sample (0 or 1 for accuracy), in the same order each time; with it, runs are
            compared sample by sample.
        higher_is_better: False for a loss or an error rate.
        weights: how much each sample counts in the value, such as its number of tokens; samples of which nothing is
            said count alike.
        mean: how the value follows from the samples: ``"arithmetic"``, or ``"geometric"`` as a perplexity does.
            With weights or a geometric mean the value must be that mean; else it need not be a mean at all.

    Raises:
        EvaluateError: a value that is not a finite number, or per-sample values that are not one finite number for
            each sample, or that all lie on one side of the value (97.4 % beside zeros and ones); weights that are not
            one positive number for each sample; a value that is not the mean that is said.

    >>> Score(0.975, 80)
    0.9750 (78/80)
    """

    value: float
    n: int | None = None
    per_sample: Sequence[float] | None = None
    higher_is_better: bool = True
    weights: Sequence[float] | None = field(default=None, kw_only=True)
    mean: str = field(default="arithmetic", kw_only=True)

    def __post_init__(self):
        store = partial(object.__setattr__, self)
        store("value", samples.finite(self.value))
        if self.per_sample is not None:
            store("per_sample", samples.per_sample(self.per_sample, self.value))
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
        if self.weights is not None:
            store("weights", samples.weights_of(self.weights, self.per_sample))
        if self.mean not in MEANS:
            raise EvaluateError("Score", f"mean={self.mean!r}", f"use one of {', '.join(MEANS)}")
        if self.is_mean:
            self._check_mean()

    @property
    def is_mean(self) -> bool:
        """Whether the value is said to be a mean of another kind than the plain one."""
        return self.weights is not None or self.mean != "arithmetic"

    def _check_mean(self) -> None:
        values, geometric = np.asarray(self.per_sample, dtype=np.float64), self.mean == "geometric"
        if self.per_sample is None or (geometric and not (values > 0).all()):
            received = f"mean={self.mean!r} of {'no' if self.per_sample is None else 'zero or negative'} samples"
            raise EvaluateError("Score", received, "give per_sample, and for a geometric mean values above 0")
        found = mean_of(values, self._weights, geometric)
        largest = self.value if geometric else float(np.abs(values).max())
        if abs(found - self.value) > 1e-3 * abs(largest):  # it may be rounded
            received = f"value {self.value:.6g} with samples whose {self.mean} mean is {found:.6g}"
            raise EvaluateError("Score", received, "give that mean as the value")

    @property
    def _weights(self) -> np.ndarray | None:
        return None if self.weights is None else np.asarray(self.weights, dtype=np.float64)

    @property
    def correct_count(self) -> int | None:
        """How many samples were right, where the value is their share of n; None where it is something else."""
        if self.n is None or not 0 <= self.value <= 1 or self.is_mean:
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
        Other per-sample values are resampled (bootstrap percentiles, Efron 1979), with their weights and by the mean
        that is said, the same way each time.

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
            rows = np.array([self.per_sample], dtype=np.float64)
            geometric = self.mean == "geometric"
            means, draws = [mean_of(rows[0], self._weights, geometric)], resampled(rows, self._weights, geometric)
            return around([self.value], means, draws, confidence)[0]
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

    With per-sample values on both sides the samples are drawn again, the same on both sides, for the difference of the
    two means (of weights and means of one kind), and the p-value is McNemar's exact test for shares (McNemar 1947) or
    Wilcoxon's, of geometric means on logarithms; else the two intervals are combined (Newcombe 1998, method 10).
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
    alike = (reference.weights, reference.mean) == (other.weights, other.mean)
    if a is not None and b is not None and len(a) == len(b) and alike:
        if reference.is_mean:
            return _paired_means(reference, other, sign, value, confidence)
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


def _paired_means(reference: Score, other: Score, sign: float, value: float, confidence: float) -> Drop:
    """Of weighted or geometric means, of which no difference of samples has the mean: both are drawn alike."""
    from scipy.stats import wilcoxon

    rows = np.array([reference.per_sample, other.per_sample], dtype=np.float64)
    weights, geometric = reference._weights, reference.mean == "geometric"
    changed = np.diff(np.log(rows) if geometric else rows, axis=0)[0]
    if not changed.any():
        return Drop(value, math.nan, math.nan, True, 1.0)
    draws = resampled(rows, weights, geometric)
    first, second = (mean_of(row, weights, geometric) for row in rows)
    lost = np.column_stack([sign * (draws[:, 0] - draws[:, 1]), draws[:, 1]])
    means = [sign * (first - second), second]
    (low, high), other._intervals[confidence] = around([value, other.value], means, lost, confidence)
    return Drop(value, low, high, True, float(wilcoxon(changed).pvalue))


def _check_confidence(confidence: float, operation: str) -> None:
    if not 0 < confidence < 1:
        raise InputError(operation, f"confidence={confidence}", "use a number between 0 and 1, such as 0.95")
