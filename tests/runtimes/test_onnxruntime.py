"""ONNX Runtime's CPU: running, pieces of batches, inner tensors, placement, time."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from qnb.errors import FileError, InputError
from qnb.numerics import quantize
from qnb.runtimes import Latency, OnnxRuntime, QnnHtp
from qnb.runtimes import onnxruntime as module

X = (torch.tensor(0.02), torch.tensor(128.0), "uint8")


@pytest.fixture
def x():
    return torch.randn(5, 3, 8, 8)


def test_importing_loads_no_runtime():
    code = "import sys, qnb.runtimes; print([m for m in sys.modules if m.startswith('onnx')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_a_file_describes_itself(quantized):
    runtime = OnnxRuntime(quantized())
    assert repr(runtime) == "OnnxRuntime('q.onnx'): x float32[N, 3, 8, 8] -> y float32[N, 4, 8, 8]"
    assert runtime.metadata == {} and runtime.name == "onnxruntime"
    assert OnnxRuntime(quantized(), batch=2).outputs[0].shape == (2, 4, 8, 8)


def test_run_is_the_integer_arithmetic(quantized, x):
    """``round(float32(accumulator) * float32(scale))``: every element, as the kernels were measured to do it."""
    runtime = OnnxRuntime(quantized())
    weights = (runtime.values(["w"], x)["w"] / 0.01).round()
    accumulator = torch.nn.functional.conv2d((quantize(x, *X) - 128).float(), weights, padding=1)
    scale = np.float32(np.float32(0.02) * np.float32(0.01)) / np.float32(0.06)
    wanted = (accumulator * torch.tensor(scale)).round().clamp(0, 255)
    got = runtime.run(x)
    assert got.dtype == torch.float32 and torch.equal(got, wanted * torch.tensor(0.06))
    assert torch.equal(runtime.values(["y_codes"], x)["y_codes"].float(), wanted)


def test_inputs_come_as_tensors_arrays_or_a_dict(quantized, x):
    runtime = OnnxRuntime(quantized())
    wanted = runtime.run(x)
    for given in (x.numpy(), {"x": x}, x.double(), x.requires_grad_()):
        assert torch.equal(runtime.run(given), wanted)


def test_several_inputs_and_outputs(floats):
    ids, scores = torch.tensor([[1, 2], [3, 1]]), torch.tensor([[1.0, 2.0], [1.0, 2.0]])
    product, place = OnnxRuntime(floats).run(ids.int(), scores.half())
    assert torch.equal(product, ids * scores) and place.tolist() == [1, 0] and place.dtype == torch.int64
    fixed = OnnxRuntime(floats, batch=1, shapes={"T": 2})
    assert torch.equal(fixed.run(ids, scores)[0], product)
    assert fixed.inputs[0].shape == (1, 2)


@pytest.mark.parametrize("activations", ["uint8", "uint16"])
def test_integer_inputs_are_quantized_outside(quantized, x, activations):
    codes = OnnxRuntime(quantized("i.onnx", activations=activations, integers=True))
    inside = quantize(x, *X[:2], activations)
    wanted = codes.run(inside)
    assert wanted.dtype == torch.float32
    assert torch.equal(codes.run(x), wanted)
    assert torch.equal(codes.run(inside.to(torch.int64)), wanted)
    raw = codes.values(["y", "x"], x)
    assert raw["y"].dtype == getattr(torch, activations) and torch.equal(raw["y"].float() * 0.06, wanted)
    assert torch.equal(raw["x"].int(), inside)
    if activations == "uint8":
        assert torch.equal(OnnxRuntime(quantized()).run(x), wanted)
        with pytest.raises(InputError, match="'x' has integers from 0 to 256.*from 0 to 255"):
            codes.run(256 * torch.arange(192).clamp(max=1).view(1, 3, 8, 8))


@pytest.mark.parametrize("batch", [1, 2, 3, 5, 7])
def test_a_fixed_batch_takes_any_number(quantized, x, batch):
    wanted = OnnxRuntime(quantized()).run(x)
    assert torch.equal(OnnxRuntime(quantized("fixed.onnx", batch)).run(x), wanted)
    fixed = OnnxRuntime(quantized(), batch=batch)
    assert torch.equal(fixed.run(x), wanted)
    assert fixed.values(["y_codes"], x)["y_codes"].shape == (5, 4, 8, 8)


def test_values_are_raw(quantized, x):
    found = OnnxRuntime(quantized()).values(["y_codes", "x_codes", "w", "y", "x"], x)
    assert list(found) == ["y_codes", "x_codes", "w", "y", "x"]
    assert found["x_codes"].dtype == torch.uint8 and torch.equal(found["x_codes"].int(), quantize(x, *X))
    assert torch.allclose(found["y_codes"].float() * 0.06, found["y"]) and torch.equal(found["x"], x)
    assert found["w"].shape == (4, 3, 3, 3)  # no batch: it comes once


def test_values_keeps_few_sessions(quantized, x):
    runtime = OnnxRuntime(quantized())
    runtime.values("y_codes", x)
    first = runtime._extended[("y_codes",)]
    runtime.values("y_codes", x)
    assert runtime._extended[("y_codes",)] is first
    for name in ("x_codes", "x_real", "conv", "relu"):
        runtime.values(name, x)
    assert len(runtime._extended) == 4 and ("y_codes",) not in runtime._extended


def test_values_of_four_bit_codes(tmp_path):
    from onnx import TensorProto, helper

    weights = [helper.make_tensor("s", 1, [], [0.5]), helper.make_tensor("z", TensorProto.UINT4, [], [0])]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, 1, ["N", 4]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    path = tmp_path / "4.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    path.write_bytes(model.SerializeToString())
    found = OnnxRuntime(path).values(["q"], torch.tensor([[0.0, 1.0, 7.4, 9.0]]))["q"]
    assert found.tolist() == [[0, 2, 15, 15]] and found.dtype == torch.uint8


def test_weights_in_another_file(quantized, x):
    path = quantized("big.onnx", external=True)
    runtime, before = OnnxRuntime(path), set(path.parent.iterdir())
    assert torch.equal(runtime.run(x), OnnxRuntime(quantized()).run(x))
    found = runtime.values(["y_codes", "w"], x)
    assert found["y_codes"].dtype == torch.uint8 and found["w"].shape == (4, 3, 3, 3)
    assert "QLinearConv" in set(runtime.placement()["op"])
    assert set(path.parent.iterdir()) == before | {path.parent / "q.onnx"}


def test_placement_shows_the_kernels(quantized, floats):
    frame = OnnxRuntime(quantized()).placement()
    assert list(frame.columns) == ["node", "op", "provider"] and isinstance(frame, pd.DataFrame)
    assert "QLinearConv" in set(frame["op"]) and "Conv" not in set(frame["op"])
    assert set(frame["provider"]) == {"CPU"} and frame.attrs["integer_share"] == 1.0
    assert OnnxRuntime(floats).placement().attrs["integer_share"] == 0.0


def test_latency(quantized, floats, x):
    found = OnnxRuntime(quantized(), threads=1).latency(runs=3, warmup=1)
    assert isinstance(found, Latency) and (found.runs, found.threads, found.runtime) == (3, 1, "onnxruntime")
    assert 0 < found.low_ms <= found.median_ms <= found.high_ms
    assert OnnxRuntime(quantized("i.onnx", integers=True)).latency(x, runs=2).runs == 2
    assert OnnxRuntime(floats, shapes={"T": 3}).latency(runs=1).threads is None
    with pytest.raises(InputError, match=r"leaves 'T' open.*shapes=\{'T': 128\}"):
        OnnxRuntime(floats).latency()
    with pytest.raises(InputError, match="runs=0"):
        OnnxRuntime(floats).latency(runs=0)


def test_latency_is_written_out():
    assert str(Latency(3.214, 3.1, 3.6, 1, 1, "x")) == "3.21 ms (3.10 to 3.60, 1 run, 1 thread)"
    assert str(Latency(3.214, 3.1, 3.6, 50, None, "x")).endswith("50 runs, default threads)")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((), "0 inputs. To fix: pass 1: x float32"),
        ((torch.zeros(1, 3, 8, 8),) * 2, "2 inputs"),
        (({"y": torch.zeros(1)},), "inputs 'y'. To fix: pass exactly 'x'"),
        ((torch.zeros(1, 3, 8),), r"'x' has shape \[1, 3, 8\]. To fix: give it 4 dimensions"),
        ((torch.zeros(1, 3, 8, 9),), r"'x' has shape \[1, 3, 8, 9\]. To fix: dimension 3 must be 8"),
        ((torch.zeros(1, 3, 8, 8, dtype=torch.int64),), r"'x' is int64.*float32.*\.to\(torch.float32\)"),
        ((torch.zeros(0, 3, 8, 8),), "an empty batch"),
        (([1.0],), "a list for input 'x'"),
    ],
)
def test_a_wrong_input_is_named(quantized, given, said):
    with pytest.raises(InputError, match=said) as caught:
        OnnxRuntime(quantized()).run(*given)
    assert caught.value.operation == "OnnxRuntime.run"


def test_inputs_that_do_not_go_together(floats):
    runtime, ids, scores = OnnxRuntime(floats), torch.ones(2, 3).long(), torch.ones(2, 3)
    with pytest.raises(InputError, match="batch sizes 2 .'ids'., 1 .'scores'."):
        runtime.run(ids, scores[:1])
    with pytest.raises(InputError, match="'T' is 3 in 'ids' and 2 in 'scores'"):
        runtime.run(ids, scores[:, :2])
    with pytest.raises(InputError, match="'ids' is float32, where the file takes int64"):
        runtime.run(scores, scores)
    with pytest.raises(InputError, match="'ids' is bool"):
        runtime.run(ids.bool(), scores)


def test_a_wrong_name_in_values(quantized, x):
    with pytest.raises(InputError, match="no node of q.onnx makes 'y_code'.*'y_codes'"):
        OnnxRuntime(quantized()).values(["y_code"], x)


def test_wrong_arguments(quantized):
    with pytest.raises(InputError, match="batch=3, but q.onnx has a fixed batch of 2"):
        OnnxRuntime(quantized(batch=2), batch=3)
    with pytest.raises(InputError, match="shapes for 'T', which q.onnx does not have.*its shapes are fixed"):
        OnnxRuntime(quantized(batch=2), shapes={"T": 3})
    for wrong in ({"batch": 0}, {"threads": 1.5}, {"shapes": {"N": True}}):
        with pytest.raises(InputError, match="give a positive integer"):
            OnnxRuntime(quantized(), **wrong)


def test_files_that_are_none(tmp_path, quantized):
    with pytest.raises(FileError, match="there is no file"):
        OnnxRuntime(tmp_path / "absent.onnx")
    (tmp_path / "text.onnx").write_text("not a model")
    with pytest.raises(FileError, match=r"text\.onnx"):
        OnnxRuntime(tmp_path / "text.onnx")
    import onnx

    model = onnx.load(quantized())
    model.graph.node[0].op_type = "Nonsense"
    onnx.helper.set_model_props(model, {"qnb": json.dumps({"a": 1})})
    onnx.save(model, tmp_path / "odd.onnx")
    odd = OnnxRuntime(tmp_path / "odd.onnx")  # the session is made late
    assert odd.metadata == {"a": 1}
    with pytest.raises(FileError, match="ONNX Runtime refuses the file.*Nonsense"):
        odd.load()


@pytest.mark.parametrize(
    ("machine", "flags", "wanted"),
    [
        ("x86_64", "avx2", True),
        ("x86_64", "avx2 avx512_vnni", False),
        ("AMD64", "avx_vnni", False),
        ("arm64", "", False),
    ],
)
def test_exact_kernels_where_the_cpu_saturates(monkeypatch, machine, flags, wanted):
    monkeypatch.setattr(module.platform, "machine", lambda: machine)
    monkeypatch.setattr(module.Path, "read_text", lambda self, **_: f"processor: 0\nflags : {flags}\n")
    assert module.needs_exact_kernels.__wrapped__() is wanted


def test_a_shared_weight_that_exact_kernels_refuse_runs_in_floating_point(monkeypatch, quantized, x):
    import onnxruntime

    session = onnxruntime.InferenceSession

    def refuses(*arguments, disabled_optimizers, **keywords):
        if not disabled_optimizers:
            raise RuntimeError(f"[ONNXRuntimeError] : 1 : FAIL : graph.cc:4164 {module.SHARED_WEIGHT}")
        return session(*arguments, disabled_optimizers=disabled_optimizers, **keywords)

    wanted = OnnxRuntime(quantized()).run(x)
    monkeypatch.setattr(onnxruntime, "InferenceSession", refuses)
    runtime = OnnxRuntime(quantized())
    assert runtime.placement().attrs["integer_share"] == 0
    torch.testing.assert_close(runtime.run(x), wanted, rtol=0, atol=0.0601)


@pytest.mark.parametrize("runtime", [OnnxRuntime, QnnHtp])
def test_every_runtime_has_the_interface(runtime):
    assert {"run", "values", "placement", "latency", "load", "name"} <= set(dir(runtime))


def test_arrays_that_cannot_be_written(quantized):
    x = np.zeros((1, 3, 8, 8), np.float32)
    x.flags.writeable = False
    assert OnnxRuntime(quantized()).run(x).shape == (1, 4, 8, 8)
