"""The scales of cross-layer equalization (arXiv 1906.04721, 4.1.1), from the weights' ranges alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch

from qnb.graph.attributes import attribute
from qnb.methods.layerwise.weights import as_matrix, nodes
from qnb.methods.rescaling.chains import Pair
from qnb.methods.rescaling.spread import Spread

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim

CONVERGED = 1e-3
"""Octaves; when no scale moves further in an iteration, there are no more iterations."""


def equalizing_scales(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """``s_i = sqrt(r1_i r2_i) / r2_i``, by which the first layer is divided; 1 where a channel has no range.

    Args:
        first, second: weight ranges of each channel between two layers.

    >>> equalizing_scales(torch.tensor([8.0, 0.0]), torch.tensor([2.0, 1.0]))
    tensor([2., 1.])
    """
    return torch.where((first > 0) & (second > 0), torch.sqrt(first / second), 1.0)


def allowed(scales: torch.Tensor, spread: Spread, pair: Pair) -> torch.Tensor:
    """The scales, raised where a channel would reach its ReLU6's ceiling, or outgrow the tensor's largest channel.

    Args:
        scales: in all, since the beginning.
        spread: of the first layer's output at the beginning.
    """
    reach = torch.maximum(spread.high, -spread.low if pair.signed else torch.zeros_like(spread.high))
    if pair.ceiling < torch.inf:
        free = torch.maximum(scales, reach / pair.ceiling)
        return torch.where(reach < pair.ceiling, free, 1.0) if spread.seen else torch.ones_like(scales)
    largest = reach.max()
    if torch.isfinite(largest) and largest > 0:  # all channels may grow together: that costs the grid nothing
        scales = torch.maximum(scales, scales[reach.argmax()] * reach / largest)
    return scales


class Ranges:
    """Largest weights over each kernel, ``[groups, outputs / groups, inputs / groups]``: all that scales depend on."""

    def __init__(self, sim: QuantSim, found: list[Pair]):
        graph = nodes(sim)
        self.of = {
            layer.node: as_matrix(attribute(sim.reference, layer.weight).detach().abs(), graph[layer.node])
            .amax(-1)
            .double()
            for pair in found
            for layer in (pair.first, pair.second)
        }

    def of_pair(self, pair: Pair) -> tuple[torch.Tensor, torch.Tensor]:
        """Ranges of the channels between, as outputs of the first and as inputs of the second."""
        inputs = self.of[pair.second.node].amax(1).flatten()
        return self.of[pair.first.node].amax(2).flatten(), inputs.view(-1, pair.repeat).amax(1)

    def scale(self, pair: Pair, scales: torch.Tensor) -> None:
        first, second = self.of[pair.first.node], self.of[pair.second.node]
        first /= scales.view(*first.shape[:2], 1)
        second *= scales.repeat_interleave(pair.repeat).view(second.shape[0], 1, -1)


def settle(
    sim: QuantSim, found: list[Pair], spread: Mapping[str, Spread], iterations: int, tick: Callable[[int], None]
) -> tuple[list[torch.Tensor], list[float]]:
    """The scale of every pair's channels, and the largest change in octaves by iteration.

    Args:
        spread: of the first layers' outputs, by node.
        tick: called with the iteration before each pair.
    """
    ranges = Ranges(sim, found)
    scales = [torch.ones_like(ranges.of_pair(pair)[0]) for pair in found]
    history = []
    for iteration in range(iterations):
        largest = 0.0
        for index, pair in enumerate(found):
            tick(iteration)
            wanted = scales[index] * equalizing_scales(*ranges.of_pair(pair))
            new = allowed(wanted, spread[pair.first.node], pair)
            change = new / scales[index]
            ranges.scale(pair, change)
            scales[index] = new
            largest = max(largest, float(change.log2().abs().max()))
        history.append(largest)
        if largest < CONVERGED:
            break
    return scales, history
