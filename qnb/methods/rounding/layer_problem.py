"""One layer's reconstruction as a least-squares problem on sampled columns of its unfolded input."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor, fx

from qnb.graph import ops
from qnb.methods.layerwise.frontier import Frontier, Segment
from qnb.methods.layerwise.unfold import Product

COLUMNS, ELEMENTS = 2**15, 2**26
"""Of columns, and of their elements, so many are kept at most: neighbours in a feature map tell nearly the same."""


@dataclass
class LayerProblem:
    """``f(W~ x' + b')`` should be ``f(W x + b)``: x' the simulated input, x FP32's, f the fused activation.

    Args:
        columns: x', ``[groups, N, K]``, in random order, so that any run of them is a sample.
        wanted: ``f(W x + b)``, ``[N, groups R]``.
        bias: b', 0-dim or ``[groups R]``.
        activation: f, of ``[N, groups R]``.
        generator: of the samples; None is torch's own.
    """

    columns: Tensor
    wanted: Tensor
    bias: Tensor
    activation: Callable[[Tensor], Tensor]
    generator: torch.Generator | None = None

    def __len__(self) -> int:
        return self.columns.shape[1]

    def before_activation(self, rows: Tensor, some: slice = slice(None)) -> Tensor:
        """``W~ x' + b'`` of weights ``[groups, R, K]``; ``[N, groups R]``."""
        y = self.columns[:, some] @ rows.mT
        return y.transpose(0, 1).flatten(1) + self.bias

    def losses(self, rows: Tensor, some: slice = slice(None)) -> Tensor:
        """Mean squared error of each output channel: they do not depend on one another."""
        return (self.activation(self.before_activation(rows, some)) - self.wanted[some]).square().mean(0)

    def sample(self, count: int) -> slice:
        start = int(torch.randint(max(1, len(self) - count + 1), (), generator=self.generator))
        return slice(start, start + count)


def sampled(
    walk: Frontier,
    product: Product,
    segment: Segment,
    targets: list[Tensor],
    tick: Callable[[], None],
    generator: torch.Generator | None = None,
) -> LayerProblem:
    """The problem of the layer that the walk stands before.

    Args:
        segment: from the layer to the end of its group.
        targets: the group's FP32 output, by batch.
        tick: called between parts of the work.
        generator: of what is sampled; None is torch's own.
    """
    outputs = targets[0].shape[product.output_axis]
    total = sum(target.numel() for target in targets) // outputs
    groups, _, k = product.rows(product.layer.site.source.meta["val"]).shape
    count = min(total, COLUMNS, max(1, ELEMENTS // (groups * k)))
    chosen = torch.randperm(total, generator=generator)[:count].sort().values
    order = torch.randperm(count, generator=generator)
    columns = wanted = None
    for first, some, rows in _parts(walk, product, targets, tick):
        if columns is None:
            columns, wanted = some.new_empty(groups, count, k), some.new_empty(count, outputs)
        begin, end = torch.searchsorted(chosen, torch.tensor([first, first + len(rows)])).tolist()
        inside, place = ((t[begin:end]).to(some.device) for t in (chosen - first, order))
        columns[:, place], wanted[place] = some[:, :, inside].mT, rows[inside]
    return LayerProblem(columns, wanted, _bias(walk, product), _activation(walk, product, segment), generator)


def _parts(walk: Frontier, product: Product, targets: list[Tensor], tick) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Parts of the input as ``[groups, K, N]`` with what is wanted of them ``[N, outputs]``, and how many came before:
    samples first, then positions, in both."""
    first = 0
    for batch, target in enumerate(targets):
        rows = target.movedim(product.output_axis, -1).flatten(0, -2) if target.dim() > 1 else target[None]
        for some in product.columns(product.inputs(walk, batch)):
            tick()
            here, rows = rows[: some.shape[2]], rows[some.shape[2] :]
            yield first, some, here
            first += len(here)


def _bias(walk: Frontier, product: Product) -> Tensor:
    node, position = walk.nodes[walk.place[product.node.name]], ops.of(product.node).bias
    bias = node.args[position] if position is not None and len(node.args) > position else None
    return torch.zeros(()) if bias is None else walk.value(bias, {}, {}, False).detach()


def _activation(walk: Frontier, product: Product, segment: Segment) -> Callable[[Tensor], Tensor]:
    """The ops after the weighted one, as a function of its output."""
    rest = [n for n in segment.nodes if n.name != product.node.name]
    return lambda y: reduce(lambda y, node: _call_on(walk, node, y), rest, y)


def _call_on(walk: Frontier, node: fx.Node, y: Tensor) -> Tensor:
    return walk.call(node, lambda n: walk.value(n, {}, {}, False) if n in walk.constant else y, False)


def is_by_channel(walk: Frontier, product: Product, segment: Segment) -> bool:
    """Whether each output channel is one row's product, a number, and an activation by element or by channel."""
    rest = [n for n in segment.nodes if n.name != product.node.name]
    args, position = product.node.args, ops.of(product.node).bias
    of_channels = position is None or len(args) <= position or _is_vector(args[position])
    alone = all(len([n for n in node.all_input_nodes if n not in walk.constant]) == 1 for node in rest)
    by_channel = product.output_axis == 1 or not any(n in walk.constant for node in rest for n in node.all_input_nodes)
    return of_channels and alone and by_channel


def _is_vector(bias: fx.Node | None) -> bool:
    return bias is None or (bias.op == "get_attr" and bias.meta["val"].dim() == 1)
