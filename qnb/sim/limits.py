"""Which layers of a simulation meet a limit of its target; layers that it does not run are refused by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from torch import fx

from qnb.errors import TargetError
from qnb.graph import ops
from qnb.numerics import Precision
from qnb.targets import TARGETS, Target, runs
from qnb.targets.limits import Limit

if TYPE_CHECKING:
    from qnb.sim.base import SimBase

LONGEST = 7
"""Side of a kernel that is not "long"."""
NAMED = 3
"""Layers that a sentence names."""


def met(sim: SimBase) -> Iterator[tuple[str, str, Limit]]:
    """(layer, op, limit) for each op that one is about, at whatever precision it holds."""
    layer_of = {name: group.layer for group in sim.groups for name in group.nodes}
    for node in sim.captured.module.graph.nodes:
        if node.op == "call_function" and node.name in layer_of:
            for limit in sim.target.limits:
                if ops.name(node) in limit.ops and _where(node, limit.where):
                    yield layer_of[node.name], ops.name(node), limit


def holding(sim: SimBase) -> Iterator[tuple[str, str, Limit]]:
    """(layer, op, limit) for each op that one is about, at the precision that its layer has."""
    outputs = {group.layer: group.key for group in sim.groups}
    for layer, op, limit in met(sim):
        weights = sim.plan.weights_of.get(layer)
        own = Precision(
            sim.weight(weights[0]).grid if weights else sim.precision.weights, sim.activation(outputs[layer]).grid
        )
        if limit.holds(own):
            yield layer, op, limit


def sentences(found: Iterable[tuple[str, str, Limit]], target: Target) -> Iterator[tuple[Limit, str]]:
    """One for each op and limit: what the target does, in which layers, and what to do about it."""
    layers: dict[tuple, list[str]] = {}
    for layer, op, limit in found:
        layers.setdefault((op, limit), []).append(layer)
    for (op, limit), named in layers.items():
        shown = ", ".join(map(repr, named[:NAMED])) + (f" and {len(named) - NAMED} more" if len(named) > NAMED else "")
        yield limit, f"{limit.when}{target.name} {limit.said(op)}, layer {shown}: {limit.remedy}"


def refuse_unsupported(sim: SimBase, layers: Iterable[str], precision: Precision, operation: str) -> None:
    """Whether the sim's target runs these layers at this precision. What it runs at none is `Workflow.check`'s to say.

    Raises:
        TargetError: names the first layer that it does not, the precision, the target and what it runs.
    """
    layers = set(layers)
    for layer in sorted(layers):
        if not runs(sim.target, precision, weights=bool(sim.plan.weights_of.get(layer))):
            free = ", ".join(name for name in TARGETS if TARGETS[name].accepts_any_precision)
            raise TargetError(
                operation,
                f"layer {layer!r} at {precision.name}, which {sim.target.name} does not run",
                f"use one of {', '.join(sim.target.precisions)}; a target that runs any precision is one of {free}",
            )
    for layer, op, limit in met(sim):
        if limit.refused and limit.when and layer in layers and limit.holds(precision):
            raise TargetError(
                operation,
                f"layer {layer!r} ({op}) at {precision.name}: {limit.when}{sim.target.name} {limit.said(op)}",
                limit.remedy,
            )


def _where(node: fx.Node, condition: str) -> bool:
    if condition == "dilated":
        transposed = ops.of(node).family == "transposed convolution"  # their sixth argument is the output's padding
        return max(ops.numbers(node, 7 if transposed else 5, 1)) > 1
    if condition == "grouped":
        return ops.groups(node) > 1
    if condition == "long":
        return max(node.args[1].meta["val"].shape[2:]) > LONGEST
    return True
