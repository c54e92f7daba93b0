"""Which inputs of a concatenation share its encoding, and what HTP then computes."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import qnb
from qnb.runtimes import OnnxRuntime
from qnb.runtimes.fidelity import fidelity


class Heads(nn.Module):
    """Two convolutions, joined; ``first`` is applied to one of them, the other is larger."""

    def __init__(self, first=None, twice=False):
        super().__init__()
        self.a, self.b = nn.Conv2d(4, 6, 3, padding=1), nn.Conv2d(4, 6, 3, padding=1)
        self.c = nn.Conv2d(6, 6, 1)
        self.b.weight.data *= 8
        self.first, self.twice = first or (lambda x: x), twice

    def forward(self, x):
        a, b = self.first(self.a(x)), self.b(x)
        joined = torch.cat([a, b], 1)
        return (joined, self.c(a)) if self.twice else joined


def made(model, precision="w8a8", target="htp-v75"):
    torch.manual_seed(0)
    x = torch.randn(2, 4, 8, 8)
    return qnb.QuantSim(model.eval(), x, precision, target=target).calibrate([x]), x


def scales(sim):
    return {g.layer: float(sim.activation(g.key).scale) for g in sim.groups}


def test_values_that_are_only_joined_share_one_encoding():
    sim, _ = made(Heads())
    assert scales(sim)["a"] == scales(sim)["b"] and len(sim.groups) == 2


def test_a_fixed_range_is_kept():
    sim, _ = made(Heads(torch.sigmoid))
    found = scales(sim)
    assert found["sigmoid"] == pytest.approx(1 / 255) and found["b"] == found["cat"] > 5 * found["sigmoid"]


def test_a_value_that_others_read_keeps_its_steps():
    sim, _ = made(Heads(twice=True))
    found = scales(sim)
    assert found["a"] < found["b"] / 4 and found["b"] == found["cat"]


def resized(x):
    return F.interpolate(x[..., ::2, ::2], scale_factor=2.0, mode="bilinear")


@pytest.mark.parametrize("move", [lambda x: x.flip(-1), lambda x: F.max_pool2d(x, 3, 1, 1), resized])
def test_a_moved_value_counts_as_the_one_it_was(move):
    shared, _ = made(Heads(move))
    assert len(set(scales(shared).values())) == 1
    kept, _ = made(Heads(lambda x: move(torch.sigmoid(x))))
    assert scales(kept)["sigmoid"] == pytest.approx(1 / 255)


def test_other_targets_share_as_before():
    sim, _ = made(Heads(torch.sigmoid), target="generic")
    assert len(set(scales(sim).values())) == 2 and "cat" not in scales(sim)  # "a" alone is not joined


def test_one_encoding_on_both_sides_needs_no_conversion():
    class Shuffle(nn.Module):
        def forward(self, x):
            a, b = torch.sigmoid(x).chunk(2, 1)
            return torch.cat([b, a], 1)

    sim, _ = made(Shuffle())
    assert [g.op for g in sim.groups] == ["sigmoid"]


FIRSTS = {
    "softmax": lambda x: x.softmax(1),
    "sigmoid": torch.sigmoid,
    "relu": F.relu,
    "hardswish": F.hardswish,
    "relu6": F.relu6,
    "prelu": nn.PReLU(6),
    "leaky relu": nn.LeakyReLU(),
}


@pytest.mark.parametrize(
    ("name", "precision"), [*((name, "w8a8") for name in FIRSTS), ("softmax", "w8a16"), ("relu", "w8a16")]
)
def test_htp_agrees(htp, name, precision, tmp_path):
    sim, x = made(Heads(FIRSTS[name], twice=True), precision)
    path = qnb.export_onnx(sim, tmp_path / "m.onnx", batch=1)
    least = 25 if precision == "w8a8" else 45
    assert fidelity(sim, htp(path, "sm8650", threads=1), [x[:1]]).sqnr_db.min() > least
    assert fidelity(sim, OnnxRuntime(path, threads=1), [x]).sqnr_db.min() > least


def test_a_relu_whose_range_begins_below_zero_is_quantized_before_too(htp, tmp_path):
    """Its convolution's kernel cannot end with it, and HTP takes no convolution without a quantized output."""
    sim, x = made(Heads(F.relu))
    relu = next(g for g in sim.groups if g.layer == "a")
    assert float(sim.activation(relu.key).zero_point) > 0  # shared with the larger values
    path = qnb.export_onnx(sim, tmp_path / "m.onnx", batch=1, integer_io=True)
    found = fidelity(sim, OnnxRuntime(path, threads=1), [x])
    assert found.equal_fraction.min() > 0.999  # quantizing twice changes no code
    assert fidelity(sim, htp(path, "sm8650", threads=1), [x[:1]]).max_steps.max() <= 1
