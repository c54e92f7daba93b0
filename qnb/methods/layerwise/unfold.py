"""A weighted op as a matrix product, group by group: ``y = W x`` with the op's input unfolded to columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import fx

from qnb.graph import ops
from qnb.methods.layerwise.frontier import Frontier
from qnb.methods.layerwise.layers import WeightedLayer
from qnb.methods.layerwise.weights import as_matrix, from_matrix, nodes
from qnb.numerics.layout import align

if TYPE_CHECKING:
    from qnb.sim.quantizer import Quantizer
    from qnb.sim.quantsim import QuantSim

ELEMENTS = 2**22
"""Of the unfolded input that exist at once."""


@dataclass(frozen=True)
class Product:
    """Output channel ``g R + r`` is ``rows[g, r] @ columns[g]``, plus the bias.

    Args:
        layer: what it is in the sim.
        node: the op in the captured graph.
        data: argument position of its input.
        groups: 1 but for grouped convolutions.

    ``rows`` is ``[groups, R, K]`` and ``columns`` ``[groups, K, N]``: K inputs that are summed (input channels of the
    group times kernel taps), N positions in all samples.
    """

    layer: WeightedLayer
    node: fx.Node
    data: int
    groups: int

    @property
    def left(self) -> bool:
        """A constant on the left of a matrix product: its rows are the output features, the input's rows are summed."""
        return self.layer.site.path == (0,)

    @property
    def spatial(self) -> int:
        return ops.of(self.node).spatial

    @property
    def output_axis(self) -> int:
        """The axis of the output that counts its channels."""
        return self.node.meta["val"].dim() - (2 if self.left else 1 + self.spatial)

    def matrix(self, weight: torch.Tensor) -> torch.Tensor:
        """The weight as ``[groups, R, input channels of the group, taps]``."""
        return weight[None, :, :, None] if self.left else as_matrix(weight, self.node)

    def rows(self, weight: torch.Tensor) -> torch.Tensor:
        """The weight (or something of its shape) as ``[groups, R, K]``."""
        return self.matrix(weight).flatten(2)

    def weight(self, rows: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """The inverse of `rows`: a new tensor of ``like``'s shape and dtype."""
        if self.left:
            return rows[0].to(like.dtype).clone()
        shape = self.matrix(like).shape
        return from_matrix(rows.reshape(shape), self.node, like)

    def channels(self, x: torch.Tensor) -> torch.Tensor:
        """The op's input as ``[input channels, values per channel]``."""
        axis = max(x.dim() - 2, 0) if self.left else x.dim() - 1 - self.spatial
        return x.movedim(axis, 0).flatten(1) if x.dim() > 1 else x[:, None]

    def columns(self, x: torch.Tensor) -> Iterator[torch.Tensor]:
        """The op's input as parts of ``[groups, K, N]`` along N."""
        x = x if x.dtype == torch.float64 else x.float()
        if not self.spatial:
            flat = self.channels(x)
            yield from flat[None].split(max(1, ELEMENTS // flat.shape[0]), dim=2)
            return
        patches = self._patches(x if x.dim() == self.spatial + 2 else x[None])
        sample = max(1, patches[0].numel())
        for some in patches.split(max(1, ELEMENTS // sample)):
            for part in some.split(max(1, ELEMENTS // max(1, some[:, :, :1].numel())), dim=2):
                yield self._flat(part)

    def _patches(self, x: torch.Tensor) -> torch.Tensor:
        """View of the padded input: ``[samples, channels, positions ..., taps ...]``."""
        taps, dilation = self._taps, self._argument("dilation", 1)
        x, stride = self._padded(x, taps, dilation)
        for axis in range(self.spatial):
            reach = dilation[axis] * (taps[axis] - 1) + 1
            x = x.unfold(2 + axis, reach, stride[axis])[..., :: dilation[axis]]
        return x.flip([*range(-self.spatial, 0)]) if self._transposed else x

    def _padded(self, x: torch.Tensor, taps: list[int], dilation: list[int]) -> tuple[torch.Tensor, list[int]]:
        """The input with zeros around, and the stride. A transposed convolution is one with zeros between its inputs,
        stride 1 and its taps in the opposite order."""
        stride, padding = self._argument("stride", 1), self._argument("padding", 0)
        reach = [d * (k - 1) for d, k in zip(dilation, taps, strict=True)]
        if self._transposed:
            extra = self._argument("output_padding", 0)
            x = _spread(x, stride)
            ends = [(r - p, r - p + e) for r, p, e in zip(reach, padding, extra, strict=True)]
            stride = [1] * self.spatial
        elif padding == "same":
            ends = [(r // 2, r - r // 2) for r in reach]
        else:
            ends = [(0, 0) if padding == "valid" else (padding[i], padding[i]) for i in range(self.spatial)]
        return F.pad(x, [amount for pair in reversed(ends) for amount in pair]), stride

    def _flat(self, patches: torch.Tensor) -> torch.Tensor:
        samples, channels = patches.shape[:2]
        positions = patches.shape[2 : 2 + self.spatial].numel()
        blocks = patches.reshape(samples, self.groups, channels // self.groups, positions, -1)
        return blocks.permute(1, 2, 4, 0, 3).flatten(3).flatten(1, 2)

    @property
    def _transposed(self) -> bool:
        return ops.of(self.node).family == "transposed convolution"

    @property
    def _taps(self) -> list[int]:
        return list(self.layer.site.source.meta["val"].shape[2:])

    def _argument(self, name: str, default: int) -> list[int] | str:
        """One of the op's numbers per spatial axis."""
        names = [a.name for a in self.node.target._schema.arguments]
        position = names.index(name)
        given = self.node.args[position] if len(self.node.args) > position else self.node.kwargs.get(name, default)
        if isinstance(given, str):
            return given
        values = list(given) if isinstance(given, list | tuple) else [given]
        return values * self.spatial if len(values) == 1 else values

    def inputs(self, walk: Frontier, batch: int, reference: bool = False) -> torch.Tensor:
        """What the op reads in one batch, once the walk stands before it: quantized, or FP32."""
        values = (walk.reference if reference else walk.simulated)[batch]
        return walk.value(walk.nodes[walk.place[self.node.name]].args[self.data], values, {}, reference)


def _spread(x: torch.Tensor, stride: list[int]) -> torch.Tensor:
    """The input with ``stride - 1`` zeros between neighbours."""
    sizes = [(n - 1) * s + 1 for n, s in zip(x.shape[2:], stride, strict=True)]
    spread = x.new_zeros(*x.shape[:2], *sizes)
    spread[(..., *(slice(None, None, s) for s in stride))] = x
    return spread


def products(sim: QuantSim, layers: list[WeightedLayer]) -> tuple[list[Product], list[str]]:
    """The layers as products, and a sentence about each whose weight is no single matrix (a vector, many matrices)."""
    graph, found, notes = nodes(sim), [], []
    for layer in layers:
        node, rank = graph[layer.node], layer.site.source.meta["val"].dim()
        scaled = node.kwargs.get("alpha", 1) != 1 or node.kwargs.get("beta", 1) != 1
        if ops.of(node).spatial:
            found.append(Product(layer, node, 0, ops.groups(node)))
        elif rank == 2 and not scaled:
            found.append(Product(layer, node, 1 if layer.site.path == (0,) else ops.of(node).data, 1))
        else:
            notes.append(f"{layer.layer} is not changed: its weight is not a single matrix that multiplies the input.")
    return found, notes


def by_element(value: torch.Tensor, weight: torch.Tensor, quantizer: Quantizer) -> torch.Tensor:
    """A weight quantizer's scale (or something of its shape) for each element of the weight."""
    blocks, value, _ = align(weight, value, value, quantizer.axis, quantizer.block_size)
    return value.expand(blocks.shape).reshape(weight.shape)
