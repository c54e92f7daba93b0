"""What a method calls while it works: progress, and rows of its history, which whoever follows it sees at once."""

from __future__ import annotations

from typing import Any

import pandas as pd

from qnb.progress import Report


class MethodProgress:
    """Passes both on to ``progress``: called as ``progress(done, total, message)``; rows go to ``progress.row``,
    where it has one.

    >>> report = MethodProgress()
    >>> report(1, 2, "training")
    >>> report.row(step=1, loss=0.5)
    >>> report.history()
       step  loss
    0     1   0.5
    """

    @classmethod
    def of(cls, progress: Report | None) -> MethodProgress:
        """What a method was called with: `qnb.methods.method.method` has made one of it already."""
        return progress if isinstance(progress, cls) else cls(progress)

    def __init__(self, progress: Report | None = None):
        self._progress = progress or (lambda *_: None)
        self._row = getattr(progress, "row", None)
        self.rows: list[dict[str, Any]] = []

    def __call__(self, done: int, total: int | None, message: str = "") -> None:
        self._progress(done, total, message)

    def row(self, **figures: Any) -> None:
        """One row of the history."""
        self.rows.append(figures)
        if self._row is not None:
            self._row(**figures)

    def history(self) -> pd.DataFrame:
        return pd.DataFrame(self.rows)
