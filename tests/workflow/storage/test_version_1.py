"""A file of version 1, as it was written then: it loads, goes on, and is saved in today's form."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

import qnb
from qnb.errors import FileError

OLD = Path(__file__).parent / "files" / "version_1.zip"


@pytest.fixture(scope="module")
def loaded():
    return qnb.load(OLD)


def test_its_results_are_there(loaded):
    assert list(loaded.runs) == ["fp32", "w8a8", "w3a4", "w3a4+seq_mse", "fp16"]
    summary = loaded.summary().set_index("run")
    assert summary.metric.tolist() == [1.0] * 5 and summary.size_bytes.tolist() == [1040, 296, 141, 141, 520]
    np.testing.assert_allclose(summary.worst_own_sqnr_db["w3a4"], 15.41, atol=0.01)
    recovered = loaded["w3a4+seq_mse"]
    assert recovered.recovery[0].method == "seq_mse" and recovered.settings["from"] == "w3a4"
    assert loaded.deployments["w8a8"].runtimes[0].note == "No latency." and loaded.performance["w8a8"].note == "why not"
    assert repr(loaded) and loaded._repr_html_()


def test_what_was_not_saved_then_is_empty(loaded):
    assert loaded.checked is None and loaded.proposal is None and loaded._forwards is None
    assert not loaded.sensitivities and not loaded.fronts and not loaded.diagnoses and not loaded["w8a8"].next


def test_its_simulations_compute_and_share_one_model(loaded):
    expected = {"w8a8": 0.2, "w3a4": 3.0}
    x = torch.randn(8, 3, 6, 6, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        exact = loaded["w8a8"].sim.reference_model(x)
        for name, most in expected.items():
            assert 0 < (loaded[name].sim(x) - exact).abs().max() < most
    assert all(run.sim is None or run.sim.captured is loaded.captured for run in loaded.runs.values())


def test_it_is_saved_as_a_file_of_today(loaded, tmp_path):
    loaded.save(tmp_path / "x.qnb")
    again = qnb.load(tmp_path / "x.qnb")
    assert repr(again) == repr(loaded) and again.summary().equals(loaded.summary())
    with zipfile.ZipFile(tmp_path / "x.qnb") as archive:
        assert "model.safetensors" in archive.namelist()
    assert [r.settings for r in again.runs.values()] == [r.settings for r in loaded.runs.values()]


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.bn = torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8)
        self.head = torch.nn.Linear(8, 4)

    def forward(self, x):
        return self.head(torch.relu(self.bn(self.stem(x))).mean((2, 3)))


def test_it_goes_on_with_its_model_and_refuses_another():
    torch.manual_seed(0)
    model, data = Net(), [torch.randn(8, 3, 6, 6) for _ in range(2)]
    with pytest.raises(qnb.errors.InputError, match="another model.*weights of 1 of 2 layers differ, 'stem' first"):
        qnb.load(OLD, model=model.eval(), calibration=data, evaluate=lambda m: 1.0)
    with torch.no_grad():
        for x in data:  # the statistics of its batch norm
            model.train()(x)
    flow = qnb.load(OLD, model=model.eval(), calibration=data, evaluate=lambda m: 1.0)
    assert flow["w8a8"].sim.captured is flow.captured and "calibration data is not" not in repr(flow)
    assert flow.run("w4a8").settings["data"] == flow["w8a8"].settings["data"]


def test_files_from_before_there_were_deployments(tmp_path):
    with zipfile.ZipFile(OLD) as new, zipfile.ZipFile(tmp_path / "old.qnb", "w") as old:
        for name in new.namelist():
            data = new.read(name)
            if name == "workflow.json":
                kept = {k: v for k, v in json.loads(data).items() if k not in ("deployments", "performance")}
                data = json.dumps(kept)
            old.writestr(name, data)
    loaded = qnb.load(tmp_path / "old.qnb")
    assert "w8a8" in loaded and not loaded.deployments and not loaded.performance


@pytest.mark.parametrize("cut", [10, 1000, 9000])
def test_damaged(tmp_path, cut):
    (tmp_path / "x.qnb").write_bytes(OLD.read_bytes()[:cut])
    with pytest.raises(FileError, match="x.qnb"):
        qnb.load(tmp_path / "x.qnb")
