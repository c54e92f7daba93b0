"""Transposes of more than four dimensions, which HTP has no 16-bit kernel for."""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir

from qnb.export.onnx.marker import DOMAIN, OP
from qnb.export.onnx.nodes import sizes
from qnb.export.onnx.tensors import FileTensor


def drop_ones(model: ir.Model, tensors: dict[str, FileTensor]) -> None:
    """Transposes of five or more dimensions leave out those of size 1, which a fixed batch of one has.

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
            _rewrite(model.graph, node, tensors, order, kept)


def _rewrite(graph: ir.Graph, node: ir.Node, tensors, order: list[int], kept: list[int]) -> None:
    value, old = node.inputs[0], node.outputs[0]
    moved = _marked(value)
    small = [axis for axis in order if axis in kept]
    value = _add(graph, node, "Reshape", [value, sizes(graph, f"{old.name}_in", [value.shape[a] for a in kept])])
    value = _mark(graph, node, value, moved, tensors)
    value = _add(graph, node, "Transpose", [value], perm=[kept.index(axis) for axis in small])
    value = _mark(graph, node, value, moved, tensors)
    value = _add(graph, node, "Reshape", [value, sizes(graph, f"{old.name}_out", list(old.shape))])
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
    return _add(graph, before, OP, [value], DOMAIN, name=name)


def _add(graph: ir.Graph, before: ir.Node, op: str, inputs: list[ir.Value], domain: str = "", **attributes) -> ir.Value:
    node = ir.node(op, inputs, attributes, domain=domain)
    node.outputs[0].dtype = inputs[0].dtype
    graph.insert_before(before, node)
    return node.outputs[0]
