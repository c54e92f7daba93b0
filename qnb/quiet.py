"""Keeps what torch's exporters say about their own affairs out of sight, in the thread that calls them.

They warn and log about packages that are not there, about dimensions that they have specialized, about each other's
deprecations. Streams, levels and filters belong to the whole process, so nothing of it is switched: a filter that looks
at the thread is added to each, and lets everything pass that other threads say.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

LIBRARIES = ("torch", "onnxscript", "onnx_ir")
_here = threading.local()


class _InThisThread:
    """As the message of a warnings filter, and as a filter of log records."""

    def match(self, text: str) -> bool:
        """Whether a warning is to be ignored."""
        return getattr(_here, "depth", 0) > 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is shown."""
        return not self.match("") or record.name.partition(".")[0] not in LIBRARIES


_FILTER = _InThisThread()
_IGNORE = ("ignore", _FILTER, Warning, None, 0)


@contextmanager
def quiet() -> Iterator[None]:
    """Inside, in this thread, warnings are ignored and what the exporters log is dropped.

    >>> with quiet():
    ...     warnings.warn("nobody sees this")
    """
    _install()
    _here.depth = getattr(_here, "depth", 0) + 1
    try:
        yield
    finally:
        _here.depth -= 1


def _install() -> None:
    """First among the warnings' filters, and in every handler that a library's records reach."""
    if not warnings.filters or warnings.filters[0] is not _IGNORE:
        warnings.filters[:] = [_IGNORE, *(f for f in warnings.filters if f is not _IGNORE)]  # pyright: ignore[reportIndexIssue]
    names = [n for n in list(logging.root.manager.loggerDict) if n.partition(".")[0] in LIBRARIES]
    handlers = [logging.lastResort, *(h for name in (None, *names) for h in logging.getLogger(name).handlers)]
    for handler in filter(None, handlers):
        handler.addFilter(_FILTER)
