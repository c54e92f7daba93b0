"""The square or the reciprocal inside a normalization that is written out, in few bits."""

from __future__ import annotations

from collections.abc import Iterator

from torch import fx

from qnb.graph import ops
from qnb.text import listed, percent
from qnb.workflow.diagnosis.case import Case
from qnb.workflow.diagnosis.cause import Suspicion, cause

INSIDE = ("mean", "add", "sum", "sqrt", "rsqrt", "reciprocal", "clamp", "clamp_min", "pow", "square", "mul", "div")
FAR = 6
"""So many ops from the square to the reciprocal at most."""
FEW_BITS = 8
LEAST_SHARE = 0.05


@cause("inside_normalization", "a square or reciprocal inside a normalization, in few bits")
def find(case: Case) -> Iterator[Suspicion]:
    for square in filter(_is_square, case.op_nodes("pow", "square", "mul")):
        chain = _to_inverse(square)
        layers = list(dict.fromkeys(layer for n in chain if (layer := case.layer_of.get(n.name)) is not None))
        coarse = [layer for layer in layers if (case.activation_bits(layer) or 99) <= FEW_BITS]
        share = case.share(coarse, "activation")
        if not coarse or share < LEAST_SHARE:
            continue
        first = layers[0]
        way = case.remedies.wider(coarse, share)
        yield Suspicion(
            f"A normalization is computed in {FEW_BITS} bits from {first!r} on",
            tuple(coarse),
            f"{listed(coarse, 4)} square values and invert them; small squares become zero in {FEW_BITS} bits, and "
            f"their reciprocal is far off: {percent(share)} of the output's error",
            (way,),
        )


def inverted_squares(case: Case) -> set[fx.Node]:
    """The nodes between a square and the reciprocal that it goes into."""
    return {n for square in filter(_is_square, case.op_nodes("pow", "square", "mul")) for n in _to_inverse(square)}


def _is_square(node: fx.Node) -> bool:
    name = ops.name(node)
    if name == "pow":
        power = node.args[1] if len(node.args) > 1 else None
        return isinstance(power, int | float) and power == 2
    return name == "square" or (name == "mul" and len(node.args) > 1 and node.args[0] is node.args[1])


def _to_inverse(square: fx.Node) -> list[fx.Node]:
    """The nodes from a square to the reciprocal, or the division, that its mean goes into; empty without one."""
    reached: list[tuple[fx.Node, list[fx.Node]]] = [(square, [square])]
    while reached:
        node, path = reached.pop(0)
        for user in node.users:
            if user.op != "call_function" or len(path) > FAR:
                continue
            name = ops.name(user).rstrip("_")
            if _inverts(user, node, name):
                return [*path, user]
            if name in INSIDE or ops.of(user).kind == "pass":
                reached.append((user, [*path, user]))
    return []


def _inverts(user: fx.Node, node: fx.Node, name: str) -> bool:
    if name == "pow":
        power = user.args[1] if len(user.args) > 1 else None
        return isinstance(power, int | float) and power < 0
    if name == "div":
        return len(user.args) > 1 and user.args[1] is node
    return name in ("rsqrt", "reciprocal")
