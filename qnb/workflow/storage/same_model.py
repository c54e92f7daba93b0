"""Whether a model that is given is the one that a file was saved of: captured in the same way, the same graph, weights.

Another processor folds batch norms in another order, so weights are compared as closely as that can be told apart. How
variable sizes are called does not count, nor do the lines of source that an op came from.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import fx, nn

from qnb.errors import InputError
from qnb.graph import Captured, capture
from qnb.graph.captured import as_call
from qnb.graph.serialize import to_json
from qnb.graph.structure import flatten
from qnb.graph.target_form import written_out
from qnb.targets import Target

OPERATION = "qnb.load"
CLOSE = 1e-4
"""Of a tensor's largest magnitude."""
REMEDY = (
    "give the model that was saved, or leave model, calibration and evaluate out to look at what was found; a "
    "new Workflow(model, ...) begins with another model"
)


def captured_again(model: nn.Module, calibration: Iterable, stored: Captured, target: Target) -> Captured:
    """The given model, captured as the stored one was; its outputs are of the caller's own classes.

    Raises:
        InputError: another model: says what differs. Or batches that it does not take.
        CaptureError: the model cannot be captured.
    """
    example = _example(calibration, stored)
    found = written_out(capture(model, example), target.written_out)
    if _signature(found) != _signature(stored):  # dimensions were chosen by dynamic_shapes, perhaps
        found = written_out(capture(model, example, _shapes(stored)), target.written_out)
    if difference := structure_difference(stored, found) or weight_difference(stored, found):
        raise InputError(OPERATION, f"another model than the file's: {difference}", REMEDY)
    return found


def _example(calibration, stored: Captured) -> Any:
    """The first calibration batch, with tensors of the sizes that the stored graph was made with."""
    batch = next(iter(calibration), None)
    if batch is None:
        raise InputError(OPERATION, "an empty calibration loader", "pass at least one batch")
    leaves, called = flatten(as_call(batch), "calibration batch")
    if called != stored.called:  # the same by position and by keyword
        leaves, called = stored.flatten(batch, OPERATION), stored.called
    sizes = [n.meta["val"].shape for n in stored.module.graph.nodes if n.op == "placeholder"]
    if all(x.shape == size for x, size in zip(leaves, sizes, strict=True)):
        return batch
    blank = [x.new_zeros(size) for x, size in zip(leaves, sizes, strict=True)]
    args, kwargs = called.build(blank)
    return kwargs or args


def _signature(captured: Captured) -> list[tuple]:
    """Which dimensions are fixed, at what size."""
    return [tuple(d if isinstance(d, int) else None for d in i.shape) for i in captured.inputs]


def _shapes(stored: Captured) -> Any:
    """``dynamic_shapes`` that let vary what the stored graph lets vary."""
    free = [
        {axis: torch.export.Dim.AUTO for axis, d in enumerate(i.shape) if not isinstance(d, int)} for i in stored.inputs
    ]
    args, kwargs = stored.called.build(free)
    return kwargs or args


def structure_difference(stored: Captured, given: Captured) -> str:
    """What differs between two graphs, apart from their numbers; empty where nothing does."""
    if stored.called != given.called or _signature(stored) != _signature(given):
        takes = ["; ".join(map(str, captured.inputs)) for captured in (given, stored)]
        return f"it takes {takes[0]}, where the file's takes {takes[1]}"
    if stored.returned != given.returned:
        return "its output is nested in another way"
    pairs = zip(stored.module.graph.nodes, given.module.graph.nodes, strict=False)
    for a, b in pairs:
        if _described(a) != _described(b):
            return f"its structure differs at {_named(b)}, where the file has {_named(a)}"
    counts = [len(c.module.graph.nodes) for c in (stored, given)]
    return f"its graph has {counts[1]} operations where the file's has {counts[0]}" if counts[0] != counts[1] else ""


def _described(node: fx.Node) -> tuple:
    names = fx.map_arg((node.args, node.kwargs), lambda n: _Reference(n.name))
    return node.op, node.name, str(node.target), repr(names), node.meta.get("layer")


class _Reference(str):
    """An argument that is another node's value."""

    def __repr__(self) -> str:
        return f"%{self}"


def _named(node: fx.Node) -> str:
    layer = node.meta.get("layer")
    return f"{layer!r} ({node.target})" if layer else f"{node.op} {node.target}"


def weight_difference(stored: Captured, given: Captured) -> str:
    """The first layer whose weights differ, and how many there are; empty where all are close."""
    (_, before), (_, after) = to_json(stored), to_json(given)
    layers = _layers(stored)
    unlike = {layers[name] for name in before if name not in after or not close(before[name], after[name])}
    if not unlike:
        return ""
    ordered = list(dict.fromkeys(layers.values()))
    first = next(layer for layer in ordered if layer in unlike)
    return f"the weights of {len(unlike)} of {len(ordered)} layers differ, {first!r} first"


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors are the same but for rounding."""
    a, b = a.detach().cpu(), b.detach().cpu()
    if a.shape != b.shape or a.dtype != b.dtype or not a.is_floating_point():
        return a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b)
    finite = a[torch.isfinite(a)].abs()
    most = CLOSE * float(finite.max()) if finite.numel() else 0.0
    return torch.allclose(a.double(), b.double(), rtol=0.0, atol=most, equal_nan=True)


def _layers(captured: Captured) -> dict[str, str]:
    """Name of each tensor, as `to_json` has it -> the layer that it is of: the first that uses it; in graph order."""
    found: dict[str, str] = {}
    for node in captured.module.graph.nodes:
        layer = node.meta.get("layer", "")
        for source in node.all_input_nodes if node.op == "call_function" else ():
            if source.op == "get_attr":
                found.setdefault(str(source.target), layer)
        found |= {f"folded/{node.name}/{part}": layer for part in node.meta.get("folded_batch_norm", ())}
    unused = (str(n.target) for n in captured.module.graph.nodes if n.op == "get_attr")
    return found | {name: name for name in unused if name not in found}
