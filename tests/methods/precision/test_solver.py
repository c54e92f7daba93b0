"""The solver's process: nothing of it is seen, nobody else's output is touched, and it ends when it should."""

import io
import os
import signal
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from qnb.errors import Cancelled, DependencyError, InputError
from qnb.methods.precision import solver as solvers
from qnb.methods.precision.front import Problem, lowest_cost, pareto_front
from qnb.methods.precision.solver import solver
from tests.methods.precision.test_front import chain

REPAIRED = 9
"""With this seed, HiGHS repairs a solution and says so."""


@pytest.mark.parametrize("stdout", [io.StringIO(), SimpleNamespace(fileno=lambda: 1)], ids=["cell", "terminal"])
def test_only_what_others_print_is_seen(capfd, monkeypatch, stdout):
    monkeypatch.setattr(sys, "stdout", stdout)
    done, written = threading.Event(), []

    def write():
        while not done.wait(0.001):
            written.append(os.write(1, b"other\n"))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        pareto_front(chain(6, REPAIRED))
    finally:
        done.set()
        thread.join()
    out, err = capfd.readouterr()
    assert len(written) > 50 and out == "other\n" * len(written) and err == ""


def hard() -> Problem:
    """Every group multiplies with every other: one program takes minutes."""
    random = np.random.default_rng(0)
    groups = 40
    pairs = {(g, h): random.uniform(0, 1, (4, 4)) for g in range(groups) for h in range(g)}
    return Problem(
        [random.uniform(0, 1, 4) for _ in range(groups)],
        [random.uniform(0, 1, 4) for _ in range(groups)],
        {(h, g): cost for (g, h), cost in pairs.items()},
    )


def test_it_can_be_stopped_within_a_program():
    started = []

    def tick(done, total):
        started.append(time.monotonic())
        if started[-1] - started[0] > 0.5:
            raise Cancelled("test")

    with solver() as process:
        pass
    with pytest.raises(Cancelled):
        pareto_front(hard(), tick=tick)
    assert len(started) >= 4 and time.monotonic() - started[-1] < 0.5
    assert not process.alive and process.popen.returncode is not None, "the process that worked on it has ended"


def test_one_that_has_nothing_to_do_is_used_again():
    with solver() as first:
        pass
    with solver() as again:
        assert again is first
    first.used -= 1e6
    with solver() as other:
        assert other is not first and not first.alive
    assert lowest_cost(chain(3)) == pytest.approx(pareto_front(chain(3), budgets=3)[0].cost)


def test_a_process_that_died_is_an_error_and_the_next_works():
    with pytest.raises(DependencyError, match="solver's process was ended by"), solver() as process:
        process.popen.kill()
        process.solve(lambda: None, objective=np.ones(2), upper=np.ones(2))
    assert lowest_cost(Problem([np.array([1.0])], [np.array([3.0])])) == 3.0


def test_what_it_cannot_solve_is_an_error():
    with pytest.raises(InputError, match="cannot work with"):
        lowest_cost(Problem([np.array([1.0, 2.0])], [np.array([np.nan, 3.0])]))


def test_it_does_not_heed_an_interrupt_and_ends_with_who_asks():
    with solver() as found:
        lowest_cost(Problem([np.array([1.0])], [np.array([3.0])]))  # it has started
        if os.name == "posix":
            os.kill(found.popen.pid, signal.SIGINT)
    assert solvers._spare.take() is found and found.alive
    found.popen.stdin.close()
    assert found.popen.wait(10) == 0
