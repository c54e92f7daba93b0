"""model + example inputs -> `Captured`: torch.export, then rewriting to the flat graph that qnb works on."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import torch
from torch import fx, nn

from qnb.errors import InputError
from qnb.graph import export, names
from qnb.graph.captured import MANY, Captured, Input, as_call, check_device
from qnb.graph.constants import fold_constants
from qnb.graph.fold import fold_batch_norm
from qnb.graph.masks import mask_last
from qnb.graph.recurrent import restore_recurrent
from qnb.graph.simplify import remove_noise, restore_batch_norm
from qnb.graph.structure import Structure, flatten
from qnb.graph.written_out import write_out

OPERATION = "capture"


def capture(model: nn.Module, example_inputs: Any, dynamic_shapes: Any = None) -> Captured:
    """Capture a model as a functional graph, with batch norms folded and layers named by the user's modules.

    Args:
        model: in eval mode; neither it nor its tensors are changed. Half-precision models are captured in FP32.
        example_inputs: one batch: a tensor (``model(x)``), a tuple or list (``model(*x)``) or a dict
            (``model(**x)``).
        dynamic_shapes: as for torch.export, in the form of the inputs. None lets every dimension vary that can
            (torch.export's ``Dim.AUTO``), else the batch only, else none. Sizes that grow into long formulas, as
            in window attention, are such a case.

    Raises:
        InputError: the model is in training mode, or inputs do not fit it.
        CaptureError: torch.export cannot take the model; names the user's line and a remedy.

    >>> captured = capture(nn.Linear(3, 2).eval(), torch.randn(4, 3))
    >>> [n.meta["layer"] for n in captured.module.graph.nodes if n.op == "call_function"]
    ['linear']
    """
    _check_mode(model)
    args, kwargs = as_call(example_inputs)
    leaves, called = flatten((args, kwargs), "input")
    tensors = [*model.parameters(), *model.buffers()]
    check_device(leaves, tensors[0].device if tensors else None, OPERATION)
    floats = {t.dtype for t in tensors if t.is_floating_point()}
    exact = model if floats <= {torch.float32} else copy.deepcopy(model).float()
    inputs = [_float32(x) for x in leaves]
    program, returned = export.export(exact, inputs, called, dynamic_shapes)
    notes = _notes(program, exact is not model)
    module = _graph_module(program)
    restore_recurrent(module)
    write_out(module)
    restore_batch_norm(module)
    remove_noise(module)
    mask_last(module)
    names.name_layers(module)
    fold_constants(module)
    fold_batch_norm(module)
    placeholders = [n for n in module.graph.nodes if n.op == "placeholder"]
    names.name_inputs(placeholders, called, _parameters(model))
    described = [_describe(n, x) for n, x in zip(placeholders, leaves, strict=True)]
    limits = _limits(program)
    names.forget_symbols(module)
    module.recompile()
    return Captured(
        module, type(model).__name__, described, limits, called, returned, _parameters(model), _fixed(described), notes
    )


def _check_mode(model: nn.Module) -> None:
    training = [name or type(model).__name__ for name, m in model.named_modules() if m.training]
    if training:
        what = f"the model is in training mode ({training[0]!r}{' and others' if len(training) > 1 else ''})"
        raise InputError(OPERATION, what, "call model.eval() first")


def _float32(x: torch.Tensor) -> torch.Tensor:
    return x.detach().float() if x.is_floating_point() else x.detach()


def _parameters(model: nn.Module) -> list[str]:
    """Names of forward's parameters that can be given by position or name."""
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [n for n, p in inspect.signature(model.forward).parameters.items() if p.kind in plain]


def _graph_module(program: torch.export.ExportedProgram) -> fx.GraphModule:
    """The exported graph with tensors as get_attr under the user's own names, cloned; user outputs only."""
    graph, root, memo = program.graph, {}, {}
    nodes = {n.name: n for n in graph.nodes}
    for spec in program.graph_signature.input_specs:
        node = nodes[spec.arg.name]
        if spec.target is None:
            continue
        target = spec.target.removeprefix(export.PREFIX)
        tensor = program.state_dict.get(spec.target, program.constants.get(spec.target))
        root[target] = memo.setdefault(id(tensor), _clone(tensor))
        with graph.inserting_before(node):
            constant = graph.create_node("get_attr", target)
        constant.meta = {"val": node.meta["val"]}
        node.replace_all_uses_with(constant)
        graph.erase_node(node)
    output = next(n for n in graph.nodes if n.op == "output")
    results = zip(program.graph_signature.output_specs, output.args[0], strict=True)
    output.args = (tuple(result for spec, result in results if spec.kind.name == "USER_OUTPUT"),)
    graph._codegen = fx.graph.CodeGen()
    return fx.GraphModule(root, graph)


def _clone(tensor: torch.Tensor) -> torch.Tensor:
    value = tensor.detach().clone()
    return nn.Parameter(value, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else value


def _describe(node: fx.Node, example: torch.Tensor) -> Input:
    value = node.meta["val"]
    shape = tuple(int(str(d)) if str(d).isdigit() else str(d) for d in value.shape)
    return Input(node.meta["layer"], shape, example.dtype, value.dtype)


def _limits(program: torch.export.ExportedProgram) -> dict[str, tuple[int, int]]:
    """Allowed sizes per symbol. A lower bound of 2 only says that the trace was not made with size 1."""
    limits = {}
    for symbol, bounds in program.range_constraints.items():
        low = int(bounds.lower) if bounds.lower.is_finite else 0
        high = int(bounds.upper) if bounds.upper.is_finite and bounds.upper < MANY else MANY
        limits[str(symbol)] = (1 if low <= 2 else low, high)
    return limits


def _fixed(inputs: list[Input]) -> list[str]:
    found = []
    for item in inputs:
        axes = [f"dimension {i} at {d}" for i, d in enumerate(item.shape) if isinstance(d, int)]
        if axes:
            found.append(f"{item.name}: {', '.join(axes)}")
    return found


def _notes(program: torch.export.ExportedProgram, converted: bool) -> list[str]:
    notes = ["the model is in half precision or float64; it was captured in FP32"] if converted else []
    for spec in program.graph_signature.output_specs:
        if spec.kind.name == "BUFFER_MUTATION":
            name = spec.target.removeprefix(export.PREFIX)
            notes.append(f"forward updates the buffer {name!r}; the captured graph always starts from its value")
    return notes


def batch_size(captured: Captured, structure: Structure | None = None) -> int:
    """Samples in the example that the graph's ``val`` sizes come from; 1 where the inputs have no batch."""
    first = next((n for n in captured.module.graph.nodes if n.op == "placeholder"), None)
    value = first.meta["val"] if first is not None else None
    return int(value.shape[0]) if value is not None and value.dim() else 1
