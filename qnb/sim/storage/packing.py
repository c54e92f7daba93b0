"""What a file holds of a sim: settings as plain data, encodings and changed weights as tensors; and a sim of them.

A file's content is not trusted. The header is checked against `HEADER`, the graph by `qnb.graph.serialize`; then all
that was stored of quantizers must fit those that the target places on that graph.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import nn

from qnb import schema
from qnb.errors import FileError
from qnb.graph import Captured
from qnb.graph.attributes import set_tensor
from qnb.graph.serialize import from_json, to_json
from qnb.numerics.stored import PRECISION, precision_from_json, precision_to_json
from qnb.sim.base import SimBase
from qnb.sim.quantizer_state import quantizer_modules
from qnb.sim.storage import quantizers
from qnb.targets import stored as targets

Tensors = dict[str, torch.Tensor]
Sim = TypeVar("Sim", bound=SimBase)
Make = Callable[..., Sim]
"""``make(captured, precision=, target=)``: `QuantSim`."""
HEADER = schema.record(
    {
        "version": schema.COUNT,
        "target": targets.SCHEMA,
        "precision": PRECISION,
        "applied_methods": schema.list_of(schema.TEXT),
        "weight_encodings_frozen": schema.FLAG,
        "quantizers": schema.table_of(quantizers.SCHEMA),
    },
    {"graph": {"type": "object"}},
)
"""``graph`` has a schema of its own, in `qnb.graph.stored`; it is missing where it is that of a `Shared` model."""


@dataclass(frozen=True)
class Shared:
    """A captured model that several sims share, so that not each has to hold it."""

    captured: Captured
    graph: dict
    tensors: Tensors

    @classmethod
    def of(cls, captured: Captured) -> Shared:
        return cls(captured, *to_json(captured))


def pack(sim: SimBase, shared: Shared | None = None) -> tuple[dict[str, Any], Tensors]:
    """(header, tensors) of a sim as it is at this moment.

    Tensors: ``reference/<name>`` of the FP32 graph, ``model/<name>`` where the sim has another one, and of each
    quantizer its encoding, range and counts. A sim with the shared model's graph leaves out what equals that model.
    """
    sim = sim.snapshot()
    header = {
        "target": targets.to_json(sim.target),
        "precision": precision_to_json(sim.precision),
        "applied_methods": list(sim.applied_methods),
        "weight_encodings_frozen": sim.weight_encodings_frozen,
    }
    known = shared is not None and sim.captured is shared.captured
    graph, reference = (shared.graph, shared.tensors) if known else to_json(sim.captured)
    tensors: Tensors = {}
    if not sim._shared:
        tensors |= {f"model/{name}": t for name, t in _differing(sim.tensors(), reference).items()}
    if shared is None or graph != shared.graph:
        header["graph"] = graph
    else:
        reference = {} if known else _differing(reference, shared.tensors)
    tensors |= {f"reference/{name}": t for name, t in reference.items()}
    header["quantizers"] = {
        name: quantizers.pack(name, module, tensors) for name, module in quantizer_modules(sim).items()
    }
    return header, tensors


def _differing(tensors: Mapping[str, torch.Tensor], others: Tensors) -> Tensors:
    """Those that are not what is known under the same name."""
    pairs = ((name, t.detach(), others.get(name)) for name, t in tensors.items())
    return {name: t for name, t, other in pairs if other is None or not same(t, other)}


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors hold the same, NaN included, on whatever devices."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    a, b = a.detach().cpu(), b.detach().cpu()
    return torch.equal(a, b) or (
        a.is_floating_point() and torch.equal(a.isnan(), b.isnan()) and torch.equal(a.nan_to_num(), b.nan_to_num())
    )


def unpack(
    make: Make[Sim], header: Any, tensors: Tensors, operation: str, remedy: str, shared: Shared | None = None
) -> Sim:
    """The sim of what `pack` gave: a new one, with what was stored of it.

    Raises:
        FileError: anything else.
    """
    schema.check(header, HEADER, operation, remedy)
    target = targets.from_json(header["target"], operation, remedy)
    precision = precision_from_json(header["precision"], operation, remedy)
    captured = _captured(header, _under("reference/", tensors), shared, operation, remedy)
    sim = make(captured, precision=precision, target=target)
    sim.applied_methods, sim.weight_encodings_frozen = (
        tuple(header["applied_methods"]),
        header["weight_encodings_frozen"],
    )
    read = quantizers.unpack(sim, header["quantizers"], tensors, operation, remedy)
    left = [name for name in tensors if name not in read and not name.startswith(("reference/", "model/"))]
    if left:
        raise FileError(operation, f"the file is damaged: a tensor {left[0][:80]!r} that belongs to nothing", remedy)
    _change(sim, _under("model/", tensors), operation, remedy)
    return sim


def _under(prefix: str, tensors: Tensors) -> Tensors:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def _captured(header: Mapping, own: Tensors, shared: Shared | None, operation: str, remedy: str) -> Captured:
    """The sim's own model, or the shared one with what the sim has in place of its tensors."""
    if "graph" in header:
        return from_json(header["graph"], own)
    if shared is None:
        raise FileError(operation, "the file is damaged: it holds no graph", remedy)
    if not own:
        return shared.captured
    for name, tensor in own.items():
        _check_alike(f"reference/{name}", tensor, shared.tensors.get(name), operation, remedy)
    captured = copy.copy(shared.captured)  # whose outputs may be of the user's own classes, which no file knows
    own = {name: t.to(shared.tensors[name].device) for name, t in own.items()}
    captured.module = from_json(shared.graph, shared.tensors | own).module
    return captured


def _change(sim: SimBase, tensors: Tensors, operation: str, remedy: str) -> None:
    """Give the sim the weights that are no longer its reference's."""
    known = sim.tensors()
    for name, tensor in tensors.items():
        _check_alike(f"model/{name}", tensor, known.get(name), operation, remedy)
    if tensors:
        sim.own_tensors()
    for name, tensor in tensors.items():
        trained, tensor = isinstance(known[name], nn.Parameter), tensor.to(known[name].device)
        set_tensor(sim.graph_module, name, nn.Parameter(tensor, known[name].requires_grad) if trained else tensor)


def _check_alike(name: str, tensor: torch.Tensor, known: torch.Tensor | None, operation: str, remedy: str) -> None:
    if known is None or known.shape != tensor.shape or known.dtype != tensor.dtype:
        wanted = "the graph has none" if known is None else f"not {tuple(known.shape)} of {known.dtype}"
        raise FileError(
            operation,
            f"the file is damaged: a tensor {name[:80]!r} of shape {tuple(tensor.shape)} and {tensor.dtype}, {wanted}",
            remedy,
        )
