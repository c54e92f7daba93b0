"""What ops do to the channels of a value: scales and means per channel pass through some.

``f(s x) = s f(x)`` for a positive scale: ReLU, PReLU and LeakyReLU, poolings, flattening; a ReLU6 up to its ceiling.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from qnb.graph import ops
from qnb.graph.attributes import attribute

if TYPE_CHECKING:
    pass

_POOLS = {f"{kind}_pool{n}d": n for kind in ("max", "avg", "adaptive_max", "adaptive_avg") for n in (1, 2, 3)}
_SAME = ("dropout", "feature_dropout", "alpha_dropout", "clone", "contiguous", "detach", "alias")
_RESHAPES = ("view", "reshape", "_unsafe_view", "flatten", "squeeze", "unsqueeze", "unflatten", "view_as", "reshape_as")


@dataclass(frozen=True)
class Rectifier:
    """``min(max(x, 0), ceiling) + slope min(x, 0)``: ReLU, ReLU6 and their like."""

    ceiling: float = math.inf
    slope: float | torch.Tensor = 0.0


@dataclass(frozen=True)
class ChainStep:
    """What one op does to a scale per channel.

    Args:
        axis: counts the channels after it.
        repeat: channels after it per channel before it, more than 1 where a map is flattened.
        ceiling: of a ReLU6, inf without.
        signed: whether negative values get through.
        shifts: whether a constant taken off its input is a constant in its output: no zeros are padded.
    """

    axis: int
    repeat: int = 1
    ceiling: float = math.inf
    signed: bool = True
    shifts: bool = True


def through(module: torch.nn.Module, node: fx.Node, axis: int) -> ChainStep | None:
    """None where the op does not let a scale through."""
    found = rectifier(module, node)
    if found is not None:
        return ChainStep(axis, ceiling=found.ceiling, signed=isinstance(found.slope, torch.Tensor) or found.slope != 0)
    name, before, after = ops.name(node), node.args[0].meta["val"], node.meta["val"]
    if name in _SAME:
        return ChainStep(axis)
    if name in _POOLS and axis < before.dim() - _POOLS[name]:
        return ChainStep(axis, shifts=not name.startswith("avg") or not _pads_average(node))
    if name == "mean" and len(node.args) > 1:
        dims = [d % before.dim() for d in node.args[1]]
        return ChainStep(axis) if dims and all(d > axis for d in dims) else None
    if name in _RESHAPES and after.dim() > axis and before.shape[:axis] == after.shape[:axis]:
        if after.shape[axis] == before.shape[axis]:
            return ChainStep(axis)
        if after.dim() == axis + 1:  # channels and what comes after them, flattened
            return ChainStep(axis, repeat=before.shape[axis + 1 :].numel())
    return None


def _pads_average(node: fx.Node) -> bool:
    """Whether an average counts zeros, or divides by a number of its own."""
    padding, divisor = (node.args[i] if len(node.args) > i else 0 for i in (3, 6))
    return any(many(padding)) or bool(divisor)


def many(value: Any) -> list:
    return list(value) if isinstance(value, list | tuple) else [value]


def rectifier(module: torch.nn.Module, node: fx.Node) -> Rectifier | None:
    """What a node rectifies as, None if it is no rectifier.

    Args:
        module: the graph module that holds a PReLU's slopes.
    """
    name, args, ends = ops.name(node), node.args, ops.clip_ends(node)
    if name == "leaky_relu":
        return Rectifier(slope=args[1] if len(args) > 1 else 0.01)
    if name == "prelu" and isinstance(args[1], fx.Node) and args[1].op == "get_attr":
        return Rectifier(slope=attribute(module, args[1].target).detach())
    return Rectifier(ends[1]) if ends is not None and ends[0] == 0 else None
