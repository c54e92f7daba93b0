"""How far a method is that rounds one layer or block after the other, for progress; and its history."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from qnb.methods.reporting.progress import MethodProgress
from qnb.methods.rounding.blocks import Block

ROWS = 40
"""Of the history, per block."""


class Steps:
    """Iterations of all blocks, so many each.

    Args:
        name: of the method, in messages.
        iterations: per block.
        seed: of ``generator``, from which samples are drawn.
    """

    def __init__(self, name: str, report: MethodProgress, iterations: int, seed: int = 0):
        self.name, self.report, self.iterations = name, report, iterations
        self.generator = torch.Generator().manual_seed(seed)
        self.blocks: list[Block] = []
        self.number = self.iteration = 0

    def start(self, number: int) -> None:
        self.number, self.iteration = number, 0

    def tick(self) -> None:
        done, total = self.number * self.iterations + self.iteration, len(self.blocks) * self.iterations
        layer = self.blocks[self.number].layers[0].layer if self.blocks else "inputs"
        self.report(done, total, f"{self.name}: layer {self.number + 1} of {len(self.blocks)}, {layer}")

    def ticking(self, count: int) -> Iterator[int]:
        """``range(count)``, with a tick before each."""
        for batch in range(count):
            self.tick()
            yield batch

    def after(self, iteration: int, loss: Tensor) -> None:
        """An iteration is done; every so many of them go to the history."""
        self.iteration = iteration + 1
        self.tick()
        if iteration % max(1, self.iterations // ROWS) == 0:
            self.report.row(layer=self.blocks[self.number].layers[-1].layer, iteration=iteration, loss=float(loss))
