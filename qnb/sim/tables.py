"""QuantSim as tables: its layers, its encodings, and how it shows in a cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from qnb import columns
from qnb.document import Document, Facts, Table
from qnb.numerics import FloatGrid, Grid
from qnb.sim.quantizer import BiasQuantizer, Quantizer

if TYPE_CHECKING:
    import pandas as pd

    from qnb.sim.base import SimBase
    from qnb.sim.placement.plan import LayerGroup


def layers(sim: SimBase) -> pd.DataFrame:
    """One row per layer in graph order, columns `qnb.columns.LAYERS`."""
    import pandas as pd

    nodes = {n.name: n for n in sim.captured.module.graph.nodes}
    rows = []
    for group in sim.groups:
        weights = sim.plan.weights_of.get(group.layer, ())
        weight_bits, activation_bits = layer_bits(sim, group)
        modules = [sim.activation(group.key), *(sim.weight(k) for k in weights)]
        rows.append(
            {
                "layer": group.layer,
                "module": group.module,
                "op": group.op,
                "weight_bits": weight_bits,
                "activation_bits": activation_bits,
                "enabled": all(m.enabled for m in modules),
                "weight_numel": sum(sim.weight_tensor(k).numel() for k in weights),
                "output_shape": _shape(nodes[group.output]),
                "source": nodes[group.nodes[0]].meta.get("source", ""),
            }
        )
    frame = pd.DataFrame(rows, columns=list(columns.LAYERS))
    return frame.astype({"weight_bits": "Int64", "activation_bits": "Int64"})


def layer_bits(sim: SimBase, group: LayerGroup) -> tuple[Any, int]:
    """(bits of the weights, NA without any; bits of the output) of one layer."""
    import pandas as pd

    weights = {_bits(sim.weight(k)) for k in sim.plan.weights_of.get(group.layer, ())}
    return max(weights) if weights else pd.NA, _bits(sim.activation(group.key))


def encodings(sim: SimBase) -> pd.DataFrame:
    """One row per quantized tensor, columns `qnb.columns.ENCODINGS`; tied tensors repeat their encoding.

    ``bits`` is 32 and ``scale`` a list for biases. Float grids have NaN scales; before calibration all have.
    """
    import pandas as pd

    outputs = {g.output: g.layer for g in sim.groups}
    rows = []
    for key, site in sim.plan.activations.items():
        if site.inside is not None:
            rows.append(_row(site.tensor, site.layer, site.kind, sim.activation(key)))
        for node in site.nodes:
            layer = outputs.get(node.name, site.layer if node is site.nodes[0] else node.meta.get("layer", node.name))
            tensor = site.tensor if site.kind == "weight" and node is site.nodes[0] else layer
            rows.append(_row(tensor, layer, site.kind, sim.activation(key)))
    for key, site in sim.plan.weights.items():
        rows.append(_row(site.tensor, site.layer, "weight", sim.weight(key)))
    for key, site in sim.plan.biases.items():
        rows.append(_bias_row(site.tensor, site.layer, sim.bias(key)))
    frame = pd.DataFrame([r for r in rows if r], columns=list(columns.ENCODINGS))
    return frame.astype({"axis": "Int64", "block_size": "Int64", "bits": "Int64"})


def _row(tensor: str, layer: str, kind: str, quantizer: Quantizer) -> dict | None:
    if not quantizer.active:
        return None
    row = {
        "tensor": tensor,
        "layer": layer,
        "kind": kind,
        "bits": _bits(quantizer),
        "symmetric": None,
        "axis": quantizer.axis,
        "block_size": quantizer.block_size,
    }
    grid = quantizer.grid
    if isinstance(grid, FloatGrid):
        return row | {"min": -grid.max, "max": grid.max, "scale": float("nan"), "zero_point": float("nan")}
    row["symmetric"] = grid.symmetric
    if quantizer.scale is None:
        return row | dict.fromkeys(("min", "max", "scale", "zero_point"), float("nan"))
    low, high = quantizer.limits()
    return row | {
        "min": _plain(low),
        "max": _plain(high),
        "scale": _plain(quantizer.scale),
        "zero_point": _plain(quantizer.zero_point, int),
    }


def _bias_row(tensor: str, layer: str, bias: BiasQuantizer) -> dict | None:
    if not bias.active:
        return None
    scale = bias.scale
    return {
        "tensor": tensor,
        "layer": layer,
        "kind": "bias",
        "bits": 32,
        "symmetric": True,
        "axis": 0 if scale.dim() else None,
        "block_size": None,
        "min": _plain(scale * -(2**31)),
        "max": _plain(scale * (2**31 - 1)),
        "scale": _plain(scale),
        "zero_point": _plain(torch.zeros_like(scale), int),
    }


def _plain(tensor: torch.Tensor, kind=float):
    """A number, or a (nested) list of numbers."""
    values = tensor.detach().cpu().double()
    if not values.dim():
        return kind(values)
    return values.long().tolist() if kind is int else values.tolist()


def _bits(quantizer: Quantizer):
    if not quantizer.enabled or quantizer.grid is None:
        return 32
    return quantizer.grid.bits if isinstance(quantizer.grid, Grid | FloatGrid) else 32


def _shape(node) -> str:
    return " x ".join("N" if d is None else str(d) for d in node.meta.get("shape", ()))


def document(sim: SimBase) -> Document:
    """What it is, and its layers."""
    frame = layers(sim).drop(columns=["source", "enabled"])
    facts = {
        "precision": sim.precision.name,
        "target": f"{sim.target.name} ({sim.target.description})",
        "layers": str(len(sim.groups)),
        "state": "calibrated" if sim.calibrated else "not calibrated: call calibrate(batches)",
    }
    tone = "neutral" if sim.calibrated else "warn"
    return Document("quantsim", "QuantSim", (Facts(facts), Table(frame, "Layers")), tone)
