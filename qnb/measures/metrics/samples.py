"""What a person gives for a score's value, samples and weights, as floats; what is none of these is an error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from qnb.errors import EvaluateError


def finite(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise EvaluateError("Score", f"a value that is a {type(value).__name__}", "return a finite number") from error
    if not math.isfinite(number):
        raise EvaluateError("Score", f"value {number}", "return a finite number")
    return number


def per_sample(values: Any, value: float) -> tuple[float, ...]:
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


def weights_of(values: Any, samples: Sequence[float] | None) -> tuple[float, ...]:
    """One positive number for each sample."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().double().numpy()
    try:
        weights = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        received = f"weights in a {type(values).__name__}, not all of them numbers"
        raise EvaluateError("Score", received, "give one positive number per sample") from error
    count = 0 if samples is None else len(samples)
    if weights.shape != (count,) or not np.isfinite(weights).all() or not (weights > 0).all():
        received = f"weights of shape {weights.shape} for {count} per-sample values, or not all of them positive"
        raise EvaluateError("Score", received, "give per_sample, and one positive number for each")
    return tuple(weights.tolist())
