"""Keeps a line that a C library prints when it is loaded from being shown."""

from __future__ import annotations

import ctypes
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_ONE_AT_A_TIME = threading.Lock()


@contextmanager
def without_lines(beginning: bytes) -> Iterator[None]:
    """What C code prints through C's ``stdout`` meanwhile is held back, and written afterwards without the lines that
    begin like this.

    Files and file descriptors stay as they are: what Python prints, in any thread, is not touched. Where C's ``stdout``
    cannot be replaced (without glibc), nothing is held back. For what takes milliseconds, once in a process: what it
    was held in is never freed, as some other thread may still be writing to it.

    Args:
        beginning: of the lines to leave out.
    """
    with _ONE_AT_A_TIME:
        held = _hold()
        try:
            yield
        finally:
            if held is not None:
                held(beginning)


def _hold():
    """Replaces C's ``stdout``; gives a function that puts it back. None where that cannot be done."""
    if platform.libc_ver()[0] != "glibc":
        return None
    c = ctypes.CDLL(None)
    stdout = ctypes.c_void_p.in_dll(c, "stdout")
    c.open_memstream.restype = ctypes.c_void_p
    text, size = ctypes.c_void_p(), ctypes.c_size_t()
    held, before = c.open_memstream(ctypes.byref(text), ctypes.byref(size)), stdout.value
    if not held:
        return None
    stdout.value = held

    def release(beginning: bytes) -> None:
        stdout.value = before
        c.fflush(ctypes.c_void_p(held))
        lines = ctypes.string_at(text.value, size.value).splitlines(keepends=True) if text.value else []
        rest = b"".join(line for line in lines if not line.startswith(beginning))
        if rest:
            c.fwrite(rest, ctypes.c_size_t(1), ctypes.c_size_t(len(rest)), ctypes.c_void_p(before))

    return release
