"""Recurrent layers that run step by step: in floating point what PyTorch computes, quantized inside otherwise."""

import dataclasses

import pytest
import torch
from torch import nn

import qnb
from qnb.measures.layers.error import ErrorStats
from qnb.targets import TARGETS

STEPS, SAMPLES, FEATURES, HIDDEN = 6, 3, 5, 4
OPTIONS = {
    "plain": {},
    "batch first": {"batch_first": True},
    "no bias": {"bias": False},
    "layers": {"num_layers": 3},
    "both ways": {"bidirectional": True},
    "dropout": {"num_layers": 2, "dropout": 0.5},
    "all": {"batch_first": True, "num_layers": 2, "bidirectional": True, "bias": False},
}


class Recurrent(nn.Module):
    """The sequence and the last states, from zeros or given states."""

    def __init__(self, kind=nn.LSTM, **options):
        super().__init__()
        self.rnn = kind(FEATURES, HIDDEN, **options)

    def forward(self, x, h=None, c=None):
        states = None if h is None else h if c is None else (h, c)
        sequence, last = self.rnn(x, states)
        return (sequence, *last) if isinstance(last, tuple) else (sequence, last)


def made(kind=nn.LSTM, **options):
    torch.manual_seed(0)
    return Recurrent(kind, **options).eval(), torch.randn(STEPS, SAMPLES, FEATURES)


def sqnr_db(wanted, got):
    stats = ErrorStats()
    stats.update(wanted, got)
    return stats.sqnr_db


def runs_steps(sim):
    return any(type(m).__name__ == "Steps" for m in sim.graph_module.modules())


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@torch.no_grad()
def test_floats_are_those_of_pytorch(kind, options):
    model, x = made(kind, **options)
    sim = qnb.QuantSim(model, x, "fp32")
    assert runs_steps(sim)
    for wanted, got in zip(model(x), sim(x), strict=True):
        assert got.shape == wanted.shape and torch.allclose(got, wanted, atol=1e-6)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
@torch.no_grad()
def test_given_states(kind):
    model, x = made(kind, num_layers=2)
    batch = (x, *(torch.randn(2, SAMPLES, HIDDEN) for _ in range(2 if kind is nn.LSTM else 1)))
    for precision, least in (("fp32", 120), ("w16a16", 60)):
        sim = qnb.QuantSim(model, batch, precision).calibrate([batch])
        for wanted, got in zip(model(*batch), sim(*batch), strict=True):
            assert sqnr_db(wanted, got) > least


@pytest.mark.parametrize("steps", [1, 20])
@torch.no_grad()
def test_few_steps_and_many(steps):
    model, _ = made(nn.GRU, batch_first=True)
    x = torch.randn(SAMPLES, steps, FEATURES)
    sim = qnb.QuantSim(model, x, "fp32")
    assert torch.allclose(sim(x)[0], model(x)[0], atol=1e-6)


class TestWhatStaysOneOp:
    def test_other_targets(self):
        model, x = made()
        for target in ("generic", "onnxruntime-cpu"):
            assert not runs_steps(qnb.QuantSim(model, x, "w8a8", target=target))

    def test_a_target_that_does_not_say_so(self):
        model, x = made()
        target = dataclasses.replace(TARGETS["htp-v75"], name="own", written_out=())
        assert not runs_steps(qnb.QuantSim(model, x, "w8a8", target=target))

    @torch.no_grad()
    def test_a_projection(self):
        model, x = made(proj_size=2)
        sim = qnb.QuantSim(model, x, "w16a16").calibrate([x])
        assert not runs_steps(sim) and sqnr_db(model(x)[0], sim(x)[0]) > 50


def site_of(sim):
    (site,) = sim.plan.recurrent.values()
    return site


def quantized(value, quantizer):
    scale, zero_point = quantizer.encoding()
    low, high = quantizer.grid.qmin - zero_point, quantizer.grid.qmax - zero_point
    return torch.clamp(torch.round(value / scale), low, high) * scale


@pytest.mark.parametrize("precision", ["w8a8", "w8a16"])
@torch.no_grad()
def test_every_value_inside_is_quantized(precision):
    """An LSTM of one layer, spelled out."""
    model, x = made()
    sim = qnb.QuantSim(model, x, precision).calibrate([x])
    keys = site_of(sim).keys[0]
    q = {kind: lambda value, key=key: quantized(value, sim.activation(key)) for kind, key in keys.items()}
    w_x, w_h = (sim.weight(key)(sim.weight_tensor(key)) for key in sim.plan.weights)
    b_x, b_h = (sim.bias(key)(sim.bias_tensor(key)) for key in sim.plan.biases)
    sequence = sim(x)[0]
    x = quantized(x, sim.activation(next(iter(sim.plan.activations))))
    h, c = torch.zeros(SAMPLES, HIDDEN), torch.zeros(SAMPLES, HIDDEN)
    found = []
    for step in x:
        projected = q["input_projection"](step @ w_x.T + b_x)
        i, f, g, o = q["gate_inputs"](projected + q["hidden_projection"](h @ w_h.T + b_h)).chunk(4, -1)
        i, f, o = q["gates"](i.sigmoid()), q["gates"](f.sigmoid()), q["output_gate"](o.sigmoid())
        c = q["cell_state"](q["kept"](f * c) + q["added"](i * q["candidate"](g.tanh())))
        h = q["hidden_state"](o * q["cell_tanh"](c.tanh()))
        found.append(h)
    assert (torch.stack(found) - sequence).abs().max() <= 2 * sim.activation(keys["hidden_state"]).scale
    assert sqnr_db(torch.stack(found), sequence) > (30 if precision == "w8a8" else 80)


class TestEncodings:
    @pytest.fixture
    def sim(self):
        model, x = made(num_layers=2, bidirectional=True)
        return qnb.QuantSim(model, x, "w8a8").calibrate([x])

    def test_one_for_each_kind_of_value(self, sim):
        table = sim.encodings().set_index("tensor")
        assert (table.layer[table.index.str.startswith("rnn.cell_state")] == "rnn").all()
        assert {"rnn.cell_state_l0", "rnn.cell_state_l0_reverse", "rnn.cell_state_l1"} <= set(table.index)
        assert (table.loc["rnn.gates_l0", "min"], table.loc["rnn.gates_l0", "max"]) == pytest.approx((0, 1), abs=1e-3)
        assert table.loc["rnn.candidate_l1", "min"] < -0.99 and not table.scale.isna().any()

    def test_both_directions_share_the_hidden_states(self, sim):
        keys = site_of(sim).keys
        assert keys[0]["hidden_state"] == keys[1]["hidden_state"] != keys[2]["hidden_state"]
        assert keys[2]["hidden_state"] == keys[3]["hidden_state"] == sim.groups[0].key

    def test_weights_have_a_scale_for_each_row_and_biases_are_int32(self, sim):
        table = sim.encodings()
        assert (table[table.kind == "weight"].axis == 0).all()
        assert (table.kind == "bias").sum() == 8

    def test_calibration_sees_all_steps_of_the_float_model(self, sim):
        model, x = made(num_layers=2, bidirectional=True)
        ends = sim.encodings().set_index("tensor").loc["rnn", ["min", "max"]]
        sequence = model(x)[0]
        assert ends["min"] == pytest.approx(float(sequence.min().detach()), abs=0.02)
        assert ends["max"] == pytest.approx(float(sequence.max().detach()), abs=0.02)

    def test_one_layer_of_another_precision(self, sim):
        table = sim.encodings().query("kind == 'activation'").set_index("tensor")
        wide = table.index[table.bits == 16]
        assert len(wide) == 3 * 4 and all(name.startswith(("rnn.cell_state", "rnn.kept", "rnn.added")) for name in wide)
        assert set(table.bits.drop(wide)) == {8}
        sim.set_precision("rnn", "w8a16")
        assert set(sim.encodings().query("kind == 'activation' and layer == 'rnn'").bits) == {16}
        assert sim.calibrated

    def test_a_rule_of_its_own(self, sim):
        before = sim.encodings().set_index("tensor").scale
        sim.calibrate([torch.randn(STEPS, SAMPLES, FEATURES)], "mse", layers="rnn")
        after = sim.encodings().set_index("tensor").scale
        assert before["rnn.cell_state_l0"] != after["rnn.cell_state_l0"] and before["x"] == after["x"]

    def test_infinite_values_are_named(self):
        model, x = made()
        model.rnn.weight_ih_l0.data[0, 0] = 1e38
        with pytest.raises(qnb.errors.CalibrationError, match="'rnn'"):
            qnb.QuantSim(model, x * 1e3, "w8a8").calibrate([x * 1e3])


class TestTheSameNumbersAgain:
    @pytest.fixture
    def sim(self):
        model, x = made(nn.GRU, bidirectional=True)
        return qnb.QuantSim(model, x, "w8a8").calibrate([x]), x

    @torch.no_grad()
    def test_saved_and_loaded(self, sim, tmp_path):
        sim, x = sim
        sim.save(tmp_path / "s.qnb")
        loaded = qnb.QuantSim.load(tmp_path / "s.qnb")
        assert all(map(torch.equal, sim(x), loaded(x))) and loaded.encodings().equals(sim.encodings())

    @torch.no_grad()
    def test_copies_and_snapshots_are_their_own(self, sim):
        sim, x = sim
        before, copied, seen = sim(x), sim.copy(), sim.snapshot()
        sim.set_precision("rnn", "w8a16")
        assert not torch.equal(sim(x)[0], before[0])
        assert torch.equal(copied(x)[0], before[0]) and torch.equal(seen(x)[0], before[0])


class TestMeasures:
    @pytest.fixture
    def sim(self):
        model, x = made()
        return qnb.QuantSim(model, x, "w8a8").calibrate([x]), x

    def test_the_layers_own_error_counts_what_is_inside(self, sim):
        sim, x = sim
        before = qnb.compare_layers(sim, [x]).set_index("layer").own_sqnr_db["rnn"]
        sim.activation(site_of(sim).keys[0]["cell_state"]).enabled = False
        assert qnb.compare_layers(sim, [x]).set_index("layer").own_sqnr_db["rnn"] > before + 0.1

    @pytest.mark.parametrize("method", ["fisher", "sqnr"])
    def test_sensitivity_of_values_inside(self, sim, method):
        sim, x = sim
        scores = qnb.sensitivity(sim, [x], estimator=method).query("kind == 'activation'").score
        assert (scores > 0).sum() >= len(site_of(sim).keys[0]) - 1

    def test_gradients(self, sim):
        sim, x = sim
        sim.train()
        sum(y.sum() for y in sim(x)).backward()
        assert all(p.grad is not None for n, p in sim.named_parameters() if "rnn." in n)
