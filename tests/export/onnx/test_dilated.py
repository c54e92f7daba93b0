"""Dilated 1-D convolutions of 16-bit weights: the same numbers in the form that HTP computes exactly."""

import onnx
import pytest
import torch
from torch import nn

import qnb
from qnb.runtimes import OnnxRuntime
from qnb.runtimes.fidelity import fidelity

CASES = {
    "padded": (nn.Conv1d(4, 6, 3, padding=4, dilation=4), 41),
    "valid": (nn.Conv1d(4, 6, 3, dilation=8), 40),
    "depthwise": (nn.Conv1d(4, 4, 5, padding=6, dilation=3, groups=4, bias=False), 17),
    "with a relu": (
        nn.Sequential(nn.Conv1d(4, 6, 3, padding=2, dilation=2), nn.ReLU(), nn.Conv1d(6, 4, 2, dilation=5)),
        23,
    ),
}


def made(name, precision="w16a16", target="htp-v75"):
    torch.manual_seed(0)
    model, length = CASES[name]
    x = torch.randn(3, 4, length)
    return qnb.QuantSim(model.eval(), x, precision, target=target).calibrate([x]), x


@pytest.mark.parametrize("batch", [None, 1])
@pytest.mark.parametrize("name", CASES)
def test_the_file_computes_what_the_simulation_does(name, batch, tmp_path):
    sim, x = made(name)
    path = qnb.export_onnx(sim, tmp_path / "m.onnx", batch=batch)
    convs = [n for n in onnx.load(path).graph.node if n.op_type == "Conv"]
    assert all(max(a.ints) == 1 for n in convs for a in n.attribute if a.name == "dilations")
    assert fidelity(sim, OnnxRuntime(path, threads=1), [x]).sqnr_db.min() > 90


@pytest.mark.parametrize(("precision", "target"), [("w8a16", "htp-v75"), ("w16a16", "generic")])
def test_others_stay_as_they_are(precision, target, tmp_path):
    sim, _ = made("padded", precision, target)
    (conv,) = [n for n in onnx.load(qnb.export_onnx(sim, tmp_path / "m.onnx")).graph.node if n.op_type == "Conv"]
    assert next(a.ints for a in conv.attribute if a.name == "dilations") == [4]


def test_htp_computes_it_as_well_as_a_plain_one(htp, tmp_path):
    sim, x = made("padded")
    path = qnb.export_onnx(sim, tmp_path / "m.onnx", batch=1)
    assert fidelity(sim, htp(path, "sm8650", threads=1), [x[:1]]).sqnr_db.min() > 70
