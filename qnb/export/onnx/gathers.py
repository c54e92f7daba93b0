"""Gathers that take everything, which HTP has no kernel for as it has none for any GatherND."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from qnb.export.onnx.nodes import sizes, take_place


def whole_gathers(model: ir.Model) -> None:
    """GatherND of every element in order becomes Reshape.

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
    if np.prod(indices.shape[:-1]) != np.prod(data):
        return False
    every = np.stack(np.unravel_index(np.arange(np.prod(data)), tuple(data)), -1)
    return np.array_equal(indices.numpy().reshape(-1, indices.shape[-1]), every)
