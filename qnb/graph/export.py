"""torch.export with qnb's choices: which dimensions vary, what an error says."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from qnb.errors import QnbError
from qnb.graph.capture_errors import capture_error
from qnb.graph.functional import functional
from qnb.graph.structure import TENSOR, Structure
from qnb.graph.traced_model import Flat, Refused
from qnb.quiet import quiet

PREFIX = "model."
"""What the wrapper puts before the user's tensor names and module paths."""


def export(
    model: nn.Module, inputs: list[torch.Tensor], called: Structure, dynamic_shapes: Any
) -> tuple[ExportedProgram, Structure]:
    """The exported program in functional form, and the structure of the model's output.

    Tries every dimension variable, then the first of each input, then none, unless ``dynamic_shapes`` says.
    """
    flat = Flat(model, called, simple_shapes=dynamic_shapes is None)
    attempts = [dynamic_shapes and tuple(_along(called, dynamic_shapes))]
    if dynamic_shapes is None:
        attempts = [
            tuple({i: Dim.AUTO for i in range(x.dim())} for x in inputs),
            tuple({0: Dim.AUTO} if x.dim() else {} for x in inputs),
            None,
        ]
    error: Exception | None = None
    for shapes in attempts:
        # An example of one sample would fix the batch at 1: trace with two where the batch may vary.
        examples = _two_samples(inputs) if any(map(_batch_varies, shapes or ())) else inputs
        try:
            with quiet():
                program = torch.export.export(flat, tuple(examples), dynamic_shapes=shapes and (shapes,), strict=False)
                return functional(program), flat.returned
        except QnbError:
            raise
        except Exception as failure:
            error = failure.__cause__ if isinstance(failure, Refused) else failure
    raise capture_error(model, called, inputs, error) from error


def _batch_varies(shape: Any) -> bool:
    """Whether a tensor's entry of ``dynamic_shapes`` leaves its first dimension open."""
    first = shape.get(0) if isinstance(shape, dict) else shape[0] if shape else None
    return first is not None and first is not Dim.STATIC and not isinstance(first, int)


def _two_samples(inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    batched = [x for x in inputs if x.dim()]
    if batched and all(x.shape[0] == 1 for x in batched):
        return [torch.cat([x, x]) if x.dim() else x for x in inputs]
    return inputs


def _along(structure: Structure, shapes: Any) -> list:
    """dynamic_shapes in the user's form, one entry per tensor."""
    args, kwargs = structure.children
    if isinstance(shapes, dict):
        named = dict(zip(kwargs.keys, kwargs.children, strict=True))
        if not args.children:
            return [s for name, child in named.items() for s in _walk(child, shapes.get(name))]
        shapes = tuple(shapes.values())
    shapes = shapes if isinstance(shapes, tuple | list) else (shapes,)
    return [
        s for child, entry in zip((*args.children, *kwargs.children), shapes, strict=True) for s in _walk(child, entry)
    ]


def _walk(structure: Structure, shapes: Any) -> list:
    if structure.kind == TENSOR:
        return [shapes]
    keys = structure.keys or range(len(structure.children))
    return [
        s
        for key, child in zip(keys, structure.children, strict=True)
        for s in _walk(child, None if shapes is None else shapes[key])
    ]
