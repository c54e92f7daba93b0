"""Small ONNX files."""

from __future__ import annotations

import json

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

NUMPY = {"uint8": np.uint8, "int8": np.int8, "uint16": np.uint16, "int16": np.int16}
ONNX = {name: getattr(TensorProto, name.upper()) for name in NUMPY}
CHANNELS = 4


class Graph:
    """Nodes and weights of a file under construction."""

    def __init__(self):
        self.nodes, self.weights = [], []
        self.random = np.random.default_rng(0)

    def weight(self, name, value):
        self.weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, op, inputs, output, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [output], name=f"{output}:{op}", **attributes))
        return output

    def grid(self, name, scale, zero_point, kind):
        return [self.weight(f"{name}_scale", np.float32(scale)), self.weight(f"{name}_zero", NUMPY[kind](zero_point))]

    def save(self, path, inputs, outputs, metadata=None, external=False):
        graph = helper.make_graph(self.nodes, "g", inputs, outputs, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
        if metadata is not None:
            helper.set_model_props(model, {"qnb": json.dumps(metadata)})
        onnx.checker.check_model(model)
        extra = {"save_as_external_data": True, "size_threshold": 0, "location": "weights.bin"} if external else {}
        onnx.save(model, path, **extra)
        return path


def value(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


@pytest.fixture
def quantized(tmp_path):
    """Writes quantize -> convolution (int weights) -> ReLU -> quantize, of [batch, 3, 8, 8] to [batch, 4, 8, 8].

    ``integers``: the graph takes and gives codes. ``op``: one more op at the end. ``weights``: "int8" or "int16".
    """

    def write(
        name="q.onnx", batch="N", *, activations="uint8", weights="int8", integers=False, op=None, external=False
    ):
        g, wide = Graph(), activations == "uint16"
        x = g.grid("x", 0.02 / (257 if wide else 1), 32768 if wide else 128, activations)
        y = g.grid("y", 0.06 / (257 if wide else 1), 0, activations)
        g.weight("w_scale", np.float32(0.01) if weights == "int16" else np.full(CHANNELS, 0.01, np.float32))
        g.weight("w_zero", np.zeros(() if weights == "int16" else CHANNELS, NUMPY[weights]))
        g.weight("w_codes", g.random.integers(-127, 128, (CHANNELS, 3, 3, 3)).astype(NUMPY[weights]))
        codes = "x" if integers else g.node("QuantizeLinear", ["x", *x], "x_codes")
        g.node("DequantizeLinear", [codes, *x], "x_real")
        axis = {} if weights == "int16" else {"axis": 0}
        g.node("DequantizeLinear", ["w_codes", "w_scale", "w_zero"], "w", **axis)
        g.node("Conv", ["x_real", "w"], "conv", pads=[1, 1, 1, 1])
        g.node("Relu", ["conv"], "relu")
        g.node("QuantizeLinear", ["relu", *y], "y" if integers else "y_codes")
        if not integers:
            g.node("DequantizeLinear", ["y_codes", *y], "real" if op else "y")
        if op:
            g.node(op, ["real"], "y")
        kind = ONNX[activations] if integers else TensorProto.FLOAT
        metadata = (
            {
                "inputs": {"x": {"grid": activations, "scale": 0.02, "zero_point": 128}},
                "outputs": {"y": {"grid": activations, "scale": 0.06, "zero_point": 0}},
            }
            if integers
            else None
        )
        shapes = [batch, 3, 8, 8], [batch, CHANNELS, 8, 8]
        return g.save(tmp_path / name, [value("x", shapes[0], kind)], [value("y", shapes[1], kind)], metadata, external)

    return write


@pytest.fixture
def floats(tmp_path):
    """Writes ids [N, T] int64 and scores [N, T] float to their product [N, T] and the largest place [N]."""
    g = Graph()
    g.node("Cast", ["ids"], "as_float", to=TensorProto.FLOAT)
    g.node("Mul", ["as_float", "scores"], "product")
    g.node("ArgMax", ["product"], "place", axis=1, keepdims=0)
    inputs = [value("ids", ["N", "T"], TensorProto.INT64), value("scores", ["N", "T"])]
    return g.save(tmp_path / "f.onnx", inputs, [value("product", ["N", "T"]), value("place", ["N"], TensorProto.INT64)])
