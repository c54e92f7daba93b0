"""The operator exported to ONNX gives the same numbers in ONNX Runtime."""

import warnings

import numpy as np
import pytest
import torch

from qnb.errors import PrecisionError
from qnb.numerics import Grid, affine_parameters, fake_quantize, parse_grid
from qnb.numerics.onnx_translation import OPSET, _translate, translation_table

ort = pytest.importorskip("onnxruntime")


class Quantized(torch.nn.Module):
    """Quantizes its input as told."""

    def __init__(self, scale, zero_point, *arguments):
        super().__init__()
        self.register_buffer("scale", scale)
        self.register_buffer("zero_point", zero_point)
        self.arguments = arguments

    def forward(self, x):
        return fake_quantize(x, self.scale, self.zero_point, *self.arguments)


def export(module, x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.onnx.export(
            module.eval(),
            (x,),
            dynamo=True,
            opset_version=OPSET,
            custom_translation_table=translation_table(),
            verbose=False,
        ).model_proto


def run(proto, x):
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]


def same_as_runtime(module, x):
    proto = export(module, x)
    np.testing.assert_array_equal(run(proto, x), module(x).numpy())
    return [node.op_type for node in proto.graph.node]


@pytest.fixture
def x():
    return torch.randn(6, 8, 5, generator=torch.Generator().manual_seed(0)) * 3


INTEGERS = ["int8", "uint8", "int16", "uint16", "int4", "uint4", "uint5", "int3", "int12", "uint12"]


@pytest.mark.parametrize("grid", INTEGERS)
def test_per_tensor(grid, x):
    scale, zero_point = affine_parameters(x.min() * 0.8, x.max() * 0.8, parse_grid(grid))
    kinds = same_as_runtime(Quantized(scale, zero_point, grid), x)
    assert kinds.count("QuantizeLinear") == kinds.count("DequantizeLinear") == 1


def test_a_scale_of_one_element(x):
    same_as_runtime(Quantized(torch.tensor([0.05]), torch.tensor([7.0]), "uint8"), x)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("grid", ["int8", "int4", "uint16", "int6"])
def test_per_channel(grid, axis, x):
    scale = torch.linspace(0.01, 0.2, x.shape[axis])
    zero_point = torch.zeros_like(scale) if grid[0] == "i" else torch.full_like(scale, 100)
    same_as_runtime(Quantized(scale, zero_point, grid, axis), x)


@pytest.mark.parametrize("shape", [(6, 2, 5), (6, 2, 1)], ids=["full", "shared"])
def test_blocks(shape, x):
    scale = torch.linspace(0.1, 0.5, 60)[: np.prod(shape)].reshape(shape)
    same_as_runtime(Quantized(scale, torch.zeros_like(scale), "int4", 1, 4), x)


def test_32_bits(x):
    scale = torch.linspace(1e-9, 1e-8, 6)
    same_as_runtime(Quantized(scale, torch.zeros_like(scale), "int32", 0), x)


@pytest.mark.parametrize("grid", ["fp16", "bf16", "fp8_e4m3", "fp8_e5m2"])
def test_float_grids(grid, x):
    same_as_runtime(Quantized(torch.tensor(0.25), torch.tensor(0.0), grid), x)


def test_32_bit_blocks_are_refused(x):
    with pytest.raises(PrecisionError, match="blocks on the grid int32"):
        _translate(x, torch.ones(6, 2, 5), torch.zeros(6, 2, 5), "int32", 1, 4)


def test_weights_and_activations_of_a_model():
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.randn(5, 8, generator=torch.Generator().manual_seed(1)))
            self.weight_scale = torch.nn.Buffer(self.weight.detach().abs().amax(1) / 127)

        def forward(self, x):
            x = fake_quantize(x, torch.tensor(0.05), torch.tensor(100.0), "uint8")
            weight = fake_quantize(self.weight, self.weight_scale, torch.zeros(5), "int8", 0)
            return torch.nn.functional.linear(x, weight)

    x, model = torch.randn(3, 8), Model()
    got = run(export(model, x), x)
    np.testing.assert_allclose(got, model(x).detach().numpy(), rtol=1e-5, atol=1e-6)


def test_grid_names_match_what_affine_parameters_gives():
    assert Grid(8).name == "uint8"
