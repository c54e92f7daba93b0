"""What a choice of precisions costs, in the form that the solver takes: per group, and per pair of groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from qnb.errors import InputError
from qnb.measures.cost import bits_of, cost, products, stored
from qnb.methods.precision.candidates import Group
from qnb.registry import Registry
from qnb.sim.build import activation_grid, weight_grid

if TYPE_CHECKING:
    from qnb.sim.quantizer import Quantizer
    from qnb.sim.quantsim import QuantSim

COSTS: Registry[Callable] = Registry("cost")
"""Name -> ``(sim, groups) -> Costs``."""


@dataclass
class Costs:
    """``groups``: per group ``[options]``; ``pairs``: ``(g, h)``, g < h -> ``[options of g, options of h]``."""

    groups: list[np.ndarray]
    pairs: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)

    @classmethod
    def zero(cls, groups: Sequence[Group]) -> Costs:
        return cls([np.zeros(len(g.options)) for g in groups])

    def add(self, g: int | None, h: int | None, of: np.ndarray) -> None:
        """Add ``of [options of g or 1, options of h or 1]``; None stands for what has no choice."""
        if g is None and h is None:
            self.groups[0] += of.item()
        elif g == h:
            self.groups[g] += np.diagonal(of)  # pyright: ignore[reportCallIssue]
        elif g is None or h is None:
            self.groups[h if g is None else g] += of.ravel()  # pyright: ignore[reportCallIssue]
        else:
            (g, h), of = ((g, h), of) if g < h else ((h, g), of.T)
            self.pairs[g, h] = self.pairs.get((g, h), 0.0) + of


class OptionBits:
    """Bits of each quantizer under each option of its group."""

    def __init__(self, sim: QuantSim, groups: Sequence[Group]):
        self.of: dict[int, tuple[int, np.ndarray]] = {}
        for index, group in enumerate(groups):
            for key in group.activations:
                site = sim.plan.activations[key]
                self._set(sim.activation(key), index, [activation_grid(site, p).bits for p in group.options])
            for key in group.weights:
                site, shape = sim.plan.weights[key], sim.weight_tensor(key).shape
                self._set(sim.weight(key), index, [weight_grid(site, shape, p)[0].bits for p in group.options])

    def _set(self, quantizer: Quantizer, index: int, bits: list[int]) -> None:
        if quantizer.active:
            self.of[id(quantizer)] = index, np.array(bits, dtype=np.float64)

    def __call__(self, quantizer: Quantizer) -> tuple[int | None, np.ndarray]:
        """(group, bits by option); (None, its bits) where it has no choice."""
        return self.of.get(id(quantizer), (None, np.array([bits_of(quantizer)], dtype=np.float64)))

    def at(self, quantizer: Quantizer, choice: Sequence[int]) -> int:
        """Its bits where the groups choose so."""
        group, bits = self(quantizer)
        return int(bits[0 if group is None else choice[group]])


@COSTS.register("bops")
def bops(sim: QuantSim, groups: Sequence[Group]) -> Costs:
    """Multiply-accumulates times the bits of both factors (UNIQ, arXiv 1804.10969), of one sample.

    A layer's input has the bits of the layer that made it: what one group chooses, another one pays for too.
    """
    found, bits = Costs.zero(groups), OptionBits(sim, groups)
    for _, macs, first, second in products(sim):
        (g, a), (h, b) = bits(first), bits(second)
        found.add(g, h, macs * np.outer(a, b))
    return found


@COSTS.register("weight_bytes")
def weight_bytes(sim: QuantSim, groups: Sequence[Group]) -> Costs:
    """Bytes of all weights, biases and tables, as `qnb.measures.model_bytes` counts them."""
    found, bits = Costs.zero(groups), OptionBits(sim, groups)
    for _, numel, quantizer in stored(sim):
        fixed = isinstance(quantizer, int)
        g, b = (None, np.array([quantizer], dtype=np.float64)) if fixed else bits(quantizer)
        found.add(g, None, numel * b[:, None] / 8)
    return found


def by_layer(
    function: Callable[[pd.DataFrame], Sequence[float]], sim: QuantSim, groups: Sequence[Group], operation: str
) -> Costs:
    """A cost of the user's own: one number per row of a table of layers.

    Args:
        function: given a DataFrame, one row per layer, columns ``layer, op, macs, weight_numel, weight_bits,
            activation_bits, input_bits`` (``weight_bits`` 0 without weights, ``input_bits`` of the first input).

    Raises:
        InputError: it does not give one finite number, not below 0, per row.
    """
    found, bits, inputs = Costs.zero(groups), OptionBits(sim, groups), _first_inputs(sim)
    group_of = {layer: i for i, group in enumerate(groups) for layer in group.layers}
    rows = sim.layers().merge(cost(sim)[["layer", "macs"]], on="layer")
    for row in rows.itertuples():
        g, producer = group_of.get(row.layer), inputs.get(row.layer)
        h, incoming = bits(producer)
        weights = [bits(sim.weight(k))[1] for k in sim.plan.weights_of.get(row.layer, ())]
        outgoing = bits(sim.activation(next(x.key for x in sim.groups if x.layer == row.layer)))[1]
        widths = np.max(np.broadcast_arrays(*weights), axis=0) if weights else np.zeros(1)
        own, widths, _ = np.broadcast_arrays(outgoing, widths, np.zeros(1 if g is None else len(groups[g].options)))
        table = pd.DataFrame(
            {
                "layer": row.layer,
                "op": row.op,
                "macs": row.macs,
                "weight_numel": row.weight_numel,
                "weight_bits": np.repeat(widths, len(incoming)),
                "activation_bits": np.repeat(own, len(incoming)),
                "input_bits": np.tile(incoming, len(own)),
            }
        )
        found.add(g, h, _checked(function(table), len(table), operation).reshape(len(own), len(incoming)))
    return found


def _first_inputs(sim: QuantSim) -> dict[str, object]:
    """Layer -> quantizer of its first input."""
    nodes = {n.name: n for n in sim.captured.module.graph.nodes}
    found = {}
    for group in sim.groups:
        sources = nodes[group.nodes[0]].all_input_nodes
        keys = [k for k in (sim.plan.encoding_of.get(n.name) for n in sources) if k]
        found[group.layer] = sim.activation(keys[0]) if keys else None
    return found


def _checked(costs, count: int, operation: str) -> np.ndarray:
    try:
        values = np.asarray(costs, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.array([])
    if values.shape != (count,) or not np.isfinite(values).all() or (values < 0).any():
        raise InputError(
            operation,
            f"a cost function that returned {type(costs).__name__} of shape {values.shape}",
            "return one finite number, not below 0, for each row of the table",
        )
    return values
