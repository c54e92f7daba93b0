"""Another FP32 model for a sim, of the same graph, that computes the same with other numbers inside.

Equalization and smoothing move scales from one layer to the next. What a layer gives is then another tensor, also in
FP32, so the sim's reference moves along: layers stay comparable, and targets of later methods are right.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import fx, nn

from qnb.errors import InputError
from qnb.graph.attributes import attribute, set_tensor

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim


def replace_reference(
    sim: QuantSim,
    tensors: Mapping[str, torch.Tensor],
    operation: str,
    statistics: Mapping[str, Mapping[str, torch.Tensor]] | None = None,
) -> None:
    """Put ``tensors`` (by name) into the sim and into a reference of its own; the one it shared stays as it is.

    Args:
        statistics: by node, the parts of its folded batch norm (``gamma, beta, mean, variance``) that changed too.

    Weights' and activations' encodings are not touched: whoever calls this renews them.

    Raises:
        InputError: the sim's own tensor is no longer the reference's, so that one value cannot stand for both.
    """
    for name in tensors:
        if not torch.equal(attribute(sim.graph_module, name), attribute(sim.reference, name)):
            raise InputError(
                operation,
                f"weights that were changed since the capture ({name!r})",
                "do this first, on a sim whose weights are still the model's",
            )
    device = next(iter(tensors.values())).device if tensors else None
    module = sim.captured.module
    kept = {n.target: attribute(module, n.target) for n in module.graph.nodes if n.op == "get_attr"}
    old = {name: kept[name] for name in tensors}
    kept |= {name: _like(old[name], value.to(old[name].device)) for name, value in tensors.items()}
    captured = copy.copy(sim.captured)
    captured.module = fx.GraphModule(kept, _with_statistics(module.graph, statistics or {}))
    sim.captured, sim._moved_reference = captured, None
    sim.own_tensors()
    for name, value in tensors.items():
        set_tensor(sim.graph_module, name, _like(old[name], value.to(device).clone()))


def _with_statistics(graph: fx.Graph, statistics: Mapping[str, Mapping[str, torch.Tensor]]) -> fx.Graph:
    """A copy of the graph whose folded batch norms have these statistics: other sims may share the graph."""
    copied = fx.Graph()
    output = copied.graph_copy(graph, {})
    copied.output(output)
    for node in copied.nodes:
        if node.name in statistics:
            old = node.meta["folded_batch_norm"]
            node.meta["folded_batch_norm"] = old | {
                k: _like(old[k], v.to(old[k].device)) for k, v in statistics[node.name].items()
            }
    return copied


def _like(old: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """The value as what stood there: a parameter stays one."""
    value = value.detach().to(old.dtype)
    return nn.Parameter(value, requires_grad=old.requires_grad) if isinstance(old, nn.Parameter) else value
