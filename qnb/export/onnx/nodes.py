"""What passes over an ONNX graph share: a node that takes another's place, a constant of sizes."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir


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
