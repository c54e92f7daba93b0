"""A scale per channel between a norm or layer and the layers that read it: ``W x = (W s) (x / s)``.

The division goes into the weight and bias of what makes x, the product into the weights of what reads it, so that the
FP32 function stays the same. SmoothQuant and AWQ differ in how they choose s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import fx

from qnb.graph import ops
from qnb.methods.layerwise.layers import weighted_layers
from qnb.methods.layerwise.unfold import Product, products
from qnb.methods.layerwise.weights import nodes, sole_readers
from qnb.methods.rescaling.moved_channels import MovedChannels, Reading
from qnb.sim.placement.supergroups import norm_weight
from qnb.sim.quantizer import Quantizer

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim


@dataclass(frozen=True)
class Maker:
    """What makes the channels: a norm with a weight, or a weighted layer.

    Args:
        layer: its name in every table.
        node: the op whose output has the channels along ``axis``.
        weight, bias: names of tensors; a norm's are one value per channel.
        product: None for a norm.
    """

    layer: str
    node: fx.Node
    axis: int
    weight: str
    bias: str | None
    product: Product | None = None


@dataclass(frozen=True)
class Fold:
    """One place where a scale per channel can be moved.

    Args:
        readings: the layers that take the scale into their weights.
        free: bool per channel: elsewhere the scale is 1, as something else reads these channels.
        keys: of the activation quantizers whose values are scaled.
    """

    maker: Maker
    readings: tuple[Reading, ...]
    free: torch.Tensor
    keys: frozenset[str]

    @property
    def names(self) -> list[str]:
        """Of all tensors that change."""
        own = [self.maker.weight, *([self.maker.bias] if self.maker.bias else [])]
        return [*own, *(r.product.layer.weight for r in self.readings)]

    def weight_keys(self, sim: QuantSim) -> set[str]:
        """Of the quantizers of all weights that change."""
        names = set(self.names)
        return {key for key, site in sim.plan.weights.items() if site.tensor in names}

    def quantizers(self, sim: QuantSim) -> list[Quantizer]:
        """All whose range changes."""
        return [*map(sim.weight, sorted(self.weight_keys(sim))), *map(sim.activation, sorted(self.keys))]

    def folded(self, tensors: Mapping[str, torch.Tensor], scale: torch.Tensor) -> dict[str, torch.Tensor]:
        """The tensors with the scale ``[channels]`` in them; computed in float64, of the dtypes that they had."""
        maker, scale, new = self.maker, scale.double(), {}
        weight = tensors[maker.weight].detach()
        if maker.product is None:
            new[maker.weight] = (weight.double() / scale).to(weight.dtype)
        else:
            rows = maker.product.rows(weight).double()
            new[maker.weight] = maker.product.weight(rows / scale.view(*rows.shape[:2], 1), weight)
        if maker.bias:
            new[maker.bias] = (tensors[maker.bias].detach().double() / scale).to(tensors[maker.bias].dtype)
        for reading in self.readings:
            weight = tensors[reading.product.layer.weight].detach()
            matrix = reading.product.matrix(weight).double()
            taken = scale[reading.channel.to(scale.device)].view(matrix.shape[0], 1, -1, 1)
            new[reading.product.layer.weight] = reading.product.weight((matrix * taken).flatten(2), weight)
        return new

    def statistics(self, scale: torch.Tensor) -> dict[str, dict[str, torch.Tensor]]:
        """What a batch norm folded into the maker has become, as `replace_reference` takes it."""
        norm = self.maker.node.meta.get("folded_batch_norm")
        if norm is None:
            return {}
        return {
            self.maker.node.name: {
                part: norm[part].double() / scale.to(norm[part].device).double() for part in ("gamma", "beta")
            }
        }


def find_folds(sim: QuantSim, chosen: set[str]) -> tuple[list[Fold], list[str]]:
    """In graph order, those with a reader among ``chosen`` layers; and a sentence about the layers without one."""
    alone = sole_readers(sim)
    found, _ = products(sim, [layer for layer in weighted_layers(sim) if alone[layer.weight]])
    by_node = {p.node.name: p for p in found}
    folds = []
    for maker in _makers(sim, by_node):
        if not all(alone[name] for name in (maker.weight, maker.bias) if name):
            continue
        moved = MovedChannels(maker.node, maker.axis, by_node)
        keys = _scaled_quantizers(sim, moved.path)
        if moved.free.any() and keys is not None and any(r.product.layer.layer in chosen for r in moved.readings):
            folds.append(Fold(maker, tuple(moved.readings), moved.free, keys))
    folds = [fold for fold in folds if not any(q.frozen for q in fold.quantizers(sim))]
    reached = {r.product.layer.layer for fold in folds for r in fold.readings}
    left = [layer.layer for layer in weighted_layers(sim) if layer.layer in chosen - reached]
    note = f"Not rescaled (input used elsewhere, not from a norm or layer, or frozen): {', '.join(left)}."
    return folds, [note] if left else []


def _makers(sim: QuantSim, by_node: Mapping[str, Product]) -> list[Maker]:
    """Everything with a constant vector (or rows) to divide, in graph order."""
    graph, layer_of = nodes(sim), {name: group for group in reversed(sim.groups) for name in group.nodes}
    written_out = {group.nodes[-1]: group for group in sim.groups if group.op == "rms_norm" and len(group.nodes) > 1}
    found = []
    for name, node in graph.items():
        maker = None
        if name in by_node:
            maker = _layer(by_node[name])
        elif name in written_out:
            at = norm_weight([graph[n] for n in written_out[name].nodes])
            maker = _norm(node, written_out[name].layer, at[1] if at else None, None)
        elif node.op == "call_function" and ops.name(node) in ("layer_norm", "rms_norm") and name in layer_of:
            op = ops.of(node)
            maker = _norm(node, layer_of[name].layer, op.weight, op.bias) if len(node.args[1]) == 1 else None
        if maker is not None:
            found.append(maker)
    return found


def _layer(product: Product) -> Maker | None:
    layer, channels = product.layer, product.node.meta["val"].shape[product.output_axis]
    position = ops.of(product.node).bias
    bias = product.node.args[position] if position is not None and len(product.node.args) > position else None
    if bias is not None and (layer.bias is None or bias.meta["val"].shape != (channels,)):
        return None
    return Maker(layer.layer, product.node, product.output_axis, layer.weight, layer.bias, product)


def _norm(node: fx.Node, layer: str, weight: int | None, bias: int | None) -> Maker | None:
    size = node.meta["val"].shape[-1]
    given = [node.args[i] if i is not None and len(node.args) > i else None for i in (weight, bias)]
    if given[0] is None or any(g is not None and (g.op != "get_attr" or g.meta["val"].shape != (size,)) for g in given):
        return None
    names = [None if g is None else str(g.target) for g in given]
    return Maker(layer, node, node.meta["val"].dim() - 1, names[0], names[1])


def _scaled_quantizers(sim: QuantSim, path: set[str]) -> frozenset[str] | None:
    """Keys of the activation quantizers on the way; None where one serves values elsewhere too."""
    touched = {key: site for key, site in sim.plan.activations.items() if any(n.name in path for n in site.nodes)}
    tied = any(n.name not in path for site in touched.values() for n in site.nodes)
    return None if tied else frozenset(touched)
