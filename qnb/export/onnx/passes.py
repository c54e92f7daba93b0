"""Passes over an ONNX graph that bring ops into the form that runtimes have kernels for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir

from qnb.export.onnx.marker import DOMAIN, OP
from qnb.export.onnx.tensors import FileTensor

MIDDLE = 1 << 15


def global_pooling(model: ir.Model) -> None:
    """ReduceMean over the last two of four dimensions, both kept, becomes GlobalAveragePool."""
    for node in list(model.graph):
        if node.op_type == "ReduceMean" and _is_global(node):
            take_place(model.graph, node, "GlobalAveragePool", [node.inputs[0]])


def _is_global(node: ir.Node) -> bool:
    value = node.inputs[0]
    axes = node.inputs[1].const_value if len(node.inputs) > 1 and node.inputs[1] is not None else None
    kept = node.attributes["keepdims"].as_int() if "keepdims" in node.attributes else 1
    if axes is None or value.shape is None or len(value.shape) != 4 or not kept:
        return False
    return sorted(int(a) % 4 for a in axes.numpy().reshape(-1)) == [2, 3]


def whole_gathers(model: ir.Model) -> None:
    """GatherND of every element in order becomes Reshape: HTP has no kernel for any GatherND.

    Attention masks are made so in many models: ``mask[batch_index, key_index]`` with all indices of both, which come
    out as constants where the batch is fixed.
    """
    for node in list(model.graph):
        if node.op_type == "GatherND" and _takes_all(node):
            name, shape = f"{node.outputs[0].name}_sizes", node.inputs[1].const_value.shape[:-1]
            take_place(model.graph, node, "Reshape", [node.inputs[0], sizes(model.graph, name, shape)])


def _takes_all(node: ir.Node) -> bool:
    data, indices = node.inputs[0].shape, node.inputs[1].const_value
    if data is None or indices is None or not all(isinstance(size, int) for size in data):
        return False
    if "batch_dims" in node.attributes and node.attributes["batch_dims"].as_int():
        return False
    if np.prod(indices.shape[:-1]) != np.prod(data):  # pyright: ignore[reportCallIssue]
        return False
    every = np.stack(np.unravel_index(np.arange(np.prod(data)), tuple(data)), -1)  # pyright: ignore[reportCallIssue]
    return np.array_equal(indices.numpy().reshape(-1, indices.shape[-1]), every)  # pyright: ignore[reportCallIssue]


def drop_ones(model: ir.Model, tensors: dict[str, FileTensor]) -> None:
    """Transposes of five or more dimensions, which HTP has no 16-bit kernel for, leave out those of size 1, which a
    fixed batch of one has.

    ``[1, T, 3, H, D] -> [3, 1, H, T, D]`` becomes Reshape, a transpose of four dimensions, and Reshape. The tensors
    in between are marked and have the encoding of the one that is moved.
    """
    for node in list(model.graph):
        shape = node.inputs[0].shape if node.op_type == "Transpose" else None
        if shape is None or len(shape) < 5 or not all(isinstance(n, int) for n in shape):
            continue
        order = list(node.attributes["perm"].as_ints())
        kept = [axis for axis in range(len(shape)) if shape[axis] != 1]
        if 1 < len(kept) < 5:
            _without_ones(model.graph, node, tensors, order, kept)


def _without_ones(graph: ir.Graph, node: ir.Node, tensors, order: list[int], kept: list[int]) -> None:
    value, old = node.inputs[0], node.outputs[0]
    moved = _marked(value)
    small = [axis for axis in order if axis in kept]
    value = add(graph, node, "Reshape", [value, sizes(graph, f"{old.name}_in", [value.shape[a] for a in kept])])
    value = _mark(graph, node, value, moved, tensors)
    value = add(graph, node, "Transpose", [value], {"perm": [kept.index(axis) for axis in small]})
    value = _mark(graph, node, value, moved, tensors)
    value = add(graph, node, "Reshape", [value, sizes(graph, f"{old.name}_out", list(old.shape))])
    value.shape, value.dtype = old.shape, old.dtype
    old.replace_all_uses_with(value, replace_graph_outputs=True)
    graph.remove(node, safe=True)


def _marked(value: ir.Value) -> str | None:
    producer = value.producer()
    return producer.attributes["name"].as_string() if producer is not None and producer.domain == DOMAIN else None


def _mark(graph: ir.Graph, before: ir.Node, value: ir.Value, moved: str | None, tensors) -> ir.Value:
    """The same encoding under a name of its own."""
    if moved not in tensors:
        return value
    name = next(n for i in range(1, len(tensors) + 2) if (n := f"{moved}.moved_{i}") not in tensors)
    tensors[name] = replace(tensors[moved], name=name, kind="activation", follows=True)
    return add(graph, before, OP, [value], {"name": name}, domain=DOMAIN)


def signed_second_inputs(model: ir.Model) -> None:
    """MatMul's second input, where it is a symmetric uint16 activation, is quantized to int16 right before.

    The same codes, shifted by half the grid: nothing is rounded. QNN turns a uint16 second input into 8 bits
    (measured on v75: 47 dB against the exact product, 85 dB with an int16 one).
    """
    graph = model.graph
    for node in list(graph):
        if node.op_type != "MatMul" or not _is_symmetric_uint16(node.inputs[1]):
            continue
        value = node.inputs[1]
        scale, name = value.producer().inputs[1], f"{value.name}_for_{node.name}"
        zero = ir.val(f"{name}_zero", ir.DataType.INT16, [], const_value=ir.tensor(np.int16(0), name=f"{name}_zero"))
        graph.initializers[zero.name] = zero
        codes = add(graph, node, "QuantizeLinear", [value, scale, zero], name=f"{name}_signed", dtype=ir.DataType.INT16)
        real = add(graph, node, "DequantizeLinear", [codes, scale, zero], name=f"{name}_real", dtype=ir.DataType.FLOAT)
        codes.shape = real.shape = value.shape
        node.replace_input_with(1, real)


def _is_symmetric_uint16(value: ir.Value) -> bool:
    made = value.producer()
    if made is None or made.op_type != "DequantizeLinear" or len(made.inputs) < 3:
        return False
    zero_point = made.inputs[2].const_value
    return zero_point is not None and zero_point.dtype == ir.DataType.UINT16 and int(zero_point.numpy()) == MIDDLE


def take_place(graph: ir.Graph, old: ir.Node, op: str, inputs: Sequence[ir.Value]) -> None:
    """A node ``op`` of one output instead of ``old``: its name, and its output's name, type, shape and readers."""
    made, value = ir.node(op, inputs, name=old.name), old.outputs[0]
    output = made.outputs[0]
    output.dtype, output.shape = value.dtype, value.shape
    graph.insert_before(old, made)
    output.name, value.name = value.name, None
    value.replace_all_uses_with(output, replace_graph_outputs=True)
    graph.remove(old, safe=True)


def sizes(graph: ir.Graph, name: str, values: Sequence[int]) -> ir.Value:
    """An int64 constant, as Reshape takes it."""
    constant = ir.tensor([int(v) for v in values], ir.DataType.INT64, name=name)
    value = ir.val(name, ir.DataType.INT64, [len(values)], const_value=constant)
    graph.initializers[name] = value
    return value


def add(
    graph: ir.Graph,
    before: ir.Node,
    op: str,
    inputs: Sequence[ir.Value],
    attributes: Mapping[str, Any] | None = None,
    *,
    name: str | None = None,
    dtype: ir.DataType | None = None,
    domain: str = "",
) -> ir.Value:
    """A new node's one output; its type is the first input's where none is given."""
    node = ir.node(op, inputs, attributes, domain=domain, name=name and f"{op}({name})")
    output = node.outputs[0]
    output.name, output.dtype = name, dtype or inputs[0].dtype
    graph.insert_before(before, node)
    return output
