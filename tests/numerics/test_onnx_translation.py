"""The operator exported to ONNX gives the same numbers in ONNX Runtime."""

import warnings

import numpy as np
import onnxruntime
import pytest
import torch

from qnb.errors import PrecisionError
from qnb.numerics import affine_parameters, fake_quantize, parse_grid
from qnb.numerics.onnx_translation import OPSET, _translate, translation_table


class Quantized(torch.nn.Module):
    """Quantizes its input in several ways: ``(scale, zero_point, grid, axis, block_size)`` each."""

    def __init__(self, ways):
        super().__init__()
        self.rest = [way[2:] for way in ways]
        for i, (scale, zero_point, *_) in enumerate(ways):
            self.register_buffer(f"scale{i}", scale)
            self.register_buffer(f"zero_point{i}", zero_point)

    def forward(self, x):
        return tuple(
            fake_quantize(x, getattr(self, f"scale{i}"), getattr(self, f"zero_point{i}"), *rest)
            for i, rest in enumerate(self.rest)
        )


def export(module, x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval(),
            (x,),
            dynamo=True,
            opset_version=OPSET,
            custom_translation_table=translation_table(),
            verbose=False,
        )
    return program.model_proto


def run(proto, x):
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x.numpy()})


def check(ways, x):
    """Runs all ways in one file and returns its operators."""
    module = Quantized(ways)
    proto = export(module, x)
    for way, got, want in zip(ways, run(proto, x), module(x), strict=True):
        np.testing.assert_array_equal(got, want.numpy(), err_msg=str(way))
    return [node.op_type for node in proto.graph.node]


@pytest.fixture
def x():
    return torch.randn(6, 8, 5, generator=torch.Generator().manual_seed(0)) * 3


INTEGERS = ["int8", "uint8", "int16", "uint16", "int4", "uint4", "uint5", "int3", "int12", "uint12"]


def test_per_tensor(x):
    ways = []
    for grid in INTEGERS:
        # Narrower than the data, so that values saturate.
        ways.append((*affine_parameters(x.min() * 0.8, x.max() * 0.8, parse_grid(grid)), grid))
    ways.append((torch.tensor([0.05]), torch.tensor([7.0]), "uint8"))
    kinds = check(ways, x)
    assert kinds.count("QuantizeLinear") == kinds.count("DequantizeLinear") == len(ways)
    assert kinds.count("Clip") == 4, "only bit-widths that ONNX lacks are clipped"


def test_per_channel(x):
    ways = []
    for axis in (0, 1, -1):
        scale = torch.linspace(0.01, 0.2, x.shape[axis])
        for grid in ("int8", "int4", "int6"):
            ways.append((scale, torch.zeros_like(scale), grid, axis))
        ways.append((scale, torch.arange(len(scale)) * 10.0, "uint8", axis))
    check(ways, x)


def test_blocks(x):
    full, shared = (
        torch.linspace(0.1, 0.5, 60).reshape(6, 2, 5),
        torch.linspace(0.1, 0.5, 12).reshape(6, 2, 1),
    )
    check([(scale, torch.zeros_like(scale), "int4", 1, 4) for scale in (full, shared)], x)


def test_32_bits(x):
    scale = torch.linspace(1e-9, 1e-8, 6)
    check([(scale, torch.zeros_like(scale), "int32", 0)], x)


def test_float_grids(x):
    check(
        [(torch.tensor(0.25), torch.tensor(0.0), grid) for grid in ("fp16", "bf16", "fp8_e4m3", "fp8_e5m2")],
        x,
    )


def test_32_bit_blocks_are_refused(x):
    with pytest.raises(PrecisionError, match="blocks on the grid int32"):
        _translate(x, torch.ones(6, 2, 5), torch.zeros(6, 2, 5), "int32", 1, 4)


def test_weights_and_activations_of_a_model():
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.randn(5, 8, generator=torch.Generator().manual_seed(1)))
            self.register_buffer("weight_scale", self.weight.detach().abs().amax(1) / 127)

        def forward(self, x):
            x = fake_quantize(x, torch.tensor(0.05), torch.tensor(100.0), "uint8")
            weight = fake_quantize(self.weight, self.weight_scale, torch.zeros(5), "int8", 0)
            return torch.nn.functional.linear(x, weight)

    x, model = torch.randn(3, 8, generator=torch.Generator().manual_seed(2)), Model()
    (got,) = run(export(model, x), x)
    np.testing.assert_allclose(got, model(x).detach().numpy(), rtol=1e-5, atol=1e-6)
