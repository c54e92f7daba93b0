"""Which inputs of a concatenation may share its encoding at no loss."""

from __future__ import annotations

from torch import fx

from qnb.graph import ops
from qnb.sim.placement import tensor_roles
from qnb.targets import Target


def only_joined(node: fx.Node, target: Target) -> bool:
    """Whether a value, looked at where it was made, only goes into concatenations, and its range is not fixed."""
    node = maker(node, target)
    return ops.name(node) not in target.fixed_ranges and bool(node.users) and _goes_into_concats(node, target)


def maker(node: fx.Node, target: Target) -> fx.Node:
    """The op that made a value which was only moved since."""
    while _moves(node, target):
        node = node.args[0]
    return node


def _goes_into_concats(node: fx.Node, target: Target) -> bool:
    for user in node.users:
        if tensor_roles.is_size(user):
            continue
        joined = user.op == "call_function" and ops.of(user).kind == "concat"
        if not joined and not (_moves(user, target) and user.args[0] is node and _goes_into_concats(user, target)):
            return False
    return True


def _moves(node: fx.Node, target: Target) -> bool:
    """Whether the node has its input's encoding."""
    if node.op != "call_function" or not node.args or not isinstance(node.args[0], fx.Node):
        return False
    kind = ops.of(node).kind
    return kind == "pass" or (kind == "resize" and target.resize_shares_encoding)
