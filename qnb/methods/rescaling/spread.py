"""How low and how high each channel of a layer's FP32 output goes: by data, and by a folded batch norm."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import fx

from qnb.methods.layerwise.weights import by_channel, channel_axis

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim

HEADROOM = 0.25
"""Data not seen may go beyond what was seen by this part of the range."""
SIGMAS = 3.0
"""Standard deviations of a folded batch norm that a channel is taken to reach, as in the paper."""


@dataclass(frozen=True)
class Spread:
    """Bounds of every channel before the activation, float64 ``[channels]``.

    ``seen``: data bore them out. A batch norm alone says little of the extremes: on the digits demo, channels go beyond
    6 of its standard deviations.
    """

    low: torch.Tensor
    high: torch.Tensor
    seen: bool

    def divided(self, scales: torch.Tensor) -> Spread:
        """Of the layer whose channels were divided by these."""
        return Spread(self.low / scales, self.high / scales, self.seen)


def spreads(
    sim: QuantSim, names: Collection[str], batches: Iterable | None, tick: Callable[[], None], operation: str
) -> dict[str, Spread]:
    """By node. What neither batches nor a batch norm says is unbounded.

    Args:
        names: of the layers' nodes.
        batches: as the model takes them, or None.
        tick: called before every op.
    """
    seen = {} if batches is None else _observe(sim, set(names), batches, tick, operation)
    graph = sim.captured.module.graph.nodes
    return {n.name: _bounds(n, seen.get(n.name), sim.device) for n in graph if n.name in names}


def _bounds(node: fx.Node, seen: Spread | None, device) -> Spread:
    norm = node.meta.get("folded_batch_norm")
    lows, highs = [], []
    if seen is not None:
        room = HEADROOM * (seen.high - seen.low)
        lows.append(seen.low - room)
        highs.append(seen.high + room)
    if norm is not None:
        beta, reach = norm["beta"].to(device).double(), SIGMAS * norm["gamma"].to(device).double().abs()
        lows.append(beta - reach)
        highs.append(beta + reach)
    if not highs:
        channels = node.meta["val"].shape[channel_axis(node)]
        highs.append(torch.full((channels,), torch.inf, dtype=torch.float64, device=device))
        lows.append(-highs[0])
    return Spread(torch.stack(lows).amin(0), torch.stack(highs).amax(0), seen is not None)


class _Observer(fx.Interpreter):
    """Runs the FP32 graph and keeps the extremes of some nodes by channel."""

    def __init__(self, module: fx.GraphModule, names: set[str], tick: Callable[[], None]):
        super().__init__(module)
        self.names, self.tick = names, tick
        self.seen: dict[str, Spread] = {}

    def run_node(self, node: fx.Node):
        self.tick()
        value = super().run_node(node)
        if node.name in self.names:
            low, high = by_channel(value, channel_axis(node)).double().aminmax(dim=1)
            old = self.seen.get(node.name, Spread(low, high, True))
            self.seen[node.name] = Spread(torch.minimum(low, old.low), torch.maximum(high, old.high), True)
        return value


def _observe(sim: QuantSim, names: set[str], batches: Iterable, tick, operation: str) -> dict[str, Spread]:
    observer = _Observer(sim.reference, names, tick)
    with torch.no_grad():
        for batch in batches:
            observer.run(*sim.flatten(batch, operation))
    return observer.seen
