"""Layers of one's own choice take only what the target runs; the rest is refused by name."""

import pytest
import torch
from torch import nn

import qnb
from qnb.errors import TargetError
from qnb.targets import TARGETS, runs
from tests.methods.states import same, state


def calibrated(precision="w8a8", target="htp-v75"):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 5)).eval()
    x = torch.randn(4, 3, 6, 6)
    return qnb.QuantSim(model, x, precision, target=target).calibrate([x])


HTP = {"w16a16", "w8a16", "w8a8", "w4a16", "w4a8", "fp16", "fp32"}


@pytest.mark.parametrize("precision", [*sorted(HTP), "w16a8", "w4a4", "w3a8", "w6a16", "w8a12", "bf16", "fp8_e4m3"])
def test_htp_takes_what_it_runs(precision):
    sim = calibrated()
    if precision in HTP:
        assert sim.set_precision("3", precision).layers().set_index("layer").weight_bits["3"] >= 4
    else:
        with pytest.raises(TargetError, match=f"layer '3' at {precision}, which htp-v75 does not run.*w4a8.*generic"):
            sim.set_precision("3", precision)


def test_sixteen_bit_weights_need_a_target_that_has_them():
    assert calibrated(target="htp-v73").set_precision("0", "w16a16").calibrated
    with pytest.raises(TargetError, match="w16a16, which htp-v69 does not run"):
        calibrated(target="htp-v69").set_precision("0", "w16a16")


def test_what_is_refused_changes_nothing():
    sim = calibrated()
    before = state(sim)
    with pytest.raises(TargetError):
        sim.set_precision(["0", "3"], "w5a8")
    assert same(before, state(sim))


@pytest.mark.parametrize("target", ["generic", "onnxruntime-cpu"])
def test_a_target_that_is_no_device_takes_everything(target):
    bits = calibrated(target=target).set_precision("3", "w3a5").layers().set_index("layer").loc["3"]
    assert (bits.weight_bits, bits.activation_bits) == (3, 5)


def test_without_weights_only_the_output_counts():
    x = torch.randn(4, 8)
    sim = qnb.QuantSim(nn.Sequential(nn.Linear(8, 8), nn.Sigmoid()).eval(), x, "w8a8").calibrate([x])
    assert sim.set_precision("1", "w3a16").layers().activation_bits.tolist() == [8, 16]
    with pytest.raises(TargetError, match="layer '1' at w8a4"):
        sim.set_precision("1", "w8a4")


def test_scales_of_another_granularity_are_the_target_s_own_matter():
    blocks = qnb.Precision(qnb.Grid(4, True, "block", 16), qnb.Grid(8))
    assert calibrated().set_precision("3", blocks).calibrated


def test_a_whole_model_may_be_a_study_and_its_layers_go_back_to_it():
    sim = calibrated("w3a8").set_precision("3", "w8a8")
    assert sim.layers().weight_bits.tolist() == [3, 8]
    assert sim.set_precision("3", "w3a8").layers().weight_bits.tolist() == [3, 3]
    assert calibrated().set_precision(None, "w2a4").layers().weight_bits.tolist() == [2, 2]


@pytest.mark.parametrize("target", list(TARGETS))
def test_every_target_runs_what_its_table_lists(target):
    assert all(runs(target, name) for name in TARGETS[target].precisions)
