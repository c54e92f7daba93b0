"""Deploying a run: files, runtimes, what the simulation predicted; and what happens when something goes wrong."""

import math
import os
import sys
from pathlib import Path

import pytest
import torch

import qnb
from qnb.errors import Cancelled, FileError, InputError, TargetError
from qnb.runtimes import qnn_library
from tests.flows import new_flow

CPU = "onnxruntime"


@pytest.fixture(scope="module")
def flow():
    """With w8a8, w8a16 and fp16 run; deployments come and go."""
    made = new_flow()
    for precision in ("fp16", "w8a8", "w8a16"):
        made.run(precision)
    return made


@pytest.fixture(scope="module")
def w8a8(flow, tmp_path_factory):
    return flow.deploy("w8a8", tmp_path_factory.mktemp("w8a8"), runtimes=CPU)


def test_the_files_are_there(w8a8):
    folder = Path(w8a8.folder)
    assert sorted(os.listdir(folder)) == [
        "commands.sh",
        "expected",
        "inputs",
        "w8a8-float.onnx",
        "w8a8-sm8650-extensions.json",
        "w8a8-sm8650-htp.json",
        "w8a8.encodings",
        "w8a8.onnx",
    ]
    listed = w8a8.files.set_index("file").size_bytes
    alone = {name: size for name, size in listed.items() if not name.endswith("/")}
    assert {name: (folder / name).stat().st_size for name in alone} == alone and len(alone) == len(listed) - 2
    assert (folder / "commands.sh").read_text() == w8a8.commands


def test_the_simulation_is_compared_at_every_layer(flow, w8a8):
    found = w8a8[CPU]
    layers = flow["w8a8"].sim.layers().layer.tolist()
    assert found.fidelity.layer.tolist() == [*layers, "output"]
    assert found.output_sqnr_db > 25 and (found.fidelity.sqnr_db > 25).all()
    assert found.exact.equal_fraction.min() == 1.0, "integers are predicted bit for bit"
    assert found.placement == {"CPU": sum(found.placement.values())} and not found.fallback_nodes


def test_the_metric_is_the_users_on_the_runtime(flow, w8a8):
    runtime = qnb.runtimes.OnnxRuntime(Path(w8a8.folder) / "w8a8.onnx")
    model = qnb.runtimes.RuntimeModel(flow.captured, runtime)
    assert w8a8[CPU].score.value == flow.evaluate(model).value
    assert abs(w8a8[CPU].drop.value) <= 0.02 and w8a8.reference.value == flow["fp32"].score.value


def test_it_says_whether_the_simulation_told_the_truth(w8a8):
    text = repr(w8a8)
    assert text.startswith("✓ w8a8 deployed") and "qairt-converter" in text and "w8a8.encodings" in text
    assert "<script" not in w8a8._repr_html_() and w8a8.table.runtime.tolist() == ["ONNX Runtime, CPU"]


def test_commands_name_the_files_the_inputs_and_the_soc(w8a8):
    for part in (
        "--input_network w8a8-float.onnx",
        "--quantization_overrides w8a8.encodings",
        "--source_model_input_shape x 1,1,8,8",
        "sm8650",
        "--retrieve_context",
    ):
        assert part in w8a8.commands


def test_latency_only_where_it_says_something(flow, w8a8, tmp_path):
    assert w8a8[CPU].latency.median_ms > 0
    other = flow.deploy("w8a16", tmp_path, runtimes=CPU, evaluate=False)
    assert other[CPU].latency is None and "integer kernels for W8A8 only" in other[CPU].note
    assert other[CPU].score is None


def test_fp16_is_written_in_its_own_form(flow, tmp_path):
    found = flow.deploy("fp16", tmp_path, runtimes=CPU)
    assert found.files.file.tolist() == [
        "fp16.onnx",
        "fp16-sm8650-htp.json",
        "fp16-sm8650-extensions.json",
        "inputs/fp16/",
        "expected/fp16/",
    ]
    assert found[CPU].output_sqnr_db > 45
    assert math.isnan(found[CPU].output.equal_fraction.iloc[0]), "floats have no steps to count"
    assert "--float_bitwidth 16" in found.commands


def test_fp32_can_be_deployed_too(flow, tmp_path):
    assert flow.deploy("fp32", tmp_path, runtimes=CPU, evaluate=False)[CPU].output_sqnr_db > 100


def test_integer_files(flow, tmp_path):
    found = flow.deploy("w8a8", tmp_path, runtimes=CPU, integer_io=True, evaluate=False)
    runtime = qnb.runtimes.OnnxRuntime(tmp_path / "w8a8.onnx")
    assert runtime.inputs[0].dtype == torch.uint8 and found[CPU].exact.equal_fraction.min() == 1.0


def test_measure_shows_in_the_summary(flow):
    table = flow.measure("fp32", "w8a8", "w8a16", repeats=3, threads=1).set_index("run")
    assert table.latency_ms[["fp32", "w8a8"]].gt(0).all() and math.isnan(table.latency_ms["w8a16"])
    assert "integer kernels" in table.note["w8a16"]
    summary = flow.summary().set_index("run")
    assert summary.file_bytes[["fp32", "w8a8", "w8a16"]].equals(table.file_bytes.astype("Int64"))
    assert summary.latency_ms["w8a8"] == table.latency_ms["w8a8"] and math.isnan(summary.latency_ms["fp16"])
    assert summary.activation_bytes["w8a8"] * 2 == summary.activation_bytes["w8a16"]


def test_running_again_forgets_what_was_deployed(tmp_path):
    flow = new_flow()
    flow.run("w8a8")
    flow.deploy("w8a8", tmp_path, runtimes=CPU, evaluate=False)
    flow.measure("w8a8", repeats=2)
    flow.run("w8a8")
    assert not flow.deployments and not flow.performance


@pytest.mark.parametrize("stop_at", ["writing w8a8.encodings", "comparing", "evaluating"])
def test_cancelling_leaves_folder_and_workflow_as_they_were(flow, tmp_path, stop_at):
    (tmp_path / "w8a8.onnx").write_text("the old one")
    before = dict(flow.deployments)

    def stop(done, total, message):
        if message.startswith(stop_at):
            raise Cancelled("test")

    with pytest.raises(Cancelled):
        flow.deploy("w8a8", tmp_path, runtimes=CPU, progress=stop)
    assert os.listdir(tmp_path) == ["w8a8.onnx"] and (tmp_path / "w8a8.onnx").read_text() == "the old one"
    assert flow.deployments == before


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"run": "w4a4"}, InputError, "no run 'w4a4'"),
        ({"runtimes": "tpu"}, InputError, "runtime='tpu'"),
        ({"samples": 0}, InputError, "samples=0"),
        ({"soc": "sm9999"}, TargetError, "sm9999"),
        ({"run": "fp16", "integer_io": True}, InputError, "no integer codes"),
    ],
    ids=["run", "runtime", "samples", "soc", "integers of floats"],
)
def test_what_is_asked_for_is_checked_first(flow, tmp_path, arguments, error, says):
    with pytest.raises(error, match=says):
        flow.deploy(**{"run": "w8a8", "folder": tmp_path / "new", **arguments})
    assert not list(tmp_path.rglob("*.onnx"))


def test_a_file_in_the_folders_place(flow, tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(FileError, match="choose a folder"):
        flow.deploy("w8a8", tmp_path / "out", runtimes=CPU)


def test_a_workflow_from_a_file_has_nothing_to_run(flow, tmp_path):
    flow.save(tmp_path / "flow.qnb")
    with pytest.raises(InputError, match="without model, data and evaluate"):
        qnb.load(tmp_path / "flow.qnb").deploy("w8a8", tmp_path)


def test_without_the_package_htp_is_reported_and_the_rest_works(flow, tmp_path, monkeypatch):
    monkeypatch.setattr(qnn_library, "unsupported", lambda: None)
    monkeypatch.setitem(sys.modules, "onnxruntime_qnn", None)
    found = flow.deploy("w8a8", tmp_path, evaluate=False)
    assert found["htp"].status == "not installed" and "qnb[qnn]" in found["htp"].note
    assert found[CPU].status == "completed" and found.document().tone == "warn"


def test_a_target_without_htp_does_not_ask_for_it(tmp_path):
    flow = new_flow(target="onnxruntime-cpu")
    flow.run("w8a8")
    assert [r.runtime for r in flow.deploy("w8a8", tmp_path, evaluate=False).runtimes] == [CPU]


def test_keyword_inputs_and_dataclass_outputs(tmp_path):
    demo = qnb.demo.transformer()
    flow = qnb.Workflow(demo.model, list(demo.calibration)[:1], demo.evaluate)
    flow.run("w8a16")
    found = flow.deploy("w8a16", tmp_path, runtimes=CPU, samples=4)
    assert found[CPU].output.layer.tolist() == ["logits", "tokens"] and found[CPU].output_sqnr_db > 60
    assert found[CPU].score.value == pytest.approx(flow["w8a16"].score.value, abs=0.01)


def test_on_htp(htp, flow, tmp_path):
    found = flow.deploy("w8a8", tmp_path, runtimes="htp", samples=4, integer_io=True)
    on = found["htp"]
    assert on.status == "completed" and "emulated" in on.title and on.latency is None and "does not predict" in on.note
    assert on.placement == {"HTP": sum(on.placement.values())}
    assert on.exact.equal_fraction.min() >= 0.999 and on.output_sqnr_db > 25 and abs(on.drop.value) <= 0.02
    assert any(name.endswith(".bin") for name in os.listdir(tmp_path))


def test_fp16_on_htp(htp, flow, tmp_path):
    on = flow.deploy("fp16", tmp_path, runtimes="htp", samples=4)["htp"]
    assert on.output_sqnr_db > 45 and abs(on.drop.value) <= 0.005
