"""What 8 bits leave of a small value that is concatenated with a large one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import fx

from qnb.graph import ops
from qnb.sim.placement import tensor_roles

if TYPE_CHECKING:
    from qnb.graph.captured import Captured

FEWEST = 32
"""Values that take fewer steps than this are coarse."""


def joins(node: fx.Node) -> bool:
    """Whether a node is a concatenation."""
    return node.op == "call_function" and ops.of(node).kind == "concat"


def few_steps(low: float, high: float, step: float) -> bool:
    """Whether values between two ends take few steps of a grid; equal values lose nothing.

    >>> few_steps(0.0, 1.0, 0.05), few_steps(0.0, 1.0, 0.005), few_steps(1.0, 1.0, 0.05)
    (True, False, False)
    """
    return 0 < high - low < FEWEST * step


@dataclass(frozen=True)
class Crowded:
    """An input of a concatenation that gets few of its steps.

    Args:
        concat, layer: the concatenation, and the layer whose output it joins with larger ones.
        low, high: that output's range.
        step: of the joined tensor at 8 bits.
    """

    concat: str
    layer: str
    low: float
    high: float
    step: float

    @property
    def steps(self) -> int:
        return max(1, round((self.high - self.low) / self.step))


def crowded(captured: Captured, flat: list[torch.Tensor]) -> Iterator[Crowded]:
    """Inputs of concatenations whose range is small beside the whole's.

    Args:
        captured: the model.
        flat: one batch, as ``captured.flatten`` gives it; ranges are those of the FP32 model on it.
    """
    watch = _Watch(captured.module)
    with torch.no_grad():
        watch.run(*flat)
    for node, ranges in watch.found.items():
        low = min(0.0, *(r[0] for r in ranges.values()))
        high = max(0.0, *(r[1] for r in ranges.values()))
        step = (high - low) / 255
        for source, (least, most) in ranges.items():
            if few_steps(least, most, step):
                yield Crowded(node.meta["layer"], ops.maker(source).meta.get("layer", source.name), least, most, step)


class _Watch(fx.Interpreter):
    """Runs a graph and keeps the range of every activation that goes into a concatenation."""

    def __init__(self, module: fx.GraphModule):
        super().__init__(module)
        data = tensor_roles.find(module.graph).data
        self.joined = {
            n: [x for x in dict.fromkeys(tensor_roles.operands(n)) if tensor_roles.is_float(x) and x in data]
            for n in module.graph.nodes
            if joins(n) and tensor_roles.is_float(n)
        }
        self.found: dict[fx.Node, dict[fx.Node, tuple[float, float]]] = {}

    def run_node(self, n: fx.Node):
        inputs = self.joined.get(n, ())
        if len(inputs) > 1:
            values = {x: self.env[x] for x in inputs if self.env[x].numel()}
            self.found[n] = {x: (float(v.min()), float(v.max())) for x, v in values.items()}
        return super().run_node(n)
