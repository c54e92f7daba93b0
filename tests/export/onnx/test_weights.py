"""What is in an exported file: weights and biases as integers."""

import onnx
import pytest
import torch
from torch import nn

from qnb.export import export_onnx
from qnb.numerics import Grid, Precision
from tests.export.files import File, agreement_db, calibrated, exported, net
from tests.models import images


@pytest.mark.slow
def test_size(tmp_path):
    """5.2 million parameters: a quarter of the FP32 file's bytes at 8 bits, an eighth at 4, and what names take."""
    model = nn.Sequential(
        nn.Conv2d(3, 64, 3, 2),
        nn.ReLU(),
        nn.Conv2d(64, 128, 3, 2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(2048, 2048),
        nn.ReLU(),
        nn.Linear(2048, 480),
    ).eval()
    assert sum(p.numel() for p in model.parameters()) > 5e6
    x, size = images(2, 32), {}
    for precision in ("fp32", "w8a8", "w4a8"):
        path = export_onnx(calibrated(model, x, precision), tmp_path / f"{precision}.onnx")
        size[precision] = path.stat().st_size
    assert size["w8a8"] <= 0.27 * size["fp32"] and size["w4a8"] <= 0.15 * size["fp32"]


@pytest.mark.parametrize(
    ("precision", "kind", "bits"), [("w8a8", "INT8", 8), ("w4a8", "INT4", 4), ("w16a16", "INT16", 16)]
)
def test_weights_are_integers_per_channel_and_biases_int32(sims, tmp_path, precision, kind, bits):
    file = File(export_onnx(sims(precision), tmp_path / "m.onnx"))
    for layer, axis in (("0", 0), ("3", 0)):
        weight = file.maker[f"{layer}.weight"]
        assert weight.op_type == "DequantizeLinear" and file.attributes(weight)["axis"] == axis
        codes, scale, zero_point = weight.input
        assert file.type_of(codes) == file.type_of(zero_point) == kind and not file.values(zero_point).any()
        assert file.values(scale).shape == (file.values(codes).shape[axis],)
        packed = file.initializers[codes].raw_data
        assert len(packed) == -(-file.values(codes).size * bits // 8)
        bias = file.maker[f"{layer}.bias"]
        assert bias.op_type == "DequantizeLinear" and file.type_of(bias.input[0]) == "INT32"
    floats = [n for n, t in file.initializers.items() if t.data_type == onnx.TensorProto.FLOAT]
    assert floats and all(name.endswith("_scale") for name in floats), "no float weight is left in the file"


def test_the_dequantized_weight_is_the_sims(sims, tmp_path):
    sim = sims("w4a8")
    found = exported(sim, tmp_path / "m.onnx").values(["0.weight", "3.weight", "3.bias"], images())
    for key, site in sim.plan.weights.items():
        assert torch.equal(found[site.tensor], sim.weight(key)(sim.weight_tensor(key)).detach())
    key = next(k for k, site in sim.plan.biases.items() if site.tensor == "3.bias")
    torch.testing.assert_close(found["3.bias"], sim.bias_tensor(key), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("grid", "attributes", "scales"),
    [
        (Grid(8, True), {}, ()),
        (Grid(8, True, "channel"), {"axis": 0}, (6,)),
        (Grid(4, True, "block", 16), {"axis": 1, "block_size": 16}, (6, 4)),
    ],
    ids=["tensor", "channel", "block"],
)
def test_granularity(tmp_path, grid, attributes, scales):
    x = torch.randn(8, 64)
    sim = calibrated(nn.Linear(64, 6).eval(), x, Precision(grid, Grid(16)))
    runtime = exported(sim, tmp_path / "m.onnx")
    file = File(runtime.path)
    node = file.maker["weight"]
    found = {name: value for name, value in file.attributes(node).items() if name in ("axis", "block_size")}
    assert found == attributes and file.values(node.input[1]).shape == scales
    assert agreement_db(sim, runtime, x) >= 60


def test_odd_widths_are_held_in_the_next_type_and_clipped(tmp_path):
    x = images()
    sim = calibrated(net(), x, "w3a10")
    runtime = exported(sim, tmp_path / "m.onnx")
    file = File(runtime.path)
    codes = file.maker["0.weight"].input[0]
    assert file.type_of(codes) == "INT4" and set(file.values(codes).astype(int).ravel()) <= set(range(-4, 4))
    quantize = file.ops("QuantizeLinear")
    assert {file.type_of(n.input[2]) for n in quantize} == {"UINT16"}
    clips = file.ops("Clip")
    assert len(clips) == len(quantize)
    assert {(int(file.values(n.input[1])), int(file.values(n.input[2]))) for n in clips} == {(0, 1023)}
    assert agreement_db(sim, runtime, x) >= 60
    assert agreement_db(sim, runtime, 3 * x) >= 60, "values beyond the range saturate at the same code"
