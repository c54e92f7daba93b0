"""A calibration method for some layers: theirs become what a whole calibration with it gives, the others' stay."""

import pytest
import torch
from torch import nn

import qnb
from qnb.errors import InputError


@pytest.fixture
def parts():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    return model, [torch.randn(16, 6) for _ in range(3)]


def encodings(sim):
    frame = sim.encodings().query("kind == 'activation'")
    return dict(zip(frame.layer, zip(frame["min"], frame["max"], strict=True), strict=True))


def test_only_theirs_change(parts):
    model, batches = parts
    plain = qnb.QuantSim(model, batches[0], "w8a8").calibrate(batches)
    whole = qnb.QuantSim(model, batches[0], "w8a8").calibrate(batches, "percentile", percentile=90)
    mixed = plain.copy().calibrate(batches, "percentile", layers="2", percentile=90)
    found, before, after = encodings(mixed), encodings(plain), encodings(whole)
    assert found["2"] == after["2"] != before["2"]
    assert found["0"] == before["0"] and found["4"] == before["4"]
    assert mixed.set_precision("2", "w8a16").calibrated


def test_unknown_layers_and_failures_leave_the_sim_as_it_was(parts):
    model, batches = parts
    sim = qnb.QuantSim(model, batches[0], "w8a8").calibrate(batches)
    before = encodings(sim)
    with pytest.raises(InputError, match="no layer matches 'x'"):
        sim.calibrate(batches, layers="x")
    with pytest.raises(qnb.errors.CalibrationError):
        sim.calibrate([batches[0] * float("nan")], "mse", layers="2")
    assert encodings(sim) == before and sim(batches[0]).isfinite().all()
