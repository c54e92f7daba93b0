"""A method's place in the recipe "auto"."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qnb.numerics import Grid

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim


@dataclass(frozen=True)
class Auto:
    """When "auto" tries a method.

    Args:
        effort: the cheapest is tried first. qnb's own methods have 10 to 30 where a formula does it, 40 and 50 where
            layers are optimized one by one, 60 where mixes are searched, and 70 where all is trained.
        suits: whether a QuantSim has what the method is for.
        removes: of the error that weights, and that activations, make at the outputs, the shares that the method
            usually takes away, 0 to 1. What is tried first follows from it and from what the diagnosis says.
        passes: what it usually costs, in forward passes over the calibration data.
    """

    effort: float
    suits: Callable[[Any], bool] = lambda sim: True
    removes: tuple[float, float] = (0.3, 0.3)
    passes: float = 100.0


def with_integer_weights(sim: QuantSim) -> bool:
    """Whether a QuantSim has weights to round."""
    return any(isinstance(sim.weight(key).grid, Grid) for key in sim.plan.weights)


def with_norms(sim: QuantSim) -> bool:
    """Whether a QuantSim has layers that normalize."""
    return any("_norm" in group.op for group in sim.groups)


def with_integer_activations(sim: QuantSim) -> bool:
    """Whether a QuantSim has activations whose range calibration chooses."""
    return any(isinstance(sim.activation(k).grid, Grid) and s.fixed is None for k, s in sim.plan.activations.items())
