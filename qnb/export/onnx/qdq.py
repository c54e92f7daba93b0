"""Marks -> QuantizeLinear and DequantizeLinear around activations, integer initializers in place of weights."""

from __future__ import annotations

import onnx_ir as ir
import torch

from qnb.export.onnx.marker import DOMAIN
from qnb.export.onnx.passes import add
from qnb.export.onnx.tensors import FileTensor, Names
from qnb.numerics import FloatGrid, Grid, quantize

_FLOATS = {
    "fp16": ir.DataType.FLOAT16,
    "bf16": ir.DataType.BFLOAT16,
    "fp8_e4m3": ir.DataType.FLOAT8E4M3FN,
    "fp8_e5m2": ir.DataType.FLOAT8E5M2,
}


def name_tensors(model: ir.Model, tensors: dict[str, FileTensor], quantized: bool, integer_io: bool = False) -> None:
    """Take the marks out of a model.

    Every marked value gets its tensor's name. With ``quantized``, activations pass through QuantizeLinear (output
    ``<name>_quantized``) and DequantizeLinear (``<name>_dequantized``), and parameters come from an integer
    initializer ``<name>_quantized`` through a DequantizeLinear whose output has the name. A tensor that is a graph
    output has its name behind the DequantizeLinear and is called ``<name>_float`` before it.

    Args:
        integer_io: graph inputs and outputs are the integer codes themselves.
    """
    graph = model.graph
    for node in list(graph):
        if node.domain != DOMAIN:
            continue
        name = node.attributes["name"].as_string()
        tensor = tensors.get(name)
        made = None
        if quantized and tensor is not None and tensor.active:
            make = _activation if tensor.constant is None else _constant
            made = make(graph, node, tensor, integer_io)
        _replace(graph, node, made if made is not None else _named(graph, node, name))
    _keep_apart(graph)
    _name_nodes(graph, tensors)
    unused = [name for name, value in graph.initializers.items() if not value.uses() and not value.is_graph_output()]
    for name in unused:
        del graph.initializers[name]
    model.opset_imports.pop(DOMAIN, None)


def _name_nodes(graph: ir.Graph, tensors: dict[str, FileTensor]) -> None:
    """The op that makes a layer's output is called as the layer is: so runtimes name it where they refuse it."""
    names = Names()
    for node in graph:
        tensor = tensors.get((node.outputs[0].name or "").removesuffix("_float"))
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear") and tensor is not None:
            node.name = names(tensor.layer)


def _keep_apart(graph: ir.Graph) -> None:
    """Values between marks give way where the exporter happened to name them as a marked one is named."""
    names = Names()
    between = [v for n in graph for v in n.outputs if not (v.meta.get("named") or v.is_graph_output()) and v.name]
    ours = {*graph.inputs, *graph.outputs, *graph.initializers.values(), *(v for n in graph for v in n.outputs)}
    names.taken = {value.name for value in ours.difference(between)}
    for value in between:
        value.name = names(value.name)


def _replace(graph: ir.Graph, node: ir.Node, value: ir.Value) -> None:
    """``value`` takes the place of the mark's output, its name too where that is a graph output's."""
    old = node.outputs[0]
    if old.is_graph_output():
        graph.outputs[:] = [value if output is old else output for output in graph.outputs]
        value.name, old.name = old.name, None
    old.replace_all_uses_with(value)
    graph.remove(node, safe=True)


def _named(graph: ir.Graph, node: ir.Node, name: str) -> ir.Value:
    """The marked value under its name, behind an Identity where it has another already."""
    value, output = node.inputs[0], node.outputs[0].is_graph_output()
    free = value.producer() is not None and not value.is_graph_output() and not value.meta.get("named")
    if value.name == name and not output:
        return value
    if free:
        value.name, value.meta["named"] = name, True
        return value
    return _add(graph, node, "Identity", [value], name, value.dtype, value.shape)


def _activation(graph: ir.Graph, node: ir.Node, tensor: FileTensor, integer_io: bool) -> ir.Value:
    value, name = node.inputs[0], tensor.name
    shape, is_output = value.shape, node.outputs[0].is_graph_output()
    free = value.producer() is not None and not value.is_graph_output() and not value.meta.get("named")
    if free:
        value.name, value.meta["named"] = (f"{name}_float" if is_output else name), True
    if isinstance(tensor.grid, FloatGrid) and not tensor.grid.scaled:
        half = _add(
            graph,
            node,
            "Cast",
            [value],
            f"{name}_{tensor.grid.name}",
            _FLOATS[tensor.grid.name],
            shape,
            to=_FLOATS[tensor.grid.name],
        )
        return _add(graph, node, "Cast", [half], f"{name}_float32", ir.DataType.FLOAT, shape, to=ir.DataType.FLOAT)
    grid, zero_point = tensor.stored
    kind, exact = storage(grid)
    scale = _initializer(graph, f"{name}_scale", tensor.scale.reshape(()), ir.DataType.FLOAT)
    zero_point = _initializer(graph, f"{name}_zero_point", zero_point.reshape(()), kind)
    if integer_io and exact and tensor.kind == "input":
        value.dtype, codes = kind, value
    else:
        codes = _add(graph, node, "QuantizeLinear", [value, scale, zero_point], f"{name}_quantized", kind, shape)
    if not exact:
        codes = _clipped(graph, node, codes, tensor)
    given_out, readers = integer_io and exact and is_output, list(node.outputs[0].uses())
    if given_out and not readers:
        return codes
    made = _add(
        graph, node, "DequantizeLinear", [codes, scale, zero_point], f"{name}_dequantized", ir.DataType.FLOAT, shape
    )
    if not given_out:
        return made
    for reader in readers:  # the graph gives out the codes, its ops read the values
        reader.node.replace_input_with(reader.idx, made)
    return codes


def storage(grid: Grid | FloatGrid) -> tuple[ir.DataType, bool]:
    """(ONNX type that holds the codes, whether it holds nothing else)."""
    if isinstance(grid, FloatGrid):
        return _FLOATS[grid.name], True
    bits = next(b for b in (4, 8, 16, 32) if grid.bits <= b)
    return ir.DataType[f"{'' if grid.symmetric else 'U'}INT{bits}"], bits == grid.bits


def _clipped(graph: ir.Graph, node: ir.Node, codes: ir.Value, tensor: FileTensor) -> ir.Value:
    """Codes of a bit-width that ONNX lacks, in the next wider type. (Clip takes 16-bit integers in few runtimes.)"""
    name, kind, shape, wide = tensor.name, codes.dtype, codes.shape, ir.DataType.INT32
    low, high = (
        _initializer(graph, f"{name}_{end}", torch.tensor(value), wide)
        for end, value in (("qmin", tensor.stored[0].qmin), ("qmax", tensor.stored[0].qmax))
    )
    codes = _add(graph, node, "Cast", [codes], f"{name}_codes", wide, shape, to=wide)
    codes = _add(graph, node, "Clip", [codes, low, high], f"{name}_clipped", wide, shape)
    return _add(graph, node, "Cast", [codes], f"{name}_{tensor.stored[0].name}", kind, shape, to=kind)


def _constant(graph: ir.Graph, node: ir.Node, tensor: FileTensor, _: bool) -> ir.Value:
    """An integer initializer and its DequantizeLinear."""
    name, grid = tensor.name, tensor.grid
    if isinstance(grid, FloatGrid) and not grid.scaled:
        held = _initializer(graph, f"{name}_{grid.name}", tensor.constant, _FLOATS[grid.name])
        return _add(
            graph, node, "Cast", [held], _fresh(node, name), ir.DataType.FLOAT, held.shape, to=ir.DataType.FLOAT
        )
    kind, _ = storage(grid)
    attributes = {"axis": tensor.axis, "block_size": tensor.block_size}
    attributes = {k: v for k, v in attributes.items() if v is not None}
    scale, zero_point = tensor.scale, tensor.zero_point
    if isinstance(grid, FloatGrid):
        codes = (tensor.constant / scale).clamp(-grid.max, grid.max)
    else:
        codes = quantize(tensor.constant, scale, zero_point, grid, tensor.axis, tensor.block_size)
    if tensor.axis is None:
        scale, zero_point = scale.reshape(()), zero_point.reshape(())
    elif tensor.block_size is not None:
        sizes = [n // tensor.block_size if i == tensor.axis else n for i, n in enumerate(codes.shape)]
        scale, zero_point = scale.expand(sizes), zero_point.expand(sizes)
    held = _initializer(graph, f"{name}_quantized", codes, kind)
    inputs = [held, _initializer(graph, f"{name}_scale", scale, ir.DataType.FLOAT)]
    if kind != ir.DataType.INT32:
        inputs.append(_initializer(graph, f"{name}_zero_point", zero_point, kind))
    return _add(
        graph, node, "DequantizeLinear", inputs, _fresh(node, name), ir.DataType.FLOAT, held.shape, **attributes
    )


def _fresh(node: ir.Node, name: str) -> str:
    """The parameter's own name; its float initializer, which had it, leaves."""
    source = node.inputs[0]
    if source.name == name and source.is_initializer():
        graph = node.graph
        del graph.initializers[name]
        source.name = f"{name}_float"
        graph.initializers[source.name] = source
    return name


def _initializer(graph: ir.Graph, name: str, values: torch.Tensor, kind: ir.DataType) -> ir.Value:
    values = values.detach().cpu()
    if kind in (ir.DataType.FLOAT16, ir.DataType.BFLOAT16) or kind.name.startswith("FLOAT8"):
        torch_kind = {
            "FLOAT16": torch.float16,
            "BFLOAT16": torch.bfloat16,
            "FLOAT8E4M3FN": torch.float8_e4m3fn,
            "FLOAT8E5M2": torch.float8_e5m2,
        }[kind.name]
        array = values.to(torch_kind).view(torch.uint8 if kind.name.startswith("FLOAT8") else torch.int16).numpy()
        array = array.view(kind.numpy())
    else:
        array = (values.float() if kind == ir.DataType.FLOAT else values.long()).numpy().astype(kind.numpy())
    value = ir.Value(name=name, const_value=ir.Tensor(array, dtype=kind, name=name))
    value.dtype, value.shape = kind, ir.Shape(array.shape)
    graph.initializers[name] = value
    return value


def _add(
    graph: ir.Graph, before: ir.Node, op: str, inputs: list[ir.Value], name: str, kind, shape, **attributes
) -> ir.Value:
    """A node right before another, with one output."""
    output = add(graph, before, op, inputs, attributes, name=name, dtype=kind)
    output.shape, output.meta["named"] = shape, True
    return output
