"""What a simulated model costs: multiply-accumulates, bit operations, bytes. Counted, not measured on a device."""

from __future__ import annotations

import math

import pandas as pd
import torch
from torch import fx

from qnb import columns
from qnb.graph import ops
from qnb.graph.capture import batch_size
from qnb.numerics import Grid
from qnb.sim.quantizer import BiasQuantizer, Quantizer


def cost(sim) -> pd.DataFrame:
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
        bops = sum(_macs(n) * math.prod(_operand_bits(sim, n)) for n in ran) / samples
        value = nodes[group.output].meta["val"]
        bits = _bits(sim.activation(group.key))
        rows.append((group.layer, group.op, int(macs), int(bops), stored.pop(group.layer, 0.0),
                     value.numel() / samples * bits / 8))  # fmt: skip
    frame = pd.DataFrame(rows, columns=list(columns.COST))
    frame.attrs["other_bytes"] = sum(stored.values())
    return frame


def model_bytes(sim) -> int:
    """Bytes of all weights, biases and tables as the target stores them."""
    return round(sum(_stored_bytes(sim).values()))


def _stored_bytes(sim) -> dict[str, float]:
    """Bytes of constants per layer; those of no layer under ''. A tensor that is read twice counts once."""
    quantizers = {s.tensor: (s.layer, _bits(sim.weight(k))) for k, s in sim.plan.weights.items()}
    quantizers |= {s.tensor: (s.layer, 32 if sim.bias(k).active else 0) for k, s in sim.plan.biases.items()}
    for key, site in sim.plan.activations.items():
        if site.kind == "weight":
            quantizers.setdefault(site.tensor, (site.layer, _bits(sim.activation(key))))
    width = _float_bits(sim)
    total: dict[str, float] = {}
    seen: set[int] = set()
    for name, tensor in sim.tensors().items():
        if tensor.data_ptr() in seen:
            continue
        seen.add(tensor.data_ptr())
        layer, bits = quantizers.get(name, ("", 0))
        if not tensor.is_floating_point():
            bits = 8 * tensor.element_size()
        total[layer] = total.get(layer, 0.0) + tensor.numel() * (bits or width) / 8
    return total


def _float_bits(sim) -> int:
    """Bits of what has no quantizer: 16 where the whole simulation is 16-bit float, else 32."""
    weights = sim.precision.weights
    return weights.bits if weights is not None and not isinstance(weights, Grid) and weights.bits == 16 else 32


def _bits(quantizer: Quantizer | BiasQuantizer) -> int:
    return quantizer.grid.bits if isinstance(quantizer, Quantizer) and quantizer.active else 32


def _operand_bits(sim, node: fx.Node) -> tuple[int, ...]:
    """Bits of the two factors of a product."""
    weights = [_bits(sim.weight(k)) for k in sim.plan.weights_into.get(node.name, ())]
    keys = [sim.plan.encoding_of.get(n.name) for n in node.all_input_nodes]
    bits = [_bits(sim.activation(k)) for k in keys if k]
    if weights:
        return max(weights), (bits[0] if bits else 32)
    return (*bits[:2], *[32] * (2 - len(bits[:2])))


def _macs(node: fx.Node) -> int:
    """Multiply-accumulates of one op on the example's sizes; 0 for what is no product."""
    op, out = ops.name(node), node.meta["val"]
    shapes = [n.meta["val"].shape if isinstance(n, fx.Node) and isinstance(n.meta.get("val"), torch.Tensor) else ()
              for n in node.args[:3]]  # fmt: skip
    if op in ("conv1d", "conv2d", "conv3d"):
        return out.numel() * math.prod(shapes[1][1:])
    if op.startswith("conv_transpose"):
        return math.prod(shapes[0]) * math.prod(shapes[1][1:])
    if op in ("linear", "matmul", "mm", "bmm"):
        return out.numel() * shapes[0][-1]
    if op in ("addmm", "baddbmm"):
        return out.numel() * shapes[1][-1]
    if op in ("lstm", "gru", "rnn_tanh", "rnn_relu"):
        steps = math.prod(shapes[0][:2])
        return steps * sum(w.meta["val"].numel() for w in node.args[2] if w.meta["val"].dim() == 2)
    return 0
