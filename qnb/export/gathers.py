"""Gathers that take everything, which HTP has no kernel for as it has none for any GatherND."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir


def whole_gathers(model: ir.Model) -> None:
    """GatherND of every element in order becomes Reshape.

    Attention masks are made so in many models: ``mask[batch_index, key_index]`` with all indices of both, which come
    out as constants where the batch is fixed.
    """
    graph = model.graph
    for node in list(graph):
        if node.op_type != "GatherND" or not _takes_all(node):
            continue
        old = node.outputs[0]
        sizes = np.array(node.inputs[1].const_value.shape[:-1], np.int64)
        name = f"{old.name}_sizes"
        shape = ir.val(name, ir.DataType.INT64, [len(sizes)], const_value=ir.tensor(sizes, name=name))
        graph.initializers[name] = shape
        made = ir.node("Reshape", [node.inputs[0], shape], name=node.name)
        made.outputs[0].dtype, made.outputs[0].shape = old.dtype, old.shape
        graph.insert_before(node, made)
        kept, old.name = old.name, None
        made.outputs[0].name = kept
        old.replace_all_uses_with(made.outputs[0], replace_graph_outputs=True)
        graph.remove(node, safe=True)


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
