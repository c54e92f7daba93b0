"""Layers of 8 and of 16 bits side by side, for a target whose kernels have one activation width."""

from dataclasses import replace
from functools import cache

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import qnb
from qnb import targets
from qnb.export import export_encodings, export_onnx
from qnb.graph import capture
from qnb.sim.calibration import INT32_LIMIT
from tests.export.files import File, agreement_db, exported
from tests.models import transformers_zoo, zoo

UINT8, UINT16 = np.dtype("uint8"), np.dtype("uint16")
FUSED = {"Relu", "Clip", "PRelu", "LeakyRelu", "HardSwish"}
ONE_ACTIVATION = {"Conv", "ConvTranspose", "Gemm", "LayerNormalization", "MatMul"}
SLOW = {"resnet20", "lstm", "gru", "bert", "gpt2", "llama", "whisper"}
NAMES = [
    "resnet20",
    "mobilenet_v2",
    "lstm",
    "gru",
    "unet",
    "functional",
    "attention",
    "reused",
    "bert",
    "gpt2",
    "llama",
    "vit",
    "whisper",
]


@cache
def captured(name):
    model, batch = (zoo() if name in zoo() else transformers_zoo())[name]
    return capture(model, batch), batch


def mixed(model, batch, layers, other="w8a16", precision="w8a8", target="htp-v75"):
    sim = qnb.QuantSim(model, batch, precision, target=target)
    return sim.set_precision(layers, other).calibrate([batch])


def width(file, node) -> np.dtype | None:
    return file.values(node.input[2]).dtype if len(node.input) > 2 else None


def mixed_ops(file) -> list[str]:
    """Ops whose activations differ in width, found without knowing how the file was made."""
    found = []
    for last in file.ops("QuantizeLinear"):
        op = file.maker.get(last.input[0])
        while op is not None and op.op_type in FUSED and file.maker[op.input[0]].op_type != "DequantizeLinear":
            op = file.maker[op.input[0]]
        if op is None or op.op_type == "DequantizeLinear":
            continue
        read = op.input[:1] if op.op_type in ONE_ACTIVATION else op.input
        sources = [file.maker[x] for x in read if x in file.maker and file.maker[x].op_type == "DequantizeLinear"]
        if {UINT8, UINT16} <= {width(file, node) for node in (*sources, last)}:
            found.append(op.name)
    return found


def test_the_list_is_the_zoo():
    assert sorted(NAMES) == sorted([*zoo(), *transformers_zoo()])


@pytest.mark.parametrize(("scale", "shift"), [(3.7e-7, 128), (1 / 255, 0), (0.0123, 255), (1 / 3, 37), (4999.0, 64)])
def test_all_256_codes_are_on_the_wider_grid(scale, shift, tmp_path):
    x = torch.linspace(-shift * scale, (255 - shift) * scale, 64).reshape(16, 4)
    file = File(export_onnx(mixed(nn.Sequential(nn.Linear(4, 3, bias=False)).eval(), x, "0"), tmp_path / "m.onnx"))
    narrow, zero = file.values("input_scale"), file.values("input_zero_point").astype(np.float32)
    wide, wide_zero = file.values("input_wide_scale"), file.values("input_wide_zero_point").astype(np.float32)
    assert narrow.dtype == wide.dtype == np.float32 and file.type_of("input_wide_zero_point") == "UINT16"
    values = (np.arange(256, dtype=np.float32) - zero) * narrow
    codes = np.rint(values / wide) + wide_zero
    assert (codes == 256 * np.arange(256)).all()
    assert ((codes - wide_zero) * wide == values).all()


def convs():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.Flatten()).eval(), torch.randn(
        4, 3, 8, 8
    )


def test_a_layer_of_16_bits_reads_a_wider_input_and_its_bias_keeps_its_value(tmp_path):
    model, x = convs()
    sim = mixed(model, x, "2")
    file = File(export_onnx(sim, tmp_path / "m.onnx"))
    first, second = file.ops("Conv")
    assert [second.input[0], first.input[0]] == ["0_wide_dequantized", "input_dequantized"]
    for key, site in sim.plan.biases.items():
        scale = file.values(f"{site.tensor}_scale").astype(np.float64)
        values = file.values(f"{site.tensor}_quantized") * scale
        assert np.allclose(values, sim.bias(key)(sim.bias_tensor(key)).detach(), rtol=1e-6, atol=0)
    weight = file.values("2.weight_scale").astype(np.float64)
    assert np.allclose(file.values("2.bias_scale"), weight * file.values("0_wide_scale"), rtol=1e-6)
    assert (file.values("2.bias_quantized") % 256 == 0).all() and (file.values("0.bias_quantized") % 256 != 0).any()


def test_an_output_of_8_bits_is_quantized_to_16_first(tmp_path):
    model, x = convs()
    sim = mixed(model, x, "2", "w8a8", "w8a16")
    path = export_onnx(sim, tmp_path / "m.onnx")
    file = File(path)
    assert [node.input[0] for node in file.ops("Conv")] == ["input_dequantized", "0_dequantized"]
    last = file.maker["2_quantized"]
    assert file.maker[last.input[0]].input[0] == "2_wide_quantized"
    assert file.maker["2_wide_quantized"].input[0] == "2"
    assert file.type_of("2_zero_point") == "UINT8" and file.type_of("2_wide_zero_point") == "UINT16"
    table = qnb.fidelity(sim, exported(sim, path), [x]).set_index("layer")
    assert table.max_steps["2"] <= 1 and table.within_one_fraction["2"] == 1 and table.equal_fraction["2"] > 0.98


def test_a_layer_between_two_widths_reads_and_writes_through_16(tmp_path):
    """The sum of 8 and 16 bits, given in 8."""

    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)

        def forward(self, x):
            return torch.relu(self.a(x) + self.b(x)).flatten(1)

    x = torch.randn(4, 3, 6, 6)
    file = File(export_onnx(mixed(Sum().eval(), x, "b"), tmp_path / "m.onnx"))
    (add,) = file.ops("Add")
    assert list(add.input) == ["a_wide_dequantized", "b_dequantized"]
    assert "add_wide_quantized" in file.maker and not mixed_ops(file)


def test_one_wider_form_serves_every_reader(tmp_path):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            y = self.a(x)
            return self.b(y), self.c(y)

    file = File(export_onnx(mixed(Twice().eval(), torch.randn(5, 4), ["b", "c"]), tmp_path / "m.onnx"))
    assert [node.input[0] for node in file.ops("Gemm")][1:] == ["a_wide_dequantized"] * 2
    assert sum("_wide_quantized" in name for name in file.maker) == 1


def test_rows_are_narrowed_in_the_layers_own_shape(tmp_path):
    model, x = nn.Sequential(nn.LayerNorm(12), nn.Linear(12, 6)).eval(), torch.randn(2, 5, 12)
    sim = mixed(model, x, "1", "w8a8", "w8a16")
    file = File(export_onnx(sim, tmp_path / "m.onnx"))
    narrowed = [n for n in file.ops("QuantizeLinear") if width(file, n) == UINT8]
    assert len(narrowed) == 1 and narrowed[0].input[0].endswith("_wide_dequantized")
    rows = [n for n in file.ops("QuantizeLinear") if file.maker.get(n.input[0]) in file.ops("Gemm")]
    assert [width(file, n) for n in rows] == [UINT16]
    assert agreement_db(sim, exported(sim, tmp_path / "m.onnx"), x) >= 40


@pytest.mark.parametrize("bias", [0.05, 1.0, 1e3, 1e7])
def test_a_bias_that_has_no_room_in_int32_gets_less_fine_steps(bias, tmp_path):
    layer = nn.Linear(4, 3)
    with torch.no_grad():
        layer.weight.mul_(1e-3)
        layer.bias.copy_(torch.tensor([bias, -bias, 0.0]))
    x = torch.randn(16, 4)
    sim = mixed(nn.Sequential(layer).eval(), x, "0")
    file = File(export_onnx(sim, tmp_path / "m.onnx"))
    factor = file.values("input_scale") / file.values("input_wide_scale")
    codes = np.abs(file.values("0.bias_quantized").astype(np.int64))
    assert codes.max() <= INT32_LIMIT and factor == 2 ** round(np.log2(factor)) <= 256
    assert factor == 256 or 2 * codes.max() > INT32_LIMIT
    assert (factor < 256) == (bias >= 1)
    values = file.values("0.bias_quantized") * file.values("0.bias_scale").astype(np.float64)
    assert np.allclose(values, [bias, -bias, 0], rtol=1e-6, atol=float(file.values("0.bias_scale").max() * 256))
    assert agreement_db(sim, exported(sim, tmp_path / "m.onnx"), x) >= 60


def test_scores_of_small_span_keep_the_span_that_the_softmax_needs(tmp_path):
    class Scores(nn.Module):
        def forward(self, x):
            return torch.softmax(x.relu(), -1)

    x = torch.rand(8, 6) * 0.1
    file = File(export_onnx(mixed(Scores().eval(), x, "softmax"), tmp_path / "m.onnx"))
    (softmax,) = file.ops("Softmax")
    scale = file.values(file.maker[softmax.input[0]].input[1])
    assert 65535 * scale >= targets.get("htp-v75").min_softmax_input_range_16bit > 255 * file.values("relu_scale")


@pytest.mark.parametrize(("name", "precision"), [("mobilenet_v2", "w8a8"), ("attention", "w8a16")])
def test_one_precision_needs_no_conversion(name, precision, tmp_path):
    target, (model, batch), files = targets.get("htp-v75"), captured(name), []
    assert target.one_activation_width
    for kind in (target, replace(target, one_activation_width=False)):
        sim = qnb.QuantSim(model, batch, precision, target=kind).calibrate([batch])
        files.append(export_onnx(sim, tmp_path / "m.onnx").read_bytes())
    assert files[0] == files[1] and b"_wide_" not in files[0]


@pytest.mark.parametrize("target", ["generic", "onnxruntime-cpu"])
def test_other_targets_need_no_conversion(target, tmp_path):
    model, x = convs()
    sim = mixed(model, x, "2", target=target)
    file = File(export_onnx(sim, tmp_path / "m.onnx"))
    assert not any("_wide" in name for name in (*file.maker, *file.initializers)) and mixed_ops(file)


def test_encodings_files_know_nothing_of_it(tmp_path):
    """Converters of such files put conversions in by themselves."""
    model, x = convs()
    sim = mixed(model, x, "2")
    for version in ("1.0.0", "2.0.0"):
        path = export_encodings(sim, tmp_path / "m.encodings", version=version)
        assert "_wide" not in path.read_text()
        other = qnb.QuantSim(model, x, "w8a8").calibrate([2 * x]).load_encodings(path)
        a, b = sim.encodings(), other.encodings()
        assert a.bits.tolist() == b.bits.tolist() and set(a.bits) == {8, 16, 32}
        kept = a.kind != "bias"
        assert all(np.allclose(p, q, rtol=1e-6) for p, q in zip(a.scale[kept], b.scale[kept], strict=True))


EVEN = [pytest.param(n, 0, marks=pytest.mark.slow if n in SLOW else (), id=n) for n in NAMES]


@pytest.mark.parametrize(("name", "first"), [*EVEN, ("mobilenet_v2", 1), ("attention", 1), ("functional", 1)])
def test_every_model(name, first, tmp_path):
    model, batch = captured(name)
    sim = qnb.QuantSim(model, batch, "w8a8")
    layers = list(dict.fromkeys(g.layer for g in sim.groups))[first::2]
    sim.set_precision(layers, "w8a16").calibrate([batch])
    path = export_onnx(sim, tmp_path / "m.onnx")
    assert not mixed_ops(File(path))
    assert agreement_db(sim, exported(sim, path), batch) >= 35
    onnx.checker.check_model(str(path), full_check=True)
