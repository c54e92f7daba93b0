"""Progress of one stage of a step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qnb.progress import Report

if TYPE_CHECKING:
    from qnb.measures.layers.lockstep import LayerValues, Visitor


class Ticks:
    """Reports one stage of a step; called in each batch too, so that it can be cancelled there.

    Args:
        total: where it is known beforehand.
        also: another watcher of layers.
    """

    def __init__(self, report: Report | None, message: str, total: int | None = None, also: Visitor | None = None):
        self.report = report or (lambda *_: None)
        self.message, self.total, self.also, self.done = message, total, also, 0
        self.report(0, total, message)

    def progress(self, done: int, total: int | None, _: str = "") -> None:
        self.done, self.total = done, total
        self.report(done, total, self.message)

    def watch(self, values: LayerValues) -> None:
        self.report(self.done, self.total, self.message)
        if self.also is not None:
            self.also(values)

    def forward(self, calls: int) -> None:
        """Before each forward pass of an evaluation."""
        self.done = calls
        known = self.total is not None and calls <= self.total
        self.report(calls - 1 if known else calls, self.total if known else None, self.message)
