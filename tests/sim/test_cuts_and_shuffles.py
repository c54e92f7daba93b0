"""What pairs of ops showed of HTP: paddings, crops, shuffles and bounded activations beside other ops."""

import onnx
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import qnb
from qnb.runtimes import OnnxRuntime
from qnb.runtimes.fidelity import fidelity


class Net(nn.Module):
    """A convolution, then ``function`` of its output and of the input."""

    def __init__(self, function, channels=8):
        super().__init__()
        self.conv, self.function = nn.Conv2d(channels, channels, 3, padding=1), function
        self.norm, self.narrow = nn.BatchNorm2d(channels), nn.Conv2d(2, channels, 3, padding=1)
        nn.init.normal_(self.norm.weight, 1, 0.3)

    def forward(self, x):
        return self.function(self, self.conv(x), x)


def made(function, precision="w8a8", target="htp-v75"):
    torch.manual_seed(0)
    x = torch.randn(2, 8, 8, 8)
    return qnb.QuantSim(Net(function).eval(), x, precision, target=target).calibrate([x]), x


@pytest.mark.parametrize("target", ["generic", "htp-v75"])
@pytest.mark.parametrize(
    ("make", "number"), [(torch.neg, 9.0), (torch.neg, -0.1), (torch.sigmoid, 9.0), (torch.sigmoid, 0.3)]
)
def test_a_padding_with_a_number_is_in_the_range_and_on_the_grid(target, make, number, tmp_path):
    sim, x = made(lambda net, a, x: F.pad(make(a), (1, 1), value=number), target=target)
    edge = sim(x)[..., 0]
    assert torch.allclose(edge, torch.full_like(edge, number), atol=0.05) and edge.unique().numel() == 1
    path = qnb.export_onnx(sim, tmp_path / "m.onnx")
    assert torch.equal(OnnxRuntime(path, threads=1).run(x)[..., 0], edge)


def test_a_padding_with_zero_or_infinity_needs_no_range_of_its_own():
    for number in (0.0, float("-inf")):
        sim, _ = made(lambda net, a, x, n=number: F.max_pool2d(F.pad(a, (1, 1), value=n), 3, 1))
        assert [g.op for g in sim.groups] == ["conv2d"]


def crop_then_norm(net, a, x):
    return net.norm(F.avg_pool2d(a, 3, 1, 1)[:, :, 2:, 1:7])


def test_a_cropped_value_is_normalized_pixel_by_pixel(tmp_path):
    """HTP gives other values where a Slice stands before a depthwise convolution of one pixel."""
    sim, x = made(crop_then_norm)
    path = qnb.export_onnx(sim, tmp_path / "m.onnx")
    assert sum(n.op_type == "Reshape" for n in onnx.load(path).graph.node) == 2
    assert fidelity(sim, OnnxRuntime(path, threads=1), [x]).sqnr_db.min() > 40
    wide, _ = made(crop_then_norm, "w8a16")
    path = qnb.export_onnx(wide, tmp_path / "wide.onnx")
    assert not any(n.op_type == "Reshape" for n in onnx.load(path).graph.node)


def joined(net, a, x):
    return torch.cat([F.hardsigmoid(a), F.relu(x) * x], 1)


def test_a_concatenation_of_a_hardsigmoid_has_a_zero_point():
    wide, narrow = (
        next(s.activation(g.key) for g in s.groups if g.op == "cat")
        for s, _ in (made(joined, "w8a16"), made(joined, "w8a8"))
    )
    assert 0 < int(wide.zero_point) < 20 and int(narrow.zero_point) == 0


def shuffled(net, a, x):
    return torch.cat([F.pixel_shuffle(torch.tanh(a), 2), net.narrow(F.pixel_shuffle(x, 2))], 1)


def unshuffled(net, a, x):
    return F.pixel_unshuffle(torch.sigmoid(a), 2)


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("plain", [F.pixel_shuffle, F.pixel_unshuffle])
def test_a_shuffle_in_steps_gives_the_same_values(plain, factor, tmp_path):
    """Behind a fixed range, that is how HTP computes it; elsewhere it keeps its own op."""
    found = {}
    for name, function in (("steps", torch.sigmoid), ("plain", torch.relu)):
        sim, x = made(lambda net, a, x, f=function: plain(f(a.repeat(1, 2, 1, 1)), factor))
        path = qnb.export_onnx(sim, tmp_path / f"{name}.onnx")
        found[name] = sum(n.op_type == "Transpose" for n in onnx.load(path).graph.node)
        assert torch.equal(OnnxRuntime(path, threads=1).run(x), sim(x))
    assert found["steps"] == 2 > found["plain"]


@pytest.mark.parametrize(
    ("function", "precision", "target", "soc"),
    [
        (crop_then_norm, "w8a8", "htp-v75", "sm8650"),
        (joined, "w16a16", "htp-v75", "sm8650"),
        (shuffled, "w8a8", "htp-v75", "sm8650"),
        (unshuffled, "w8a16", "htp-v75", "sm8650"),
        (lambda net, a, x: torch.tanh(a), "w8a16", "htp-v68", "sm8350"),
        (lambda net, a, x: F.hardsigmoid(a), "w8a16", "htp-v69", "sm8450"),
    ],
)
def test_htp_agrees(htp, function, precision, target, soc, tmp_path):
    sim, x = made(function, precision, target)
    path = qnb.export_onnx(sim, tmp_path / "m.onnx", batch=1)
    least = 45 if precision.endswith("a16") else 25
    assert fidelity(sim, htp(path, soc, threads=1), [x[:1]]).sqnr_db.min() > least
