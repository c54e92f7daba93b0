"""Solves integer programs in a process of its own, so that nothing of what HiGHS prints is seen and any can be stopped.

HiGHS, in SciPy, prints to the process's standard output whenever it repairs a solution, whatever its options say. To
keep that from view inside this process, the whole process's output would have to be redirected, other threads' too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from qnb.errors import DependencyError, InputError
from qnb.methods.precision import solver_worker
from qnb.process import Ended, Failed, Process, Spare, while_waiting

OPERATION = "mixed_precision"


class Solver(Process):
    """A process that solves programs, one after the other. Use `solver`, which ends it when anything goes wrong."""

    def __init__(self):
        super().__init__(solver_worker.__file__, OPERATION)

    def load(self, **program: Any) -> None:
        """The program that is solved from now on: arguments of `solver_worker.Program`."""
        try:
            self.tell(**program)
        except Ended as error:
            raise _ended(error) from error

    def solve(self, wait: Callable[[], None], **question: Any) -> np.ndarray:
        """The integers of the best solution.

        Args:
            wait: called ten times a second until the answer is there; raise in it to stop.
            question: arguments of `solver_worker.Program.solve`.

        Raises:
            InputError: there is no solution.
        """
        try:
            with while_waiting(wait):
                return self.ask(**question)["x"]
        except Failed as error:
            raise InputError(
                OPERATION,
                f"costs or losses that the solver cannot work with ({error})",
                "look for values that are infinite, not a number, or many magnitudes apart",
            ) from error
        except Ended as error:
            raise _ended(error) from error


def _ended(error: Ended) -> DependencyError:
    return DependencyError(
        OPERATION, f"the solver's process {error.how}", "run it again; if memory was short, choose fewer candidates"
    )


_spare = Spare(Solver, solver_worker.IDLE_S)


@contextmanager
def solver() -> Iterator[Solver]:
    """A solver for one front, ended at once where anything is raised."""
    found = _spare.take()
    try:
        yield found
    except BaseException:
        found.close()
        raise
    _spare.put(found)
