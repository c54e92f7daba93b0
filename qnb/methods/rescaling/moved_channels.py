"""Where each channel of a layer's output ends up, through ops that move or scale it: exact for any reshaping."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import fx

from qnb.graph import ops
from qnb.methods.layerwise.unfold import Product

_MOVES = frozenset(
    """
    view reshape _unsafe_view flatten unflatten transpose permute t mT adjoint squeeze unsqueeze slice select split
    split_with_sizes chunk tensor_split unbind getitem expand repeat movedim swapaxes narrow pixel_shuffle
    pixel_unshuffle channel_shuffle repeat_interleave
""".split()
)
_SAME = frozenset(
    """
    relu leaky_relu prelu neg abs clone contiguous detach alias dropout feature_dropout alpha_dropout to _to_copy
""".split()
)
"""``f(x / s) = f(x) / s`` for positive s, element by element."""
_POOLS = {f"{kind}_pool{n}d": n for kind in ("max", "avg", "adaptive_max", "adaptive_avg") for n in (1, 2, 3)}


@dataclass(frozen=True)
class Reading:
    """A weighted op that reads the channels: input channel i of it is channel ``channel[i]``."""

    product: Product
    channel: torch.Tensor


class MovedChannels:
    """Follows a tensor with the number of its channel in place of each value.

    Args:
        source: the node whose channels are followed.
        axis: of its channels.
        products: the ops that may take a scale into their weight, by name of node.

    ``free[c]`` tells whether a scale on channel c reaches nothing but such ops; ``path`` are the nodes whose values
    hold scaled channels; ``readings`` the ops that read them.
    """

    def __init__(self, source: fx.Node, axis: int, products: Mapping[str, Product]):
        value = source.meta["val"]
        self.products, self.readings, self.path = products, [], {source.name}
        self.free = torch.ones(value.shape[axis], dtype=torch.bool)
        shape = [1] * value.dim()
        shape[axis] = -1
        self.numbers = {source: torch.arange(len(self.free), dtype=torch.float64).view(shape).expand(value.shape)}
        node = source.next
        while node.op != "root":
            self._visit(node)
            node = node.next

    def _visit(self, node: fx.Node) -> None:
        moving = [n for n in node.all_input_nodes if n in self.numbers and self._any_free(n)]
        if not moving or not (node.op == "output" or isinstance(node.meta.get("val"), torch.Tensor | tuple | list)):
            return
        if node.op == "call_function" and node.name in self.products:
            found = self._reading(self.products[node.name], moving)
            if found is not None:
                self.readings.append(found)
                return
        elif node.op == "call_function" and len(moving) == 1 and _count(node.args, moving[0]) == 1:
            found = self._through(node, moving[0])
            if found is not None:
                self.numbers[node] = found
                self.path.add(node.name)
                return
        for n in moving:
            self._fix(n)

    def _reading(self, product: Product, moving: list[fx.Node]) -> Reading | None:
        data = product.node.args[product.data]
        if moving != [data] or not isinstance(self.numbers[data], torch.Tensor):
            return None
        numbers = product.channels(_compact(self.numbers[data]))
        return Reading(product, numbers[:, 0].long()) if (numbers == numbers[:, :1]).all() else None

    def _through(self, node: fx.Node, source: fx.Node):
        """The numbers after an op; None where it does more than to move or scale them."""
        name, numbers = ops.name(node), self.numbers[source]
        if name in _MOVES and node.args[0] is source:
            args, kwargs = fx.map_arg((node.args, node.kwargs), lambda n: numbers if n is source else n.meta["val"])
            return node.target(*args, **kwargs)  # pyright: ignore[reportCallIssue]
        if name in _SAME and node.args[0] is source:
            return numbers
        shape = node.meta["val"].shape if isinstance(node.meta["val"], torch.Tensor) else None
        if shape is None or not isinstance(numbers, torch.Tensor):
            return None
        if name == "mul" or (name == "div" and node.args[0] is source and not node.kwargs.get("rounding_mode")):
            return numbers.expand(shape)
        if name in ("matmul", "bmm") and node.args[1] is source and numbers.dim() > 1:  # attention's mix of positions
            return _merged(numbers, [-2], shape)
        if name in _POOLS and node.args[0] is source:
            return _merged(numbers, [*range(-_POOLS[name], 0)], shape)
        if name in ("mean", "sum") and len(node.args) > 1 and node.args[1]:
            merged = _merged(numbers, list(node.args[1]))
            return None if merged is None else merged.amax(node.args[1], node.args[2] if len(node.args) > 2 else False)
        return None

    def _any_free(self, node: fx.Node) -> bool:
        return any(bool(self.free[_compact(t).long()].any()) for t in _tensors(self.numbers[node]))

    def _fix(self, node: fx.Node) -> None:
        for numbers in _tensors(self.numbers[node]):
            self.free[_compact(numbers).flatten().long()] = False


def _merged(numbers: torch.Tensor, axes: list[int], shape=None) -> torch.Tensor | None:
    """The numbers where an op mixes values along some axes, which must hold one channel each."""
    axes = [a % numbers.dim() for a in axes]
    first = numbers[tuple(slice(0, 1) if a in axes else slice(None) for a in range(numbers.dim()))]
    if not (_compact(numbers) == _compact(first)).all():
        return None
    return first if shape is None else first.expand(shape)


def _compact(numbers: torch.Tensor) -> torch.Tensor:
    """Without the axes along which one value is only repeated."""
    repeated = (
        slice(0, 1) if stride == 0 and n else slice(None)
        for n, stride in zip(numbers.shape, numbers.stride(), strict=True)
    )
    return numbers[tuple(repeated)]


def _tensors(numbers) -> list[torch.Tensor]:
    return [numbers] if isinstance(numbers, torch.Tensor) else list(numbers)


def _count(args, node: fx.Node) -> int:
    found = []
    fx.map_arg(args, lambda n: found.append(n) if n is node else None)
    return len(found)
