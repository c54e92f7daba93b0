"""One weight that several layers read is rounded once, for all of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from qnb.graph.attributes import attribute
from qnb.methods.layerwise.layers import WeightedLayer
from qnb.methods.layerwise.weights import put
from qnb.sim.quantizer import WeightQuantizer

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim


def once_each(sim: QuantSim, layers: Iterable[WeightedLayer]) -> tuple[list[WeightedLayer], list[str]]:
    """The first layer of each weight, where whatever else reads it does so on the same grid with the same scales; and a
    sentence about each layer left out."""
    first: dict[int, str] = {}
    found, notes = [], []
    for layer in layers:
        tensor = id(attribute(sim.captured.module, layer.weight))
        if tensor in first:
            notes.append(f"{layer.layer} has the weight of {first[tensor]} and gets what was found there.")
        elif not _on_one_grid(sim, layer):
            notes.append(f"{layer.layer} keeps rounding to nearest: {layer.weight} is used elsewhere on another grid.")
        else:
            first[tensor] = layer.layer
            found.append(layer)
    return found, notes


def _on_one_grid(sim: QuantSim, layer: WeightedLayer) -> bool:
    names = _names(sim, layer)
    readers = sum(len(n.users) for n in sim.captured.module.graph.nodes if n.op == "get_attr" and n.target in names)
    quantizers = [sim.weight(key) for key, site in sim.plan.weights.items() if site.tensor in names]
    return readers == len(quantizers) and all(_same(sim.weight(layer.weight_key), other) for other in quantizers)


def _names(sim: QuantSim, layer: WeightedLayer) -> set[str]:
    """What the layer's weight is called."""
    module = sim.captured.module
    weight = attribute(module, layer.weight)
    return {str(n.target) for n in module.graph.nodes if n.op == "get_attr" and attribute(module, n.target) is weight}


def _same(a: WeightQuantizer, b: WeightQuantizer) -> bool:
    return a is b or (
        (a.grid, a.axis, a.active) == (b.grid, b.axis, b.active)
        and torch.equal(a.scale, b.scale)
        and torch.equal(a.zero_point, b.zero_point)
    )


def put_everywhere(sim: QuantSim, layer: WeightedLayer, weight: Tensor) -> None:
    """The layer's weight, under every name that it has."""
    for name in _names(sim, layer):
        put(sim, name, weight)
