"""Qualcomm's HTP, emulated: what it runs, what it refuses, what it writes."""

import re
import shutil
import subprocess
import sys

import onnx
import pytest
import torch

from qnb.errors import DependencyError, FileError, InputError, TargetError
from qnb.runtimes import OnnxRuntime, QnnHtp, qnn, qnn_available, qnn_library, soc


@pytest.fixture
def x():
    return torch.randn(3, 3, 8, 8)


def test_it_agrees_with_the_cpu_within_one_step(htp, quantized, x):
    path = quantized()
    runtime = htp(path)
    assert runtime.inputs[0].shape == (1, 3, 8, 8) and runtime.name == "htp"
    steps = ((runtime.run(x) - OnnxRuntime(path).run(x)) / 0.06).round()
    assert steps.abs().max() <= 1 and (steps == 0).float().mean() > 0.9


@pytest.mark.parametrize("activations", ["uint8", "uint16"])
def test_integer_ends(htp, quantized, x, activations):
    path = quantized("i.onnx", activations=activations, integers=True)
    steps = (htp(path).run(x) - OnnxRuntime(path).run(x)) / 0.06
    assert steps.abs().max() <= 2.01


def test_pieces_of_a_batch(htp, quantized, x):
    wanted = htp(quantized()).run(x)
    for batch in (2, 3):
        assert torch.equal(htp(quantized(), batch=batch).run(x), wanted)
        assert torch.equal(htp(quantized("fixed.onnx", batch)).run(x), wanted)


def test_values(htp, quantized, x):
    found = htp(quantized()).values(["x_codes", "y_codes", "w", "y"], x)
    assert found["x_codes"].dtype == found["y_codes"].dtype == torch.uint8
    assert torch.allclose(found["y_codes"].float() * 0.06, found["y"], atol=1e-5)
    assert found["w"].shape == (4, 3, 3, 3)


def test_placement_and_several_sessions(htp, quantized, x):
    a, b = htp(quantized(), "sm8350"), htp(quantized(), "htp-v75")
    before = a.run(x)
    b.run(x)
    assert torch.equal(a.run(x), before)
    frame = b.placement()
    assert list(frame.columns) == ["node", "op", "provider"] and set(frame["provider"]) == {"HTP"}
    assert "conv:Conv" in set(frame["node"])


def test_a_node_that_htp_does_not_take_is_named(htp, quantized, x):
    path = quantized(op="Erf")
    with pytest.raises(
        TargetError, match=r"sm8650 \(Hexagon v75\) does not take y:Erf \(Erf\).*fallback=True"
    ) as caught:
        htp(path).run(x)
    assert "Conv" not in caught.value.received and "Quantize" not in caught.value.received
    runtime = htp(path, fallback=True)
    frame = runtime.placement().set_index("node")["provider"]
    assert frame["y:Erf"] == "CPU" and frame["conv:Conv"] == "HTP"
    assert (runtime.run(x) - OnnxRuntime(path).run(x)).abs().max() <= 0.07


def test_w16a16_needs_v73(htp, quantized, x):
    path = quantized(activations="uint16", weights="int16")
    assert htp(path, "sm8550").run(x).shape == (3, 4, 8, 8)
    with pytest.raises(TargetError, match=r"sm8450 \(Hexagon v69\) does not take conv:Conv.*w8a16") as caught:
        htp(path, "sm8450").run(x)
    assert "w16a16" not in caught.value.remedy and "fallback" not in caught.value.remedy


def test_open_dimensions(htp, floats):
    with pytest.raises(InputError, match=r"leaves 'T' open.*shapes=\{'T': 128\}"):
        htp(floats)
    assert htp(floats, shapes={"T": 4}).inputs[1].shape == (1, 4)


def test_floats_run_in_fp16(htp, tmp_path):
    ends = [onnx.helper.make_tensor_value_info(name, 1, ["N", 8]) for name in "xy"]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Sigmoid", ["x"], ["y"])], "g", ends[:1], ends[1:])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)]), tmp_path / "f.onnx")
    runtime, x = htp(tmp_path / "f.onnx"), torch.randn(2, 8)
    assert runtime.fp16 and 0 < (runtime.run(x) - x.sigmoid()).abs().max() < 2e-3


def test_an_emulator_has_no_latency(htp, quantized, monkeypatch):
    runtime = htp(quantized())
    monkeypatch.setattr(qnn, "emulated", lambda: True)
    with pytest.raises(TargetError, match="the emulator on .*To fix: measure on the device") as caught:
        runtime.latency()
    assert caught.value.operation == "QnnHtp.latency"
    monkeypatch.setattr(qnn, "emulated", lambda: False)
    assert runtime.latency(runs=1, warmup=0).runtime == "htp"


@pytest.mark.parametrize("machine", ["x86_64", "AMD64", "ARM64", "aarch64"])
def test_emulated(monkeypatch, machine):
    monkeypatch.setattr(qnn.platform, "machine", lambda: machine)
    assert qnn.emulated() == machine.lower().startswith(("x86", "amd"))


def test_compile(htp, quantized, x, tmp_path):
    runtime = htp(quantized("i.onnx", integers=True))
    path = runtime.compile(tmp_path / "out" / "m.onnx")
    assert sorted(p.name for p in path.parent.iterdir()) == ["m.onnx", "m_qnn.bin"]
    compiled = htp(path)
    assert compiled.metadata == {**runtime.metadata, "soc": "sm8650"} and compiled.inputs == runtime.inputs
    assert torch.equal(compiled.run(x), runtime.run(x))
    assert list(compiled.placement()["op"]) == ["EPContext"]
    before = path.read_bytes()
    assert runtime.compile(path) == path and path.read_bytes() == before
    moved = shutil.copy(runtime.path, path.parent / "elsewhere.onnx")
    assert htp(moved).compile(tmp_path / "m.onnx").read_bytes() == before, "wherever the original lies"


def test_compile_refuses(htp, quantized, tmp_path):
    path = quantized()
    for wrong in (path, tmp_path / "m.bin"):
        with pytest.raises(InputError, match="give another path"):
            htp(path).compile(wrong)
    compiled = htp(path).compile(tmp_path / "m.onnx")
    with pytest.raises(FileError, match="compiled already"):
        htp(compiled).compile(tmp_path / "n.onnx")
    with pytest.raises(TargetError, match="compiled for sm8650, not for sm8750.*soc='sm8650'"):
        htp(compiled, "sm8750")
    with pytest.raises(FileError, match="open it with QnnHtp"):
        OnnxRuntime(compiled)
    with pytest.raises(TargetError, match="Erf"):
        htp(quantized("e.onnx", op="Erf")).compile(tmp_path / "out" / "e.onnx")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("name", ["sm8350", "sm8450", "sm8550", "sm8650", "sm8750", "sm8850", "htp-v73", "htp-v79"])
def test_qnn_agrees_with_the_table(htp, quantized, tmp_path, name):
    path = htp(quantized(), name).compile(tmp_path / "m.onnx")
    written = re.search(rb"soc_type=(\w+);arch=(\d+)", path.with_name("m_qnn.bin").read_bytes())
    assert int(written[2]) == soc.get(name).htp_arch
    if not name.startswith("htp"):
        assert written[1].decode().lower() == name


def test_nothing_is_printed(htp, quantized):
    code = f"from qnb.runtimes import QnnHtp; QnnHtp({str(quantized())!r}).load(); print('done')"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (found.stdout, found.stderr) == ("done\n", "")


def test_an_unknown_soc_is_an_error(htp, quantized):
    with pytest.raises(TargetError, match="Did you mean 'sm8650'"):
        htp(quantized(), "sm8651")


def test_without_the_package(monkeypatch, quantized):
    path = quantized()
    monkeypatch.setattr(qnn_library, "unsupported", lambda: None)
    monkeypatch.setitem(sys.modules, "onnxruntime_qnn", None)
    assert qnn_available().startswith("onnxruntime-qnn")
    with pytest.raises(DependencyError, match=r"pip install 'qnb\[qnn\]'") as caught:
        QnnHtp(path)
    assert isinstance(caught.value, ImportError)
    assert OnnxRuntime(path).run(torch.zeros(1, 3, 8, 8)).shape == (1, 4, 8, 8)


def test_without_onnx_runtime(monkeypatch, quantized):
    path = quantized()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(DependencyError, match="onnxruntime is not installed"):
        OnnxRuntime(path)


@pytest.mark.parametrize(
    ("system", "machine", "libc", "wanted"),
    [
        ("Linux", "x86_64", ("glibc", "2.35"), None),
        ("Windows", "AMD64", ("", ""), None),
        ("Windows", "ARM64", ("", ""), None),
        ("Linux", "x86_64", ("glibc", "2.31"), "glibc 2.31"),
        ("Linux", "aarch64", ("glibc", "2.39"), "Linux on aarch64"),
        ("Darwin", "arm64", ("", ""), "Darwin on arm64"),
        ("Linux", "x86_64", ("", ""), "Linux on x86_64"),
    ],
)
def test_platforms(monkeypatch, system, machine, libc, wanted):
    fakes = {"system": lambda: system, "machine": lambda: machine, "libc_ver": lambda: libc}
    for name, fake in fakes.items():
        monkeypatch.setattr(qnn_library.platform, name, fake)
    found = qnn_library.unsupported()
    assert found is None if wanted is None else found.startswith(wanted)
    if wanted:
        with pytest.raises(DependencyError, match="does not run on .*x86-64 Linux with glibc 2.35"):
            qnn_library.need_qnn("QnnHtp")
