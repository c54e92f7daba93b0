"""The plan of a simulation: which quantizer stands where. Value objects only; `placement` makes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import fx


@dataclass(frozen=True)
class LayerGroup:
    """One row of every per-layer table: an op, or the ops that the target fuses.

    Args:
        layer: readable name, the first op's.
        module: class of the module it stands in.
        op: op names joined by ``+``.
        nodes: graph nodes in order.
        output: the node whose value is the layer's output.
        key: the activation quantizer on that output.
    """

    layer: str
    module: str
    op: str
    nodes: tuple[str, ...]
    output: str
    key: str


@dataclass
class ActivationSite:
    """An activation quantizer; several nodes share it where the target ties them."""

    key: str
    kind: str
    tensor: str
    layer: str
    nodes: list[fx.Node]
    fixed: tuple[float, float] | None = None
    symmetric_at_16: bool = False
    least_span_at_16: float = 0.0
    from_below_zero_at_16: bool = False
    masked: bool = False
    least_bits: int = 0
    inside: fx.Node | None = None
    """the recurrent node whose steps the quantizer is inside of; it has no nodes of its own"""

    @property
    def first(self) -> fx.Node:
        """Where it is first met in the graph."""
        return self.nodes[0] if self.nodes else self.inside


@dataclass(frozen=True)
class ParameterSite:
    """A quantizer between the get_attr node of a parameter and one consumer (tied parameters: one per consumer)."""

    key: str
    tensor: str
    layer: str
    source: fx.Node
    user: fx.Node
    path: tuple[int, ...]


@dataclass(frozen=True)
class WeightSite(ParameterSite):
    """Of a weight."""

    axis: int | None
    block_axis: int | None
    grid: str  # "weights" or "activations"


@dataclass(frozen=True)
class BiasSite(ParameterSite):
    """Of an int32 bias: its scale is the input's times the weight's."""

    input_key: str
    input_factor: float
    weight_key: str


@dataclass
class Plan:
    """Everything `QuantSim` needs to build its graph."""

    groups: list[LayerGroup] = field(default_factory=list)
    activations: dict[str, ActivationSite] = field(default_factory=dict)
    weights: dict[str, WeightSite] = field(default_factory=dict)
    biases: dict[str, BiasSite] = field(default_factory=dict)
    unknown: list[tuple[str, str]] = field(default_factory=list)
    """(layer, op) of ops that the table does not know"""
    encoding_of: dict[str, str] = field(default_factory=dict)
    """node name -> key of the activation quantizer whose encoding its value has"""
    follows: dict[str, tuple[str, float]] = field(default_factory=dict)
    """node name -> (key, factor): values without a quantizer of their own, whose scale is the key's times factor"""
    recurrent: dict[str, Any] = field(default_factory=dict)
    """node name -> `qnb.sim.placement.recurrent_sites.RecurrentSite` of those that run step by step"""

    def encoding(self, name: str) -> tuple[str, float] | None:
        """(key of the activation quantizer, factor) that a node's value has its encoding from; None without any."""
        key = self.encoding_of.get(name)
        return self.follows.get(name) or ((key, 1.0) if key is not None else None)

    @cached_property
    def weights_of(self) -> dict[str, list[str]]:
        """Layer -> keys of its weights' quantizers; to be asked of a finished plan."""
        found: dict[str, list[str]] = {}
        for key, site in self.weights.items():
            found.setdefault(site.layer, []).append(key)
        return found

    @cached_property
    def weights_into(self) -> dict[str, list[str]]:
        """Name of a node -> keys of the quantizers of weights that it reads; to be asked of a finished plan."""
        found: dict[str, list[str]] = {}
        for key, site in self.weights.items():
            found.setdefault(site.user.name, []).append(key)
        return found
