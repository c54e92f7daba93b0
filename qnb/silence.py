"""Keeps what C code prints to the process's own output from being shown."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

_ONE_AT_A_TIME = threading.RLock()


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Nothing that C code writes to standard output is shown, in the whole process."""
    with _ONE_AT_A_TIME:
        if sys.stdout is not None:
            sys.stdout.flush()
        kept, nothing = os.dup(1), os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nothing, 1)
            yield
        finally:
            os.dup2(kept, 1)
            os.close(kept)
            os.close(nothing)


@contextlib.contextmanager
def silent_in_cells() -> Iterator[None]:
    """`silent` where Python's ``print`` goes elsewhere, as in a notebook, whose cells show C code's output too. In a
    terminal, other threads' ``print`` would be lost, so there it stays."""
    with silent() if _python_prints_elsewhere() else contextlib.nullcontext():
        yield


def _python_prints_elsewhere() -> bool:
    try:
        os.fstat(1)
    except OSError:  # a process without an output
        return False
    try:
        return sys.stdout.fileno() != 1
    except (AttributeError, OSError, ValueError):  # an object without a file, an in-memory one say
        return True
