"""Learning rate over the steps of a training."""

from __future__ import annotations

import math
from collections.abc import Callable

SCHEDULES: dict[str, Callable[[float], float]] = {
    "cosine": lambda t: 0.5 * (1 + math.cos(math.pi * t)),
    "linear": lambda t: 1 - t,
    "constant": lambda t: 1.0,
}
"""Of the part t that is done, 0 to 1; cosine annealing is Loshchilov and Hutter's (2017, arXiv 1608.03983)."""


def learning_rate_factor(step: int, steps: int, schedule: str = "cosine", warmup: int = 0) -> float:
    """What the learning rate is multiplied by at a step.

    Args:
        step: 0 to ``steps - 1``.
        schedule: of `SCHEDULES`.
        warmup: steps in which it rises to its full height, evenly.

    >>> [round(learning_rate_factor(step, 6, "cosine", warmup=2), 2) for step in range(6)]
    [0.5, 1.0, 1.0, 0.85, 0.5, 0.15]
    """
    if step < warmup:
        return (step + 1) / warmup
    return SCHEDULES[schedule]((step - warmup) / max(steps - warmup, 1))
