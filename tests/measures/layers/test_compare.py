"""compare_layers against what can be computed by hand."""

import math

import pytest
import torch
from torch import nn

import qnb
from qnb import columns


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(8, 6, generator=generator) for _ in range(4)]


@pytest.fixture
def sim(batches):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 3)).eval()
    return qnb.QuantSim(model, batches[0], "w4a8", target="generic").calibrate(batches)


def test_columns_and_order(sim, batches):
    table = qnb.compare_layers(sim, batches)
    assert tuple(table.columns) == columns.COMPARISON
    assert list(table.layer) == [g.layer for g in sim.groups] == list(sim.layers().layer)


def test_last_layer_is_the_output_error(sim, batches):
    x = torch.cat(batches)
    with torch.no_grad():
        reference, simulated = sim.reference_model(x), sim(x)
    row = qnb.compare_layers(sim, batches).iloc[-1]
    noise = (simulated - reference).double().square().sum()
    assert row.sqnr_db == pytest.approx(10 * math.log10(reference.double().square().sum() / noise), abs=1e-3)
    assert row.mse == pytest.approx(float(noise) / x.shape[0] / 3, rel=1e-4)
    assert row.max_abs_error == pytest.approx(float((simulated - reference).abs().max()), rel=1e-5)
    assert row.numel == reference.numel() and row.fp32_max == pytest.approx(float(reference.max()), rel=1e-5)


def test_own_error_is_the_layer_fed_with_fp32(sim, batches):
    x = torch.cat(batches)
    linear = sim.groups[1]
    weight = sim.weight(next(k for k, s in sim.plan.weights.items() if s.layer == linear.layer))
    with torch.no_grad():
        first = torch.relu(x @ sim.tensors()["0.weight"].T + sim.tensors()["0.bias"])
        exact = first @ sim.tensors()["2.weight"].T + sim.tensors()["2.bias"]
        own = sim.activation(linear.key)(first @ weight(sim.tensors()["2.weight"]).T + sim.tensors()["2.bias"])
    wanted = 10 * math.log10(exact.square().sum() / (own - exact).square().sum())
    row = qnb.compare_layers(sim, batches).set_index("layer").loc["2"]
    assert row.own_sqnr_db == pytest.approx(wanted, abs=0.01)
    assert row.own_sqnr_db > row.sqnr_db


def test_lossless_is_inf_and_never_nan(sim, batches):
    sim.disable()
    table = qnb.compare_layers(sim, batches)
    assert (table.sqnr_db == math.inf).all() and (table.own_sqnr_db == math.inf).all()
    assert (table.cosine == 1).all() and (table.saturated_fraction == 0).all()


def test_weights_only_and_activations_only_add_up(sim, batches):
    both = qnb.compare_layers(sim, batches).sqnr_db.iloc[-1]
    weights = qnb.compare_layers(sim.copy().disable(kind="activation"), batches).sqnr_db.iloc[-1]
    activations = qnb.compare_layers(sim.copy().disable(kind="weight"), batches).sqnr_db.iloc[-1]
    assert weights < activations, "4-bit weights must cost more than 8-bit activations"
    assert both < activations


def test_without_own_the_rest_is_the_same(sim, batches):
    with_own, without = qnb.compare_layers(sim, batches), qnb.compare_layers(sim, batches, own=False)
    assert without.own_sqnr_db.isna().all()
    assert with_own.drop(columns="own_sqnr_db").equals(without.drop(columns="own_sqnr_db"))


def test_saturation_is_counted(sim, batches):
    louder = [b * 4 for b in batches]
    table = qnb.compare_layers(sim, louder).set_index("layer")
    assert table.saturated_fraction["0"] > 0.01
    assert qnb.compare_layers(sim, batches).saturated_fraction.max() < 0.01


def test_one_pass_and_progress(sim, batches):
    class Once(list):
        passes = 0

        def __iter__(self):
            type(self).passes += 1
            return super().__iter__()

    seen = []
    qnb.compare_layers(sim, Once(batches), progress=lambda done, total, message="": seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)] and Once.passes <= 2  # one may be the emptiness check


def test_fp16_overflow_is_minus_inf_not_nan():
    class Big(nn.Module):
        def forward(self, x):
            return (x * 300.0 + 1.0) * -300.0

    x = torch.full((2, 4), 2.0)
    table = qnb.compare_layers(qnb.QuantSim(Big().eval(), x, "fp16").calibrate([x]), [x])
    assert table.sqnr_db.iloc[-1] == -math.inf and not table.drop(columns="own_sqnr_db").isna().any().any()
