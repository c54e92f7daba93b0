"""What a simulated model costs: multiply-accumulates, bit operations, bytes. Counted, not measured on a device."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import fx

from qnb import columns
from qnb.graph import ops
from qnb.graph.capture import batch_size
from qnb.numerics import Grid
from qnb.sim.quantizer import Quantizer

if TYPE_CHECKING:
    from qnb.sim.base import SimBase


def cost(sim: SimBase) -> pd.DataFrame:
    """Cost per layer for one sample, columns `qnb.columns.COST`.

    ``macs``: multiply-accumulates of convolutions, matrix products and recurrent layers. ``bops``: macs x weight
    bits x input bits (both operands' bits in a product of activations), as in Baskin et al. 2021 (UNIQ, arXiv
    1804.10969) without its accumulator term. ``weight_bytes``: weights at their bits, biases at 4 bytes,
    all that stays in floating point at 4 (2 in a 16-bit float simulation). ``activation_bytes``: the layer's
    output.
    """
    nodes = {n.name: n for n in sim.captured.module.graph.nodes}
    samples = batch_size(sim.captured)
    stored = _stored_bytes(sim)
    rows = []
    for group in sim.groups:
        ran = [nodes[name] for name in group.nodes]
        macs = sum(_macs(n) for n in ran) / samples
        bops = sum(_macs(n) * math.prod(map(bits_of, factors(sim, n))) for n in ran) / samples
        value = nodes[group.output].meta["val"]
        bits = bits_of(sim.activation(group.key))
        rows.append(
            (
                group.layer,
                group.op,
                int(macs),
                int(bops),
                stored.pop(group.layer, 0.0),
                value.numel() / samples * bits / 8,
            )
        )
    frame = pd.DataFrame(rows, columns=list(columns.COST))
    frame.attrs["other_bytes"] = sum(stored.values())
    return frame


def model_bytes(sim: SimBase) -> int:
    """Bytes of all weights, biases and tables as the target stores them."""
    return round(sum(_stored_bytes(sim).values()))


def _stored_bytes(sim: SimBase) -> dict[str, float]:
    """Bytes of constants per layer; those of no layer under ''."""
    total: dict[str, float] = {}
    for layer, numel, bits in stored(sim):
        bits = bits if isinstance(bits, int) else bits_of(bits)
        total[layer] = total.get(layer, 0.0) + numel * bits / 8
    return total


def stored(sim: SimBase) -> Iterator[tuple[str, int, int | Quantizer]]:
    """(layer, number of elements, quantizer or bits) of each constant. A tensor that is read twice comes once."""
    quantizers: dict[str, tuple] = {s.tensor: (s.layer, sim.weight(k)) for k, s in sim.plan.weights.items()}
    quantizers |= {s.tensor: (s.layer, 32 if sim.bias(k).active else 0) for k, s in sim.plan.biases.items()}
    for key, site in sim.plan.activations.items():
        if site.kind == "weight":
            quantizers.setdefault(site.tensor, (site.layer, sim.activation(key)))
    width = _float_bits(sim)
    seen: set[int] = set()
    for name, tensor in sim.tensors().items():
        if tensor.data_ptr() in seen:
            continue
        seen.add(tensor.data_ptr())
        layer, bits = quantizers.get(name, ("", 0))
        if not tensor.is_floating_point():
            bits = 8 * tensor.element_size()
        yield layer, tensor.numel(), bits or width


def _float_bits(sim: SimBase) -> int:
    """Bits of what has no quantizer: 16 where the whole simulation is 16-bit float, else 32."""
    weights = sim.precision.weights
    return weights.bits if weights is not None and not isinstance(weights, Grid) and weights.bits == 16 else 32


def bits_of(quantizer: Quantizer | None) -> int:
    """Of a tensor with this quantizer; 32 where it is off, or where there is none."""
    return quantizer.grid.bits if quantizer is not None and quantizer.active else 32


def factors(sim: SimBase, node: fx.Node) -> tuple[Quantizer | None, Quantizer | None]:
    """The quantizers of a product's two factors, the weight's first; None where a factor has none."""
    weights = [sim.weight(k) for k in sim.plan.weights_into.get(node.name, ())]
    keys = [sim.plan.encoding_of.get(n.name) for n in node.all_input_nodes]
    values = [sim.activation(k) for k in keys if k]
    if weights:
        return max(weights, key=bits_of), (values[0] if values else None)
    return (*values[:2], *[None] * (2 - len(values[:2])))


def products(sim: SimBase) -> Iterator[tuple[str, float, Quantizer | None, Quantizer | None]]:
    """(layer, multiply-accumulates per sample, quantizers of both factors) of each product."""
    nodes = {n.name: n for n in sim.captured.module.graph.nodes}
    samples = batch_size(sim.captured)
    for group in sim.groups:
        for node in (nodes[name] for name in group.nodes):
            if macs := _macs(node):
                yield group.layer, macs / samples, *factors(sim, node)


def _macs(node: fx.Node) -> int:
    """Multiply-accumulates of one op on the example's sizes; 0 for what is no product."""
    op, out = ops.of(node), node.meta["val"]
    shapes = [
        n.meta["val"].shape if isinstance(n, fx.Node) and isinstance(n.meta.get("val"), torch.Tensor) else ()
        for n in node.args[:3]
    ]
    if op.family == "convolution":
        return out.numel() * math.prod(shapes[1][1:])
    if op.family == "transposed convolution":
        return math.prod(shapes[0]) * math.prod(shapes[1][1:])
    if op.family in ("linear", "matmul"):
        return out.numel() * shapes[op.data][-1]
    if op.family == "recurrent":
        steps = math.prod(shapes[0][:2])
        return steps * sum(w.meta["val"].numel() for w in node.args[2] if w.meta["val"].dim() == 2)
    return 0
