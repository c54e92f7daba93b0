"""The front is exact: no choice of options is better, by brute force; and greedy never is."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qnb.errors import Cancelled
from qnb.methods.precision.front import Problem, lowest_cost, pareto_front

BITS = np.array([[16, 16], [8, 16], [8, 8], [4, 16], [4, 8]], dtype=float)


def everything(problem):
    """Every choice there is."""
    return [problem.point(choice) for choice in product(*(range(len(v)) for v in problem.loss))]


def chain(layers, seed=0):
    """Layers in a row with BOPs: macs x weight bits x the bits that the layer before gives; some read two back."""
    random = np.random.default_rng(seed)
    macs = random.choice([1e5, 2e5, 4e5, 1e6], layers)
    loss = [
        10 ** random.uniform(-4, 0) * (4.0 ** (4 - BITS[:, 0]) + random.uniform(0.1, 1) * 4.0 ** (6 - BITS[:, 1]))
        for _ in range(layers)
    ]
    pairs = {(g, g + 1): macs[g] * np.outer(BITS[:, 1], BITS[:, 0]) for g in range(layers - 1)}
    pairs |= {(g, g + 3): 0.3 * macs[g] * np.outer(BITS[:, 1], BITS[:, 0]) for g in range(0, layers - 3, 3)}
    return Problem(loss, [np.zeros(5)] * layers, pairs)


def greedy(problem):
    """From the finest choice down: always the one change that saves cost for the least loss."""
    point = min((problem.point([i] * len(problem.loss)) for i in range(5)), key=lambda p: p.loss)
    path = [point]
    while True:
        changes = [
            problem.point([*point.choice[:g], i, *point.choice[g + 1 :]])
            for g, v in enumerate(problem.loss)
            for i in range(len(v))
        ]
        changes = [p for p in changes if p.cost < point.cost]
        if not changes:
            return path
        point = min(changes, key=lambda p: (p.loss - point.loss) / (point.cost - p.cost))
        path.append(point)


@st.composite
def problems(draw):
    sizes = draw(st.lists(st.integers(1, 3), min_size=1, max_size=5))
    whole = st.integers(0, 4).map(float)
    real = st.floats(1e-6, 1e3)
    loss, cost = (draw(st.sampled_from([whole, real])) for _ in range(2))
    vector = lambda n, of: np.array(draw(st.lists(of, min_size=n, max_size=n)))  # noqa: E731
    pairs = {
        (g, h): vector(a * b, cost).reshape(a, b)
        for g, a in enumerate(sizes)
        for h, b in enumerate(sizes)
        if g < h and draw(st.booleans())
    }
    return Problem([vector(n, loss) for n in sizes], [vector(n, cost) for n in sizes], pairs)


@settings(max_examples=40, deadline=None)
@given(problems())
def test_no_choice_is_better(problem):
    choices, front = everything(problem), pareto_front(problem, budgets=8)
    for point in front:
        assert problem.point(point.choice) == point
        better = [
            c
            for c in choices
            if c.cost <= point.cost
            and c.loss <= point.loss
            and (c.cost < point.cost * (1 - 1e-7) or c.loss < point.loss * (1 - 1e-7))
        ]
        assert not better, (point, better)
    assert front[0].cost == pytest.approx(min(c.cost for c in choices)) == pytest.approx(lowest_cost(problem))
    assert front[-1].loss == pytest.approx(min(c.loss for c in choices))
    assert all(a.cost < b.cost and a.loss > b.loss for a, b in zip(front, front[1:], strict=False))


@pytest.mark.parametrize("seed", range(3))
def test_within_every_budget_it_is_the_best(seed):
    problem = chain(5, seed)
    choices, front = everything(problem), pareto_front(problem, budgets=40)
    for budget in np.geomspace(front[0].cost, front[-1].cost, 40)[1:-1]:
        best = min(c.loss for c in choices if c.cost <= budget)
        assert min(p.loss for p in front if p.cost <= budget) == pytest.approx(best, rel=1e-7)


def test_what_two_groups_share_counts_once_for_both():
    pair = {(0, 1): np.array([[4.0, 2.0], [2.0, 1.0]])}
    front = pareto_front(Problem([np.array([0.0, 1.0])] * 2, [np.zeros(2)] * 2, pair), budgets=9)
    assert [(p.cost, p.loss) for p in front] == [(1.0, 2.0), (2.0, 1.0), (4.0, 0.0)]


@pytest.mark.parametrize("seed", range(3))
def test_never_worse_than_greedy_at_equal_cost(seed):
    problem = chain(16, seed)
    front = pareto_front(problem)
    assert len(front) >= 30
    better = 0
    for point in front:
        rivals = [p.loss for p in greedy(problem) if p.cost <= point.cost]
        if rivals:
            assert point.loss <= min(rivals) * (1 + 1e-7)
            better += point.loss < min(rivals) * 0.99
    assert better > len(front) / 4, "greedy would have been enough"


def test_losses_of_many_magnitudes_are_told_apart():
    loss = [np.array([0.0, 10.0**-k]) for k in range(10)]
    front = pareto_front(Problem(loss, [np.array([2.0, 1.0])] * 10), budgets=60)
    assert len(front) == 11
    for spent, point in enumerate(front):
        assert point.loss == pytest.approx(sum(10.0**-k for k in range(spent, 10)), rel=1e-9)


def test_one_choice_is_one_point():
    assert len(pareto_front(Problem([np.array([1.0])], [np.array([3.0])]))) == 1
    assert len(pareto_front(Problem([np.zeros(2)], [np.zeros(2)]))) == 1


@pytest.mark.parametrize("after", [0, 7])
def test_it_can_be_stopped_between_two_programs(after):
    def tick(done, total):
        assert total == 20
        if done == after:
            raise Cancelled("test")

    with pytest.raises(Cancelled):
        pareto_front(chain(6), budgets=20, tick=tick)
