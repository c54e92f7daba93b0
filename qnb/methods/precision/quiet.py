"""Keeps what a C library prints out of a notebook's cells."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager

_ONE_AT_A_TIME = threading.Lock()


@contextmanager
def quiet_library():
    """Inside, what is written to the process's own output is dropped, where Python's ``print`` goes elsewhere.

    Jupyter shows that output in cells, and HiGHS now and then writes a line there that no option turns off. In a
    terminal, other threads' ``print`` would be lost too, so there it stays.
    """
    if not _python_prints_elsewhere():
        yield
        return
    with _ONE_AT_A_TIME:
        kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, 1)
            yield
        finally:
            os.dup2(kept, 1)
            os.close(kept)
            os.close(nowhere)


def _python_prints_elsewhere() -> bool:
    try:
        os.fstat(1)
    except OSError:  # a process without an output
        return False
    try:
        return sys.stdout.fileno() != 1
    except (AttributeError, OSError, ValueError):  # an object without a file, an in-memory one say
        return True
