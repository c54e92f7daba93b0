"""Program -> ONNX model in floating point, each mark still a node of its own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch

from qnb.errors import ExportError
from qnb.export.onnx import marker, recurrent
from qnb.export.onnx.program import Program
from qnb.quiet import quiet

if TYPE_CHECKING:
    import onnx_ir as ir

    from qnb.graph.captured import Captured
    from qnb.sim.quantsim import QuantSim

OPSET = 21
DYNAMIC = "batch"


def float_model(sim: QuantSim, exported: Program, batch: int | None) -> ir.Model:
    """Translate a program with PyTorch's exporter.

    Args:
        batch: None keeps the batch variable where the capture has it so; a number fixes it. All other dimensions
            have the example's sizes.

    Returns:
        onnx_ir.Model, opset 21, with nodes ``qnb.Tensor`` where tensors are marked.

    Raises:
        ExportError: an op that has no ONNX form; names it.
    """
    symbol = batch_symbol(sim.captured)
    example, shapes = _example(sim.captured, symbol, batch)
    try:
        with quiet(), torch.no_grad():
            ep = torch.export.export(exported.module, tuple(example), dynamic_shapes=shapes, strict=False)
            table = marker.translation_table() | recurrent.translation_table()
            made = torch.onnx.export(
                ep,
                (),
                dynamo=True,
                opset_version=OPSET,
                custom_translation_table=table,
                verbose=False,
                input_names=exported.inputs,
                output_names=exported.outputs,
                optimize=True,
            )
    except Exception as error:
        raise ExportError(
            "export_onnx",
            f"{_reason(error)} (while writing {sim.captured.name} as ONNX)",
            "replace that op in the model"
            if "No decompositions" in str(error) or "onnx" in str(error).lower()
            else "try a fixed batch: batch=1",
        ) from error
    _tidy(made.model)
    return made.model


def _tidy(model: ir.Model) -> None:
    """The open dimension gets a name that says what it is, where the exporter numbers it; its notes on how it made
    each node go."""
    import onnx_ir as ir

    graph = model.graph
    graph.metadata_props.clear()
    for node in graph:
        node.metadata_props.clear()
    for value in (*graph.inputs, *graph.initializers.values(), *(v for node in graph for v in node.outputs)):
        value.metadata_props.clear()
        if value.shape is not None and not value.shape.is_static():  # a new one: some ops' shapes cannot be changed
            value.shape = ir.Shape(
                [n if isinstance(n, int) else re.sub(r"\bs\d+\b", DYNAMIC, str(n)) for n in value.shape]
            )


def batch_symbol(captured: Captured) -> str | None:
    """The variable size that the inputs share as their first dimension."""
    return next((i.shape[0] for i in captured.inputs if i.shape and isinstance(i.shape[0], str)), None)


def _example(captured: Captured, symbol: str | None, batch: int | None):
    """Inputs to trace with, and which dimensions vary."""
    placeholders = [n for n in captured.module.graph.nodes if n.op == "placeholder"]
    dimension = torch.export.Dim(DYNAMIC, min=1) if symbol is not None and batch is None else None
    samples = next(
        (n.meta["val"].shape[0] for i, n in zip(captured.inputs, placeholders, strict=True) if symbol in i.shape[:1]),
        None,
    )
    inputs, shapes = [], []
    for described, node in zip(captured.inputs, placeholders, strict=True):
        value = node.meta["val"]
        # A mask that only broadcasts has a symbol of its own; it is the batch all the same.
        axes = [
            i
            for i, d in enumerate(described.shape)
            if isinstance(d, str) and (d == symbol or i == 0 and value.shape[0] == samples)
        ]
        # A size of 1 would be taken for a fixed one.
        sizes = [(batch or max(2, n)) if i in axes else n for i, n in enumerate(value.shape)]
        inputs.append(torch.zeros(sizes, dtype=value.dtype))
        shapes.append({i: dimension for i in axes} if dimension is not None else None)
    return inputs, tuple(shapes) if dimension is not None else None


def _reason(error: BaseException) -> str:
    """The line that says it, of an exception that wraps others."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0].strip()}" if lines else type(error).__name__
