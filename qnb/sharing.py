"""Thread safety: which thread may read or change what.

A notebook has several threads at work at once: the cell, a step that runs as a job, panels that read layers, a pool of
the user's own. These are the rules that keep them apart; code that follows them needs no other.

1. **What was found is never changed.** A captured graph, the FP32 reference, a run, a table: once made, they stay as
   they are. A new result takes the old one's place, and a dict of results is replaced as a whole, so whoever goes
   through it sees one state of it.
2. **A simulation has a lock** (`Lock`). What reads it for a moment (a forward pass, a copy, a table of encodings) holds
   the lock shared: as many threads at a time as like. What changes it (calibration, precision, on and off, recovery
   methods, training mode, its device) holds it alone, from its beginning to its end.
3. **What looks at a simulation for longer takes a snapshot** (`QuantSim.snapshot`) and holds nothing: comparisons,
   profiles, sensitivities, export. Later changes do not reach a snapshot.
4. **Whoever holds a lock shared waits for nobody**, and calls nobody's callbacks. So those who wait for it get it.
5. **A workflow takes one step at a time.** A second one is refused, with the name of the first. Steps work on
   simulations of their own and add what they found at the end.
6. **What belongs to the process stays as it is**: random generators (`qnb.randomness`), standard output and error, the
   umask, warnings and logging of other threads (`qnb.quiet`).

Tensors that the user's own code writes in place (training ``sim.model`` in a cell while a panel reads it) are outside
these rules: nobody can lock those.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from qnb.errors import InputError

Method = TypeVar("Method", bound=Callable)
Value = TypeVar("Value")


class Lock:
    """Held shared by any number of threads, or alone by one. Whoever holds it may take it again.

    Those who wait to hold it alone go first, so that a stream of readers cannot keep them out. A copy of what has a
    lock gets a lock of its own.

    >>> lock = Lock()
    >>> with lock.alone(), lock.shared():
    ...     print("the same thread")
    the same thread
    """

    def __init__(self):
        self._turn = threading.Condition()
        self._readers: dict[int, int] = {}
        self._writer: int | None = None
        self._depth = self._waiting = 0

    @contextmanager
    def shared(self) -> Iterator[None]:
        """To read for a moment."""
        me = threading.get_ident()
        with self._turn:
            if me != self._writer and me not in self._readers:
                self._turn.wait_for(lambda: self._writer is None and not self._waiting)
            self._readers[me] = self._readers.get(me, 0) + 1
        try:
            yield
        finally:
            with self._turn:
                self._readers[me] -= 1
                if not self._readers[me]:
                    del self._readers[me]
                    self._turn.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """To change.

        Raises:
            InputError: this thread is reading, and would wait for itself.
        """
        me = threading.get_ident()
        with self._turn:
            if me != self._writer:
                self._enter(me)
            self._depth += 1
        try:
            yield
        finally:
            with self._turn:
                self._depth -= 1
                if not self._depth:
                    self._writer = None
                    self._turn.notify_all()

    def _enter(self, me: int) -> None:
        if me in self._readers:
            raise InputError(
                "QuantSim",
                "a change from within one of its own forward passes",
                "change it before or after the pass, or change a copy: sim.copy()",
            )
        self._waiting += 1
        try:
            self._turn.wait_for(lambda: self._writer is None and not self._readers)
            self._writer = me
        finally:
            self._waiting -= 1
            self._turn.notify_all()

    def __reduce__(self):
        return Lock, ()

    def __deepcopy__(self, memo) -> Lock:
        return Lock()


def reading(method: Method) -> Method:
    """Decorates a method that reads for a moment: it holds ``self.lock`` shared."""

    @functools.wraps(method)
    def held(self, *args, **kwargs):
        with self.lock.shared():
            return method(self, *args, **kwargs)

    return held  # pyright: ignore[reportReturnType]


def changing(method: Method) -> Method:
    """Decorates a method that changes: it holds ``self.lock`` alone."""

    @functools.wraps(method)
    def held(self, *args, **kwargs):
        with self.lock.alone():
            return method(self, *args, **kwargs)

    return held  # pyright: ignore[reportReturnType]


def without(found: dict, name: str) -> dict:
    """A dict of results without one of them; the dict itself stays as it is.

    >>> without({"w8a8": 1, "w4a8": 2}, "w8a8")
    {'w4a8': 2}
    """
    return {k: v for k, v in found.items() if k != name}


class Once(Generic[Value]):
    """A value that is made by whoever asks for it first; others wait for it.

    >>> answer = Once(lambda: 42)
    >>> answer.known, answer.get(), answer.known
    (None, 42, 42)
    """

    def __init__(self, make: Callable[[], Value]):
        self.known: Value | None = None
        self._make, self._lock = make, threading.Lock()

    def get(self) -> Value:
        with self._lock:
            if self.known is None:
                self.known = self._make()
        return self.known
