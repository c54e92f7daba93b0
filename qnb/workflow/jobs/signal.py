"""Signal: calls its listeners when something has changed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class Signal:
    """A list of callbacks; safe to use from several threads.

    >>> changed = Signal()
    >>> stop = changed.connect(print)
    >>> changed.emit("run")
    run
    >>> stop()
    >>> changed.emit("nobody hears this")
    """

    def __init__(self):
        self._callbacks: list[Callable[..., Any]] = []
        self._lock = threading.Lock()

    def connect(self, callback: Callable[..., Any]) -> Callable[[], None]:
        """Call ``callback`` at every `emit`; returns a function that ends that."""
        with self._lock:
            self._callbacks.append(callback)
        return lambda: self._disconnect(callback)

    def _disconnect(self, callback) -> None:
        with self._lock:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

    def emit(self, *args: Any) -> None:
        with self._lock:
            callbacks = list(self._callbacks)
        for callback in callbacks:
            callback(*args)

    def __len__(self) -> int:
        return len(self._callbacks)
