"""What a target does not run is refused by name; what it runs coarsely is found."""

import pytest
import torch
from torch import nn

import qnb
from qnb.errors import TargetError
from qnb.numerics import Precision
from qnb.sim import limits
from qnb.targets import TARGETS
from qnb.targets import stored as targets


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.long, self.dilated = nn.Conv2d(2, 4, (1, 9), padding=(0, 4)), nn.Conv2d(4, 4, 3, padding=2, dilation=2)
        self.plain, self.soft = nn.Conv2d(4, 4, 7, padding=3), nn.Softplus()

    def forward(self, x):
        return torch.log(self.soft(self.plain(self.dilated(self.long(x)))) + 1) + torch.erf(x.mean())


@pytest.fixture(scope="module")
def sim():
    x = torch.randn(2, 2, 12, 12, generator=torch.Generator().manual_seed(0))
    return qnb.QuantSim(Net().eval(), x, "w8a8").calibrate([x])


def test_each_layer_that_meets_one_is_named(sim):
    found = {(layer, op): limit for layer, op, limit in limits.met(sim)}
    assert set(found) == {
        ("long", "conv2d"),
        ("dilated", "conv2d"),
        ("soft", "softplus"),
        ("log", "log"),
        ("erf", "erf"),
    }
    assert found["log", "log"].refused and not found["dilated", "conv2d"].refused
    assert not list(limits.met(qnb.QuantSim(sim.captured, target="generic")))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"dilation": 2}, ["conv"]),
        ({"stride": 3, "output_padding": 2}, []),
    ],
)
def test_a_transposed_convolution_is_dilated_by_its_dilation(arguments, named):
    net = nn.Sequential()
    net.conv = nn.ConvTranspose2d(2, 2, 3, **arguments)
    sim = qnb.QuantSim(net.eval(), torch.randn(1, 2, 6, 6))
    assert [layer for layer, _, _ in limits.met(sim)] == named


def test_it_holds_at_its_bits(sim):
    found = {layer: limit for layer, _, limit in limits.met(sim)}
    assert found["log"].holds(Precision.parse("w8a16")) and not found["log"].holds(Precision.parse("w8a8"))
    assert found["dilated"].holds(Precision.parse("w16a16")) and not found["dilated"].holds(Precision.parse("w8a16"))
    assert not found["log"].holds(Precision.parse("fp16"))


def test_what_holds_is_asked_of_each_layers_own_bits(sim):
    def named(sim):
        return {layer for layer, _, _ in limits.holding(sim)}

    assert named(sim) == {"erf"}
    assert named(sim.copy().set_precision(["soft", "plain"], "w8a16")) == {"erf", "soft"}
    assert named(sim.copy().set_precision("dilated", "w16a16")) == {"erf", "dilated"}


def test_set_precision_refuses_by_name_and_changes_nothing(sim):
    before = sim.encodings()
    with pytest.raises(TargetError, match=r"layer 'log' \(log\) at w8a16: at 16-bit activations htp-v75 computes log"):
        sim.set_precision(["plain", "log"], "w8a16")
    assert sim.encodings().equals(before)
    sim.copy().set_precision("dilated", "w16a16")  # coarse, but it runs


def test_a_file_keeps_a_targets_limits():
    target = TARGETS["htp-v75"]
    stored = targets.to_json(target)
    assert targets.from_json(stored, "read", "write again") is target
    own = targets.from_json(stored | {"limits": stored["limits"][:1]}, "read", "write again")
    assert own.limits == target.limits[:1]


def test_a_file_from_before_has_none():
    stored = targets.to_json(TARGETS["htp-v75"])
    for name in ("limits", "tied_concat", "written_out"):
        del stored[name]
    old = targets.from_json(stored, "read", "write again")
    assert old.tied_concat and old.limits == old.written_out == ()
