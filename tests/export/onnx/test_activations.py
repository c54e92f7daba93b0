"""Every activation between ops of an exported file is quantized."""

import onnx
import pytest

from qnb.export import export_onnx
from tests.export.files import File, calibrated
from tests.models import zoo

MOVED = {
    ("Conv", "Relu"): "inside a supergroup, where the range goes below 0 so that the ReLU is needed",
    ("Add", "Relu"): "inside a supergroup, as above",
    ("Where", "Softmax"): "scores are quantized before they are masked with -inf, which no grid holds",
    ("Where", "Equal"): "the guard against rows that are masked as a whole, part of the mask",
    ("Expand", "Where"): "as above",
    ("Softmax", "Where"): "as above; quantized behind it",
    ("Softmax", "Shape"): "a shape has no values",
}
RECURRENT = "what moves and stacks weights, inputs and states before an LSTM, and its output after it"
CONSTANTS = {
    ("Mul", 1): "a number, which goes into the scale",
    ("Where", 2): "the mask's -inf",
    ("Equal", 1): "the mask's -inf",
    ("Expand", 0): "zeros: masked rows, and the states that a recurrent layer starts with",
    ("LayerNormalization", 2): "a normalization's bias; targets take it in higher precision",
    ("Resize", 2): "factors of the sizes",
    ("LSTM", 3): "a recurrent layer's biases; targets take them in higher precision",
}
MOVES = {"Slice", "Squeeze", "Unsqueeze", "Concat", "Transpose", "Reshape", "Expand", "Shape"}


def float_inputs(file):
    """(node, position, tensor) of every float that a node other than Q and DQ reads."""
    graph = onnx.shape_inference.infer_shapes(file.model).graph
    types = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.input, *graph.output)}
    types |= {name: tensor.data_type for name, tensor in file.initializers.items()}
    for node in file.nodes:
        for position, name in enumerate(node.input):
            if name and node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
                if types[name] == onnx.TensorProto.FLOAT:
                    yield node, position, name


def unquantized(file):
    """What float_inputs gives that neither comes from a DequantizeLinear nor is excused above."""
    for node, position, name in float_inputs(file):
        maker = file.maker.get(name)
        if maker is None:
            excused = name in file.initializers and (node.op_type, position) in CONSTANTS
        else:
            excused = maker.op_type == "DequantizeLinear" or (maker.op_type, node.op_type) in MOVED
        if not excused:
            yield maker.op_type if maker is not None else name, node.op_type


@pytest.mark.slow
@pytest.mark.parametrize("target", ["onnxruntime-cpu", "htp-v75"])
@pytest.mark.parametrize("name", ["attention", "unet"])
def test_every_float_between_ops_is_quantized(name, target, tmp_path):
    model, batch = zoo()[name]
    file = File(export_onnx(calibrated(model, batch, "w8a8", target), tmp_path / "m.onnx"))
    assert not list(unquantized(file))
    assert len(file.ops("QuantizeLinear")) > 5


@pytest.mark.slow
def test_every_float_around_a_recurrent_layer_is_quantized(tmp_path):
    model, batch = zoo()["lstm"]
    file = File(export_onnx(calibrated(model, batch, "w8a8"), tmp_path / "m.onnx"))
    rest = set(unquantized(file))
    assert rest and all({first, second} <= {*MOVES, "LSTM"} for first, second in rest), RECURRENT
    (embedding,), (head,) = file.ops("Gather"), file.ops("Gemm")
    for node in (embedding, head):
        assert file.maker[node.input[0]].op_type == "DequantizeLinear"
