"""Which recurrent layers of a graph run step by step, and the quantizers inside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import fx

from qnb.graph import ops
from qnb.sim.placement.plan import ActivationSite, BiasSite, Plan
from qnb.sim.placement.recurrent_cells import CELLS, Cell
from qnb.targets import Target


@dataclass(frozen=True)
class RecurrentSite:
    """One recurrent node: several layers, in one direction or both.

    Args:
        key: the node's name.
        op: ``"lstm"`` or ``"gru"``.
        layer: its name in tables.
        layers, directions: how many; the weights come layer by layer, forward before backward.
        per: tensors of one layer and direction: 4, or 2 without biases.
        batch_first: inputs and outputs are (batch, steps, features), else (steps, batch, features).
        keys: of each layer and direction: kind of value (`Cell.kinds`) -> key of its activation quantizer. All steps
            share it. Both directions of a layer share that of the hidden state.
        outside: the last layer's hidden state has the quantizer of the node's output.
    """

    key: str
    op: str
    layer: str
    layers: int
    directions: int
    per: int
    batch_first: bool
    keys: tuple[dict[str, str], ...]
    outside: bool

    @property
    def cell(self) -> Cell:
        return CELLS[self.op]

    def suffix(self, index: int) -> str:
        """As torch names the weights: ``l0``, ``l0_reverse``, ``l1`` ..."""
        layer, backward = divmod(index, self.directions)
        return f"l{layer}{'_reverse' if backward else ''}"


def runs_in_steps(node: fx.Node, target: Target) -> bool:
    """Whether the target runs this node step by step: not packed sequences, nor layers with a projection."""
    if node.op != "call_function" or ops.name(node) not in target.written_out or ops.name(node) not in CELLS:
        return False
    if getattr(node.target, "_overloadname", "") != "input":
        return False
    _, _, weights, biases, layers, _, _, both, _ = node.args
    return len(weights) == layers * (2 if both else 1) * (4 if biases else 2)


def initial_states(node: fx.Node) -> list[fx.Node]:
    """Hidden state, and the cell state of an LSTM."""
    given = node.args[1]
    return list(given) if isinstance(given, list | tuple) else [given]


def is_zero(state: fx.Node) -> bool:
    return state.op == "call_function" and ops.name(state) in ("zeros", "zeros_like", "new_zeros")


def add_recurrent_sites(plan: Plan, graph: fx.Graph, target: Target) -> None:
    """Fill ``plan.recurrent`` and the activations inside."""
    layer_of = {}
    for group in plan.groups:
        for name in group.nodes:
            layer_of.setdefault(name, group.layer)
    for node in graph.nodes:
        if node.name in layer_of and runs_in_steps(node, target):
            plan.recurrent[node.name] = _site(plan, node, layer_of[node.name], target)


def _site(plan: Plan, node: fx.Node, layer: str, target: Target) -> RecurrentSite:
    _, _, weights, biases, layers, _, _, both, batch_first = node.args
    directions, op = 2 if both else 1, ops.name(node)
    own = _output_site(plan, node) if all(map(is_zero, initial_states(node))) else None
    per, keys = 4 if biases else 2, []
    found = RecurrentSite(node.name, op, layer, layers, directions, per, batch_first, (), own is not None)
    for index in range(layers * directions):
        mine = {}
        for kind, bounded_by in CELLS[op].kinds.items():
            first = index - index % directions
            if kind == "hidden_state" and own is not None and index // directions == layers - 1:
                mine[kind] = own
            elif kind == "hidden_state" and index != first:
                mine[kind] = keys[first][kind]
            else:
                key = f"{node.name}_{kind}_{found.suffix(index)}"
                plan.activations[key] = ActivationSite(
                    key,
                    "activation",
                    f"{layer}.{kind}_{found.suffix(index)}",
                    layer,
                    [],
                    inside=node,
                    fixed=target.fixed_ranges.get(bounded_by),
                    least_bits=16 if kind in CELLS[op].summed else 0,
                )
                mine[kind] = key
        keys.append(mine)
    return replace(found, keys=tuple(keys))


def _output_site(plan: Plan, node: fx.Node) -> str | None:
    """The quantizer of the sequence that the node gives, where nothing else shares it."""
    for user in node.users:
        key = plan.encoding_of.get(user.name)
        if ops.name(user) == "getitem" and user.args[1] == 0 and key in plan.activations:
            return key if plan.activations[key].nodes == [user] else None
    return None


def recurrent_biases(plan: Plan, node: fx.Node, encoding: Callable) -> list[BiasSite]:
    """int32 biases of a node's projections: of the input with the input's scale, of the hidden state with its own."""
    site, found = plan.recurrent[node.name], []
    if site.per < 4:
        return found
    for index, keys in enumerate(site.keys):
        before = site.keys[index - index % site.directions - 1]["hidden_state"], 1.0
        inputs = (before if index >= site.directions else encoding(node.args[0]), (keys["hidden_state"], 1.0))
        for offset, read in enumerate(inputs):
            place = (2, index * site.per + offset)
            bias = node.args[2][place[1] + 2]
            weight, key = f"{node.name}_arg2_{place[1]}", f"{node.name}_arg2_{place[1] + 2}"
            if read is not None and read[0] is not None and bias.op == "get_attr" and weight in plan.weights:
                at = (2, place[1] + 2)
                found.append(BiasSite(key, str(bias.target), site.layer, bias, node, at, read[0], read[1], weight))
    return found
