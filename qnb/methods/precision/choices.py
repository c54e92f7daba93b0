"""What a search for mixed precision chooses from, and whether it can be made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from qnb.arguments import whole
from qnb.errors import FileError
from qnb.measures.sensitivity.estimate import WAYS
from qnb.measures.sensitivity.trials import check_executor
from qnb.methods.precision.candidates import Group, layer_groups, movable, parse
from qnb.methods.precision.costs import COSTS, by_layer
from qnb.methods.precision.front import Problem, lowest_cost
from qnb.numerics import Precision

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from os import PathLike

    from qnb.sim.quantsim import QuantSim

OPERATION = "mixed_precision"


class Choices:
    """What there is to choose from: groups of layers, their options, and what these cost.

    Args:
        sim: a calibrated QuantSim; it is not changed.
        candidates, cost, layers: as for `qnb.methods.mixed_precision`.

    ``lowest`` is the least cost of any choice, ``highest`` that of the costliest candidate in all groups.
    """

    def __init__(
        self,
        sim: QuantSim,
        candidates: Iterable[str | Precision] | None = None,
        cost: str | Callable = "bops",
        layers: str | Iterable[str] | None = None,
    ):
        self.sim = sim
        self.candidates = parse(sim, candidates, OPERATION)
        self.groups: list[Group] = layer_groups(sim, self.candidates, layers, OPERATION)
        self.cost = cost if isinstance(cost, str) else getattr(cost, "__name__", "cost")
        costs = by_layer(cost, sim, self.groups, OPERATION) if callable(cost) else COSTS[cost](sim, self.groups)
        self.problem = Problem([np.zeros(len(g.options)) for g in self.groups], costs.groups, costs.pairs)
        uniform = ([g.option_of[i] for g in self.groups] for i in range(len(self.candidates)))
        self.highest = max(self.problem.point(choice).cost for choice in uniform)
        self.lowest = lowest_cost(self.problem)

    @classmethod
    def known(
        cls,
        sim: QuantSim,
        candidates: tuple[Precision, ...],
        groups: list[Group],
        cost: str,
        problem: Problem,
        lowest: float,
        highest: float,
    ) -> Choices:
        """Choices that were found before, with the costs that they had then: what made these is not asked again."""
        made = cls.__new__(cls)
        made.sim, made.candidates, made.groups, made.cost = sim, candidates, groups, cost
        made.problem, made.lowest, made.highest = problem, lowest, highest
        return made

    def with_losses(self, losses: Sequence[np.ndarray]) -> Problem:
        return Problem(losses, self.problem.cost, self.problem.pairs)


def check(
    sim: QuantSim,
    *,
    candidates: Iterable[str | Precision] | None = None,
    cost: str | Callable = "bops",
    sensitivity: str | pd.DataFrame = "fisher",
    layers: str | Iterable[str] | None = None,
    cache: str | PathLike | None = None,
    executor: Executor | None = None,
    seed: int = 0,
) -> None:
    """Whether a search can be made of a sim, before any work. The sim need not be calibrated.

    Args: as for `qnb.methods.mixed_precision`.
    """
    movable(sim, parse(sim, candidates, OPERATION), layers, OPERATION)
    check_executor(executor, OPERATION)
    whole(OPERATION, "seed", seed, None)
    if not callable(cost):
        COSTS[cost]
    if not isinstance(sensitivity, pd.DataFrame):
        WAYS[sensitivity]
    if cache is not None and not Path(cache).parent.is_dir():
        raise FileError(OPERATION, f"cache {str(cache)!r} in a folder that does not exist", "choose a folder that does")
