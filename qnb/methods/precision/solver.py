"""Solves integer programs in a process of its own, so that nothing of what HiGHS prints is seen and any can be stopped.

HiGHS, in SciPy, prints to the process's standard output whenever it repairs a solution, whatever its options say. To
keep that from view inside this process, the whole process's output would have to be redirected, other threads' too.
"""

from __future__ import annotations

import atexit
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from qnb.errors import DependencyError, InputError
from qnb.methods.precision import solver_worker

OPERATION = "search_mixed_precision"
EVERY_S = 0.1
"""How often who waits for an answer is asked whether to go on."""
_spare: list[Solver] = []
"""One that has nothing to do, for whoever needs one next: starting one takes most of a second."""


class Solver:
    """A process that solves programs, one after the other. Use `solver`, which ends it when anything goes wrong."""

    def __init__(self):
        command = [sys.executable, "-P", solver_worker.__file__]
        try:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                start_new_session=True, creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )  # fmt: skip
        except OSError as error:
            raise DependencyError(OPERATION, f"Python cannot be started for the solver: {error}",
                                  "let this process start others") from error  # fmt: skip
        self.owner, self.used = os.getpid(), time.monotonic()
        self._answers: queue.SimpleQueue = queue.SimpleQueue()
        threading.Thread(target=self._listen, name="qnb solver", daemon=True).start()

    def load(self, **program) -> None:
        """The program that is solved from now on: arguments of `solver_worker.Program`."""
        self._send(**program)

    def solve(self, wait: Callable[[], None], **question) -> np.ndarray:
        """The integers of the best solution.

        Args:
            wait: called ten times a second until the answer is there; raise in it to stop.
            question: arguments of `solver_worker.Program.solve`.

        Raises:
            InputError: there is no solution.
        """
        self._send(**question)
        while True:
            try:
                answer = self._answers.get(timeout=EVERY_S)
                break
            except queue.Empty:
                wait()
        if answer is None:
            raise self._ended()
        if "error" in answer:
            raise InputError(OPERATION, f"costs or losses that the solver cannot work with ({answer['error']})",
                             "look for values that are infinite, not a number, or many magnitudes apart")  # fmt: skip
        self.used = time.monotonic()
        return answer["x"]

    @property
    def ready(self) -> bool:
        """Whether it can be used again: this process's own, and not about to end for having nothing to do."""
        young = time.monotonic() - self.used < 0.8 * solver_worker.IDLE_S
        return self.owner == os.getpid() and young and self.process.poll() is None

    def close(self) -> None:
        """End it, whatever it does."""
        if self.owner == os.getpid():  # after a fork it belongs to the other process
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()

    def _send(self, **arrays) -> None:
        try:
            self.process.stdin.write(solver_worker.pack(**arrays))
            self.process.stdin.flush()
        except OSError as error:
            raise self._ended() from error

    def _listen(self) -> None:
        with self.process.stdout as answers:
            while (answer := solver_worker.unpack(answers)) is not None:
                self._answers.put(answer)
        self._answers.put(None)

    def _ended(self) -> DependencyError:
        return DependencyError(OPERATION, f"the solver's process has ended with {self.process.wait()}",
                               "run it again; if memory was short, choose fewer candidates")  # fmt: skip


@contextmanager
def solver() -> Iterator[Solver]:
    """A solver for one front, ended at once where anything is raised."""
    found = _take() or Solver()
    try:
        yield found
    except BaseException:
        found.close()
        raise
    _spare.append(found)
    while len(_spare) > 1:
        _spare.pop(0).close()


def _take() -> Solver | None:
    while _spare:
        try:
            found = _spare.pop()
        except IndexError:  # another thread was faster
            return None
        if found.ready:
            return found
        found.close()
    return None


@atexit.register
def _close_spare() -> None:
    while _spare:
        _spare.pop().close()
