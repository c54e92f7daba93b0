"""What a target is said to run, run."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import qnb
from qnb.errors import TargetError
from qnb.export import export_onnx
from qnb.graph import capture
from qnb.measures.layers.error import ErrorStats
from qnb.runtimes import OnnxRuntime, socs
from qnb.targets import TARGETS, supported

HTP = [name for name in TARGETS if TARGETS[name].htp_arch]
FLOATS = {
    "htp-v68": "sm7450",
    "htp-v69": "sm8450",
    "htp-v73": "sm8550",
    "htp-v75": "sm8650",
    "htp-v79": "sm8750",
    "htp-v81": "sm8850",
}
"""For floats QNN must know the SoC."""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """``written(target, precision)`` -> (sim, file, batch); targets with the same rules share them."""
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 10)
    batch = torch.randn(4, 3, 6, 6)
    captured, folder, made = capture(nn.Sequential(*layers).eval(), batch), tmp_path_factory.mktemp("files"), []

    def write(name, precision):
        rules = replace(TARGETS[name], name="", description="", notes={}, precisions=(), htp_arch=None)
        for known, known_precision, found in made:
            if (known, known_precision) == (rules, precision):
                return found
        sim = qnb.QuantSim(captured, precision=precision, target=name).calibrate([batch])
        integers = precision.startswith("w")
        path = export_onnx(sim, folder / f"{len(made)}.onnx", batch=1, integer_io=integers)
        made.append((rules, precision, (sim, path, batch)))
        return made[-1][2]

    return write


def agreement_db(sim, runtime, batch):
    stats = ErrorStats()
    with torch.no_grad():
        stats.update(sim(batch), runtime.run(batch))
    return stats.sqnr_db


@pytest.mark.slow
@pytest.mark.parametrize("target", HTP)
def test_htp_runs_what_it_is_said_to_run(htp, written, target):
    for precision in supported(target)["precision"]:
        sim, path, batch = written(target, precision)
        runtime = htp(path, target if precision.startswith("w") else FLOATS[target], threads=1)
        assert set(runtime.placement()["provider"]) == {"HTP"}
        assert agreement_db(sim, runtime, batch) >= (25 if precision.endswith("a8") else 45), precision


@pytest.mark.parametrize("target", ["htp-v68", "htp-v69"])
def test_htp_refuses_the_rest_by_name(htp, written, target):
    assert "w16a16" not in set(supported(target)["precision"])
    with pytest.raises(TargetError, match=rf"{target} .*does not take 0 \(Conv\).*w8a16"):
        htp(written(target, "w16a16")[1], target).load()


@pytest.mark.parametrize(("soc", "takes"), [("sm7325", False), ("sm7550", False), ("sm8550", True)])
def test_float16_is_not_on_every_soc(htp, written, soc, takes):
    target = socs().set_index("soc").loc[soc, "target"]
    note = supported(target).set_index("precision").loc["fp16", "note"]
    assert (socs().set_index("soc").loc[soc, "name"].removeprefix("Snapdragon ") in note) == (not takes)
    runtime = htp(written(target, "fp16")[1], soc)
    if takes:
        runtime.load()
    else:
        with pytest.raises(TargetError, match="Conv"):
            runtime.load()


@pytest.mark.slow
def test_onnxruntime_runs_what_it_is_said_to_run(written):
    table = supported("onnxruntime-cpu").set_index("precision")
    for precision, note in table["note"].items():
        sim, path, batch = written("onnxruntime-cpu", precision)
        runtime = OnnxRuntime(path, threads=1)
        assert agreement_db(sim, runtime, batch) >= 60, precision
        share = runtime.placement().attrs["integer_share"]
        assert share == (1.0 if note == "integer kernels" else 0.0), precision


def test_every_htp_target_has_a_soc():
    assert set(HTP) == set(socs()["target"]) == set(FLOATS)
    assert set(FLOATS.values()) <= set(socs()["soc"])


def test_the_table():
    table = supported("htp-v75")
    assert list(table.columns) == ["precision", "weights", "activations", "note", "verified"]
    assert tuple(table["precision"]) == TARGETS["htp-v75"].precisions
    stored = table.set_index("precision")[["weights", "activations"]].apply(tuple, axis=1)
    assert stored["w4a16"] == ("int4 per channel", "uint16") and stored["w8a8"] == ("int8 per channel", "uint8")
    assert stored["fp32"] == ("float32", "float32") and stored["fp16"] == ("float16", "float16")
    assert set(table["verified"]) == {"HTP emulator"}
    assert supported(TARGETS["htp-v75"]).equals(table)


@pytest.mark.parametrize("target", list(TARGETS))
def test_every_target_has_one(target):
    table = supported(target)
    assert len(table) == len(TARGETS[target].precisions) and not table.isna().any(axis=None)
    noted = set(TARGETS[target].notes) - {"*"}
    assert noted <= set(table["precision"])


def test_an_unknown_target_is_named():
    with pytest.raises(TargetError, match="there is no 'htp-v75x'.*Did you mean 'htp-v75'"):
        supported("htp-v75x")
