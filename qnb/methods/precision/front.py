"""Cost against predicted loss: every best compromise, found exactly by integer programs (scipy's HiGHS).

Each group of layers takes one of its options. Losses add up; costs add up too, and a product's cost is of two groups,
whose bits it multiplies. For one budget after the other,

    minimise  sum_g loss[g] . x[g]    so that    sum_g cost[g] . x[g] + sum_(g,h) <pair[g, h], x[g] x[h]^T> <= budget

with one ``x[g, option] = 1`` in each group (the epsilon-constraint method, Haimes et al. 1971). ``x[g] x[h]^T`` is a
matrix of variables of its own, whose row sums are ``x[g]`` and whose column sums are ``x[h]``: linear, and exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from qnb.methods.precision.solver import Solver, solver

BUDGETS = 48
_SCALE = 1e3
"""The solver's tolerance is 1e-6, absolute: objective and budget are brought to this size, so that it is 1e-9."""


@dataclass(frozen=True)
class Point:
    """One choice of an option per group, with what it costs and what it is predicted to lose."""

    cost: float
    loss: float
    choice: tuple[int, ...]


@dataclass(frozen=True)
class Problem:
    """Groups that each take one option.

    Args:
        loss: per group ``[options]``, >= 0.
        cost: per group ``[options]``, >= 0.
        pairs: ``(g, h)`` of two groups, g < h -> cost of both choices together ``[options of g, options of h]``.

    >>> problem = Problem(loss=[[0, 3], [0, 1]], cost=[[4, 1], [4, 1]])
    >>> [(p.cost, p.loss) for p in pareto_front(problem)]
    [(2.0, 4.0), (5.0, 1.0), (8.0, 0.0)]
    """

    loss: Sequence[np.ndarray]
    cost: Sequence[np.ndarray]
    pairs: Mapping[tuple[int, int], np.ndarray] = field(default_factory=dict)

    def point(self, choice: Sequence[int]) -> Point:
        """Cost and loss of a choice."""
        cost = sum(float(c[i]) for c, i in zip(self.cost, choice, strict=True))
        cost += sum(float(c[choice[g]][choice[h]]) for (g, h), c in self.pairs.items())
        return Point(cost, sum(float(v[i]) for v, i in zip(self.loss, choice, strict=True)), tuple(map(int, choice)))


def pareto_front(
    problem: Problem, budgets: int = BUDGETS, tick: Callable[[int, int], None] | None = None
) -> list[Point]:
    """The best point for each of so many budgets between the lowest cost and that of the least loss.

    Args:
        budgets: spaced evenly by ratio; both ends are among them.
        tick: called as ``tick(done, total)`` before each program and ten times a second; raise in it to stop.

    Returns:
        Points of rising cost and strictly falling loss; none of them is dominated by any choice.
    """
    tick = tick or (lambda *_: None)
    done = 0
    with solver() as process:
        program = _Program(problem, process, lambda: tick(done, budgets))
        cheapest, finest = program.cheapest(), program.finest()
        found = [cheapest]
        for done, budget in enumerate(_spaced(cheapest.cost, finest.cost, budgets)):
            tick(done, budgets)
            if budget < found[-1].cost:
                continue
            best = finest if budget >= finest.cost else program.within(budget, found[-1])
            if best.loss < found[-1].loss:
                found.append(best)
    return found


def lowest_cost(problem: Problem) -> float:
    """The least cost of any choice."""
    with solver() as process:
        return _Program(problem, process).cheapest().cost


def _spaced(low: float, high: float, count: int) -> np.ndarray:
    values = np.geomspace(low, high, count) if low > 0 else np.linspace(low, high, count)
    values[-1] = high
    return values[1:] if high > low else values[:0]


class _Product:
    """A pair's cost by levels: options of the same bits have the same cost, and need not be told apart."""

    def __init__(self, g: int, h: int, cost: np.ndarray):
        self.g, self.h = g, h
        rows, self.row = np.unique(cost, axis=0, return_inverse=True)
        levels, self.column = np.unique(rows, axis=1, return_inverse=True)
        self.levels = levels


class _Program:
    """The problem as matrices. Variables: ``x`` of all groups, then the products of all pairs.

    Args:
        wait: called while the solver works; raise in it to stop.
    """

    def __init__(self, problem: Problem, solver: Solver, wait: Callable[[], None] = lambda: None):
        self.problem, self.solver, self.wait = problem, solver, wait
        self.loss = [np.asarray(v, dtype=np.float64) for v in problem.loss]
        self.start = np.cumsum([0, *(len(v) for v in self.loss)])
        self.integers = int(self.start[-1])
        products = [_Product(g, h, np.asarray(v, dtype=np.float64)) for (g, h), v in problem.pairs.items()]
        self.costs = np.concatenate(
            [*(np.asarray(v, dtype=np.float64) for v in problem.cost), *(p.levels.ravel() for p in products)]
        )
        self.losses = np.concatenate([*self.loss, np.zeros(self.costs.size - self.integers)])
        rows, right = zip(*self._equations(products), strict=True)
        entries = [(i, column, value) for i, row in enumerate(rows) for column, value in row]
        i, j, values = zip(*entries, strict=True)
        solver.load(
            values=np.array(values),
            rows=np.array(i),
            columns=np.array(j),
            right=np.array(right),
            size=self.costs.size,
            integers=self.integers,
        )

    def _equations(self, products: list[_Product]) -> Iterator[tuple[list[tuple[int, float]], float]]:
        """(entries of a row, right side): one option per group; a product's margins are its factors."""
        for a, b in zip(self.start, self.start[1:], strict=False):
            yield [(i, 1.0) for i in range(a, b)], 1.0
        at = self.integers
        for product in products:
            columns = np.arange(at, at + product.levels.size).reshape(product.levels.shape)
            at += columns.size
            for group, level_of, margin in ((product.g, product.row, columns), (product.h, product.column, columns.T)):
                for level, line in enumerate(margin):
                    own = self.start[group] + np.flatnonzero(level_of == level)
                    yield [*((i, 1.0) for i in line), *((i, -1.0) for i in own)], 0.0

    def finest(self) -> Point:
        """The least loss, and of those the lowest cost."""
        least = sum(float(v.min()) for v in self.loss)
        allowed = [v <= v.min() for v in self.loss]
        return self._cheapest_at(least, allowed)

    def cheapest(self) -> Point:
        """The lowest cost, and of those the least loss."""
        point = self._solve(self.costs, None, None)
        return self._refined(point.cost, point)

    def within(self, budget: float, known: Point) -> Point:
        """The least loss within a budget, and of those the lowest cost; ``known`` is within it."""
        return self._refined(budget, known)

    def _refined(self, budget: float, known: Point) -> Point:
        allowed = self._below(known.loss)
        best = self._solve(self.losses, (self.costs, budget), allowed)
        best = best if best.loss < known.loss else known
        return self._cheapest_at(best.loss, self._below(best.loss), best)

    def _cheapest_at(self, loss: float, allowed: list[np.ndarray], known: Point | None = None) -> Point:
        found = self._solve(self.costs, (self.losses, loss), allowed)
        worse = known is not None and (found.cost > known.cost or found.loss > known.loss)
        return known if worse else found

    def _below(self, loss: float) -> list[np.ndarray]:
        """Options that a point of less loss may have: the others lose more alone, with the best in all other groups."""
        rest = sum(float(v.min()) for v in self.loss)
        return [rest - v.min() + v <= loss * (1 + 1e-12) for v in self.loss]

    def _solve(self, objective: np.ndarray, limit: tuple[np.ndarray, float] | None, allowed) -> Point:
        upper, within = np.ones(self.costs.size), {}
        if allowed is not None:
            upper[: self.integers] = np.concatenate(allowed)
        if limit is not None:
            row, most = limit
            scale = _SCALE / (most or 1.0)
            within = {"row": np.where(upper > 0, row * scale, 0.0), "most": most * scale}
        objective = np.where(upper > 0, objective, 0.0)
        objective = objective * (_SCALE / (objective.max() or 1.0))
        x = self.solver.solve(self.wait, objective=objective, upper=upper, **within)
        return self.problem.point([int(x[a:b].argmax()) for a, b in zip(self.start, self.start[1:], strict=False)])
