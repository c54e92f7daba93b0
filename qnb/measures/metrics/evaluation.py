"""Calls the user's evaluation function and makes a Score of what it returns."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from qnb.errors import EvaluateError, QnbError
from qnb.graph.capture_errors import at
from qnb.measures.metrics.score import Score
from qnb.randomness import Draws

REMEDY = "return a float, or qnb.Score(value, n)"


def score_of(
    evaluate: Callable[[nn.Module], Any],
    model: nn.Module,
    name: str,
    tick: Callable[[int], None] | None = None,
    seed: int = 0,
) -> Score:
    """``evaluate(model)`` as a `Score`, without gradients (``torch.enable_grad()`` inside it still works).

    Args:
        name: of the run, for errors.
        tick: called with the count before every forward pass; what it raises stops the evaluation.
        seed: of what evaluate draws through torch, so that every model sees the same samples.

    Raises:
        EvaluateError: evaluate raised, or returned something that is not a finite number.
    """
    operation = f"evaluate ({name})"
    calls = 0

    def count(*_) -> None:
        nonlocal calls
        calls += 1
        if tick is not None:
            tick(calls)

    handle = model.register_forward_pre_hook(count)
    model.eval()
    try:
        with torch.no_grad(), Draws(seed):
            value = evaluate(model)
    except QnbError:
        raise
    except Exception as error:
        received = f"your evaluation function raised {type(error).__name__}{at(error)}: {error}"
        raise EvaluateError(operation, received, "fix that line; it must work with any nn.Module") from error
    finally:
        handle.remove()
        model.eval()
    return as_score(value, operation)


def as_score(value: Any, operation: str) -> Score:
    """A Score from a Score or anything with a float in it.

    >>> as_score(0.5, "evaluate").value
    0.5
    """
    if isinstance(value, Score):
        score = value
    else:
        try:
            score = Score(float(value))
        except QnbError:
            raise
        except (TypeError, ValueError, RuntimeError) as error:
            received = f"your evaluation function returned a {type(value).__name__}"
            raise EvaluateError(operation, received, REMEDY) from error
    if not math.isfinite(score.value):
        raise EvaluateError(
            operation,
            f"your evaluation function returned {score.value}",
            "look for a division by zero or NaN outputs; it must be a finite number",
        )
    return score
