"""Means over height and width as the pooling ops that integer runtimes have kernels for."""

from __future__ import annotations

import onnx_ir as ir

from qnb.export.onnx.nodes import take_place


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
