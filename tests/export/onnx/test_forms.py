"""Forms of an exported file: integers, float16, float32, other floats, integer ends."""

import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import qnb
from qnb.export import export_onnx
from qnb.runtimes import OnnxRuntime
from tests.export.files import File, agreement_db, calibrated, exported, net, simulated
from tests.models import images, zoo


def test_fp16(sims, tmp_path):
    runtime = exported(sims("fp16"), tmp_path / "m.onnx")
    file = File(runtime.path)
    assert runtime.metadata["form"] == "fp16"
    assert {v.elem_type for v in (*file.inputs.values(), *file.outputs.values())} == {onnx.TensorProto.FLOAT}
    assert {file.type_of(n) for n in ("0.weight", "0.bias", "3.weight", "3.bias")} == {"FLOAT16"}
    assert "FLOAT" not in {file.type_of(n) for n in file.initializers}
    assert agreement_db(sims("fp16"), runtime, images()) >= 50


def test_forms_share_graph_and_tensor_names(sims, tmp_path):
    files = {form: File(export_onnx(sims(), tmp_path / f"{form}.onnx", form=form)) for form in ("qdq", "fp16", "fp32")}
    assert not files["fp32"].ops("QuantizeLinear", "DequantizeLinear", "Cast")
    for file in files.values():
        assert list(file.inputs) == ["input"] and list(file.outputs) == ["output"]
        assert {"0.weight", "0.bias", "3.weight"} <= {*file.initializers, *file.maker}
    sim = qnb.QuantSim(sims().captured, precision="fp32")
    assert agreement_db(sim, OnnxRuntime(files["fp32"].path), images()) >= 110


def test_bf16(sims, tmp_path):
    runtime = exported(sims("bf16"), tmp_path / "m.onnx")
    assert runtime.metadata["precision"] == "bf16" and runtime.metadata["form"] == "qdq"
    assert agreement_db(sims("bf16"), runtime, images()) >= 35


@pytest.mark.parametrize("precision", ["fp8_e4m3", "fp8_e5m2"])
def test_fp8(sims, tmp_path, precision):
    """Node by node: ONNX Runtime's optimizer takes a ReLU before an 8-bit float for one before uint8, and drops it."""
    path = export_onnx(sims(precision), tmp_path / "m.onnx")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {"input": images().numpy()})
    # A sum in another order falls on the next of few values now and then.
    wanted = simulated(sims(precision), images())["output"]
    assert (torch.from_numpy(got) == wanted).float().mean() >= 0.8
    torch.testing.assert_close(torch.from_numpy(got), wanted, rtol=0.3, atol=0.02)


@pytest.mark.parametrize(("precision", "kind"), [("w8a8", "UINT8"), ("w8a16", "UINT16")])
def test_integer_ends(sims, tmp_path, precision, kind):
    sim, x = sims(precision), images(seed=1)
    outside = exported(sim, tmp_path / "floats.onnx")
    runtime = exported(sim, tmp_path / "codes.onnx", integer_io=True)
    file = File(runtime.path)
    wanted = getattr(onnx.TensorProto, kind)
    assert {v.elem_type for v in (*file.inputs.values(), *file.outputs.values())} == {wanted}
    assert set(runtime.metadata["inputs"]) == {"input"} and set(runtime.metadata["outputs"]) == {"output"}
    assert torch.equal(runtime.run(x), outside.run(x))


def test_integer_ends_of_a_model_with_other_inputs_and_outputs(tmp_path):
    """Token ids stay what they are; the float output becomes codes."""
    model, batch = zoo()["lstm"]
    sim = calibrated(model, batch, "w8a8")
    runtime = exported(sim, tmp_path / "m.onnx", integer_io=True)
    assert runtime.inputs[0].dtype == torch.int64 and runtime.outputs[0].dtype == torch.uint8
    assert agreement_db(sim, runtime, batch) >= 25


def test_an_integer_output_that_is_read_inside_the_model_too(tmp_path):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)

        def forward(self, x):
            y = self.conv(x)
            return torch.sigmoid(y), y

    x = torch.randn(2, 3, 5, 5)
    sim = calibrated(Model().eval(), x, "w8a8")
    runtime = exported(sim, tmp_path / "m.onnx", integer_io=True)
    assert [t.dtype for t in runtime.outputs] == [torch.uint8] * 2
    for given, wanted in zip(runtime.run(x), sim(x), strict=True):
        assert torch.allclose(given, wanted, atol=0.01)


def test_a_superfluous_relu_is_left_out_and_a_needed_one_kept(tmp_path):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)

        def forward(self, x):
            y = F.relu(self.conv(x))
            return torch.cat([y, x], 1) if self.joined else y

    for joined in (False, True):
        model = Model().eval()
        model.joined = joined
        file = File(export_onnx(calibrated(model, images()), tmp_path / "m.onnx"))
        assert len(file.ops("Relu")) == joined, "in a concat, the range goes down to the input's"


@pytest.mark.parametrize(("batch", "keys", "gathers"), [(1, 8, 0), (1, 7, 1), (None, 8, 1)])
def test_a_gather_of_everything_is_a_reshape(tmp_path, batch, keys, gathers):
    """As transformers make their attention masks; HTP has no GatherND."""

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 8)

        def forward(self, x):
            samples = torch.arange(x.shape[0])[:, None, None]
            return self.fc(x)[samples, torch.arange(keys)] * 2

    x = torch.randn(4, 8)
    sim = calibrated(Model().eval(), x)
    runtime = exported(sim, tmp_path / "m.onnx", batch=batch)
    assert len(File(runtime.path).ops("GatherND")) == gathers
    assert agreement_db(sim, runtime, x) >= 25


def test_a_switched_off_quantizer_leaves_its_tensor_in_float(tmp_path):
    x = images()
    sim = calibrated(net(), x).disable("0")
    runtime = exported(sim, tmp_path / "m.onnx")
    file = File(runtime.path)
    assert "0.weight" in file.initializers and file.type_of("0.weight") == "FLOAT"
    assert agreement_db(sim, runtime, x) >= 25


def test_mixed_precision(tmp_path):
    x = images()
    sim = calibrated(net(), x, "w8a16", "htp-v75").set_precision("3", "w4a8")
    runtime = exported(sim, tmp_path / "m.onnx")
    file = File(runtime.path)
    assert [file.type_of(file.maker[f"{n}.weight"].input[0]) for n in "03"] == ["INT8", "INT4"]
    assert sorted(file.type_of(n.input[2]) for n in file.ops("QuantizeLinear"))[-1] == "UINT8"
    assert agreement_db(sim, runtime, x) >= 25
