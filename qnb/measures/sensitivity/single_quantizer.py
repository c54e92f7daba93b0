"""One quantizer on, all others off: where its error enters the graph, and how large it is there.

With a weight quantizer its bias's follows. Everything else is FP32: the reference's tensors and values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from qnb.errors import PrecisionError
from qnb.graph.attributes import attribute
from qnb.graph.constants import constant_nodes
from qnb.measures.layers.lockstep import call
from qnb.sim import selection
from qnb.sim.placement.masking import attended
from qnb.sim.recurrent_steps import Steps

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim

Values = dict[fx.Node, Any]


@dataclass(frozen=True)
class Site:
    """A quantizer to be measured alone.

    Args:
        path: of its module in ``sim.graph_module``.
        layer, kind: as in `QuantSim.sites`; of a tied one the first layer.
        on: paths of the modules that are on: its own, and its bias's.
        enters: nodes at whose values its error first shows: itself behind an activation, the op of a weight.
        masked: attention scores behind a mask; masked positions do not count.
    """

    path: str
    layer: str
    kind: str
    on: frozenset[str]
    enters: tuple[fx.Node, ...]
    masked: bool


class Alone:
    """A sim's graph with FP32 values, and one quantizer at a time.

    Args:
        sim: a calibrated QuantSim; it is only read.
        layers: names or globs; None means all.
        operation: for errors.

    Raises:
        PrecisionError: no quantizer of these layers is on.
    """

    def __init__(self, sim: QuantSim, layers: str | Iterable[str] | None = None, operation: str = "qnb.sensitivity"):
        self.sim, self.graph = sim, sim.graph_module.graph
        self.nodes = [n for n in self.graph.nodes if n.op != "output"]
        self.constant = constant_nodes(self.nodes)
        self.output = next(n for n in self.graph.nodes if n.op == "output")
        self.place = {node: i for i, node in enumerate(self.nodes)}
        self.sites = self._sites(selection.layers((layer for layer, *_ in sim.sites()), layers, operation))
        if not self.sites:
            raise PrecisionError(
                operation,
                f"no quantizer that is on ({sim.precision.name})",
                "use a precision that quantizes, or enable some layers",
            )
        self._constants: Values = {}

    def _sites(self, layers: set[str]) -> list[Site]:
        plan, found = self.sim.plan, []
        follows: dict[str, list[str]] = {}
        for site in plan.biases.values():
            follows.setdefault(site.weight_key, []).append(f"bias_quantizers.{site.key}")
        tied: dict[str, set[str]] = {}
        for layer, _, module in self.sim.sites():
            tied.setdefault(module, set()).add(layer)
        inside = {
            key: f"recurrent.{name}"
            for name, recurrent in plan.recurrent.items()
            for keys in recurrent.keys
            for key in keys.values()
        }
        activations = [(s, "activation", self.sim.activation(k), s.masked) for k, s in plan.activations.items()]
        weights = [(s, "weight", self.sim.weight(k), False) for k, s in plan.weights.items()]
        for site, part, module, masked in (*activations, *weights):
            if module.active and tied[module] & layers:
                path = f"{part}_quantizers.{site.key}"
                on = frozenset([path, *follows.get(site.key, ())] if part == "weight" else [path])
                enters = self._enters(inside.get(site.key, path) if part == "activation" else path)
                found.append(Site(path, site.layer, getattr(site, "kind", part), on, enters, masked))
        return sorted(found, key=lambda s: min((self.place[n] for n in s.enters), default=0))

    def _enters(self, path: str) -> tuple[fx.Node, ...]:
        """The quantizer where it stands behind activations; behind constants, the first nodes that meet activations."""
        stack, found = [n for n in self.nodes if n.op == "call_module" and n.target == path], []
        while stack:
            node = stack.pop()
            if node in self.constant:
                stack += [user for user in node.users if user.op != "output"]
            elif node not in found:
                found.append(node)
        return tuple(sorted(found, key=self.place.__getitem__))

    def read(self, values: Mapping[fx.Node, Any], site: Site | None = None) -> Callable[[fx.Node], Any]:
        """Gives a node's value: of an activation from ``values``; of a constant FP32, or as ``site`` makes it."""

        def value(node: fx.Node) -> Any:
            if node not in self.constant:
                return values[node]
            if site is not None:
                return self._constant(node, site)
            if node not in self._constants:
                self._constants[node] = self._constant(node, None)
            return self._constants[node]

        return value

    def _constant(self, node: fx.Node, site: Site | None, simulated: bool = False) -> Any:
        """A constant's value; ``simulated``: of the sim's tensors, which a method may have changed."""
        if node.op == "get_attr":
            module = self.sim.graph_module if simulated else self.sim.reference
            tensor = attribute(module, node.target)
            return tensor if simulated else tensor.detach()
        if node.op == "call_module":
            on = site is not None and node.target in site.on
            value = self._constant(node.args[0], site, simulated or on)
            return self.sim.graph_module.get_submodule(node.target)(value) if on else value
        return call(node, partial(self._constant, site=site, simulated=simulated))

    def with_error(self, site: Site, node: fx.Node, values: Mapping[fx.Node, Any]) -> Any:
        """The value of a node at which the error enters, with this quantizer on."""
        module = self.sim.graph_module.get_submodule(node.target) if node.op == "call_module" else None
        if isinstance(module, Steps):
            quantizer = self.sim.graph_module.get_submodule(site.path)
            return module.alone(call(node.args[0], self.read(values), exact=True), quantizer)
        if module is not None:
            return module(values[node.args[0]])
        read = self.read(values, site)
        moved = {n: attribute(self.sim.graph_module, n.target) for n in node.all_input_nodes if n.op == "get_attr"}
        return call(node, lambda n: moved[n] if n in moved else read(n))  # a corrected bias belongs to its weight

    @torch.no_grad()
    def error(self, site: Site, node: fx.Node, values: Mapping[fx.Node, Any]) -> tuple[torch.Tensor | None, ...]:
        """What this quantizer alone adds to each tensor of a node's value; nothing behind a mask."""
        reference = tensors(values[node])
        pairs = zip(tensors(self.with_error(site, node, values)), reference, strict=True)
        found = tuple(None if a is None else a - b for a, b in pairs)
        if not site.masked:
            return found
        return tuple(torch.where(attended(x), e, 0.0) for x, e in zip(reference, found, strict=True))  # pyright: ignore[reportCallIssue]


def tensors(value: Any) -> tuple[torch.Tensor | None, ...]:
    """The tensors of a node's value; None for those that hold no floating-point numbers."""
    parts = value if isinstance(value, tuple | list) else (value,)
    return tuple(p if isinstance(p, torch.Tensor) and p.is_floating_point() else None for p in parts)
