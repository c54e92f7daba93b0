"""Where quantizers go, on nets small enough to count by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn

import qnb
from qnb.errors import TargetError
from qnb.sim.placement.place import place
from qnb.targets import TARGETS


class Net(nn.Module):
    """conv-bn-relu, depthwise, residual add, concat, softmax."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn, self.relu = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.pool, self.fc = nn.MaxPool2d(2), nn.Linear(16, 5)

    def forward(self, x):
        a = self.relu(self.bn(self.conv(x)))
        b = F.relu(self.depthwise(a))
        c = F.relu(a + b)
        d = self.pool(torch.cat([a, c], 1))
        return torch.softmax(self.fc(d.mean((2, 3))), -1)


@pytest.fixture
def batch():
    return torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def make(model, batch, precision="w8a8", target="generic"):
    return qnb.QuantSim(model.eval(), batch, precision, target=target).calibrate([batch])


def test_generic_has_one_quantizer_per_supergroup(batch):
    sim = make(Net(), batch)
    ops = dict(zip(sim.layers().layer, sim.layers().op, strict=True))
    assert ops == {
        "conv": "conv2d+relu",
        "depthwise": "conv2d",
        "relu_1": "relu",
        "add": "add+relu",
        "mean": "mean",
        "fc": "linear",
        "softmax": "softmax",
    }


def test_concat_shares_one_encoding(batch):
    sim = make(Net(), batch)
    table = sim.encodings().set_index("layer")
    tied = table.loc[["conv", "add"]].query("kind == 'activation'")
    assert tied.scale.nunique() == 1 and tied.zero_point.nunique() == 1
    keys = {g.layer: g.key for g in sim.groups}
    assert keys["conv"] == keys["add"] != keys["fc"]


def test_htp_fuses_depthwise_and_fixes_softmax(batch):
    sim = make(Net(), batch, target="htp-v75")
    assert sim.layers().set_index("layer").op["depthwise"] == "conv2d+relu"
    softmax = sim.encodings().set_index("layer").loc["softmax"]
    assert softmax.scale == pytest.approx(1 / 255) and softmax.zero_point == 0


def test_weights_are_per_channel_and_biases_follow_the_target(batch):
    generic, htp = make(Net(), batch).encodings(), make(Net(), batch, target="htp-v75").encodings()
    conv = generic.query("tensor == 'conv.weight'").iloc[0]
    assert conv.axis == 0 and len(conv.scale) == 8 and conv.symmetric
    assert "bias" not in set(generic.kind)
    assert set(htp.query("kind == 'bias'").tensor) == {"conv.bias", "depthwise.bias", "fc.bias"}


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(4, 3, 3, 3) * 0.2)
        self.m = nn.Parameter(torch.randn(4, 6) * 0.3)

    def forward(self, x):
        y = F.relu(F.conv2d(x, self.w))
        y = torch.softmax(y, 1) + y
        return y.mean((2, 3)) @ self.m


def test_functional_calls_are_all_quantized(batch):
    sim = make(Functional(), batch, target="htp-v75")
    assert list(sim.layers().op) == ["conv2d+relu", "softmax", "add", "mean", "matmul"]
    assert set(sim.encodings().query("kind == 'weight'").tensor) == {"w", "m"}


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(16, 48), nn.Linear(16, 16)

    def forward(self, x, mask=None):
        q, k, v = self.qkv(x).view(*x.shape[:2], 3, 2, 8).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(y.transpose(1, 2).flatten(2))


@pytest.mark.parametrize("target", ["generic", "htp-v68", "htp-v75"])
def test_attention_is_quantized_inside_and_its_mask_is_not(target):
    x = torch.randn(2, 6, 16, generator=torch.Generator().manual_seed(1))
    mask = torch.zeros(2, 1, 6, 6)
    mask[:, :, :, 4:] = torch.finfo(torch.float32).min
    sim = qnb.QuantSim(Attention().eval(), (x, mask), "w8a8", target=target).calibrate([(x, mask)])
    ops = list(sim.layers().op)
    assert ops.count("matmul") == 2 and ops.count("softmax") == 1
    activations = sim.encodings().query("kind != 'weight' and kind != 'bias'")
    assert activations["max"].sub(activations["min"]).max() < 50, "a mask got into a range"
    assert len(sim.encodings().query("kind == 'input'")) == 1, "the mask is quantized"
    table = qnb.compare_layers(sim, [(x, mask)])
    assert (table.own_sqnr_db > 25).all()


def test_second_matmul_input_is_symmetric_at_16_bits_only():
    x = torch.randn(2, 6, 16)
    for precision, symmetric in (("w8a16", True), ("w8a8", False)):
        sim = qnb.QuantSim(Attention().eval(), x, precision, target="htp-v75").calibrate([x])
        table = sim.encodings().set_index("layer")
        assert bool(table.loc["qkv"].query("kind == 'activation'").symmetric.iloc[0]) is symmetric


def test_positive_scalars_need_no_quantizer_and_others_do():
    class Scaled(nn.Module):
        def forward(self, x):
            return torch.relu(x * 0.5) + torch.tanh(x * -2.0)

    sim = make(Scaled(), torch.randn(2, 4), target="generic")
    assert list(sim.layers().op) == ["relu", "mul", "tanh", "add"]


def test_unknown_ops_are_quantized_and_listed():
    class Odd(nn.Module):
        def forward(self, x):
            return torch.special.i0e(torch.relu(x))

    sim = make(Odd(), torch.randn(2, 4))
    assert [op for _, op in sim.plan.unknown] == ["special_i0e"] and "special_i0e" in list(sim.layers().op)


def test_unknown_target_names_the_known_ones(batch):
    with pytest.raises(TargetError, match="htp-v75"):
        qnb.QuantSim(Net().eval(), batch, target="htp-v57")


def test_lstm_weights_and_outputs_are_quantized():
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(8, 8, batch_first=True, bidirectional=True)
            self.fc = nn.Linear(16, 3)

        def forward(self, x):
            return self.fc(self.lstm(x)[0])

    sim = make(Tagger(), torch.randn(2, 5, 8))
    weights = sim.encodings().query("kind == 'weight'").tensor
    assert {"lstm.weight_ih_l0", "lstm.weight_hh_l0", "lstm.weight_ih_l0_reverse", "fc.weight"} <= set(weights)
    assert "lstm" in list(sim.layers().layer)


def test_rms_norm_is_one_layer():
    class RMS(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.fc = nn.Parameter(torch.rand(8) + 0.5), nn.Linear(8, 8)

        def forward(self, x):
            x = self.fc(x)
            return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))

    sim = make(RMS(), torch.randn(4, 8), target="htp-v75")
    assert list(sim.layers().op) == ["linear", "rms_norm"]
    assert "weight" in set(sim.encodings().tensor)


def test_constants_that_branch_and_join_are_looked_at_once():
    """Forty joins of two branches each: a million million ways through, none of which meets an activation."""
    graph, aten = fx.Graph(), torch.ops.aten
    x, table = graph.placeholder("x"), graph.get_attr("table")
    x.meta, table.meta = {"val": torch.empty(2, 2, device="meta"), "layer": "x"}, {}
    value = table

    def call(name, target, *args):
        node = graph.call_function(target, args)
        node.meta = {"val": torch.empty(2, 2, device="meta"), "layer": name, "module": "", "path": ""}
        return node

    for i in range(40):
        parts = [call(f"flip{i}{axis}", aten.flip.default, value, [axis]) for axis in (0, 1)]
        value = call(f"cat{i}", aten.cat.default, parts)
    graph.output((call("relu", aten.relu.default, x), value))
    module = fx.GraphModule({"table": torch.ones(2, 2)}, graph)
    plan = place(module, TARGETS["generic"])
    assert [site.layer for site in plan.activations.values()] == ["x", "relu"]
