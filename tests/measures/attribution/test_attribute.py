"""Error attribution against closed forms, and against the noise that is there with one quantizer on."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import qnb
from qnb.columns import ATTRIBUTION, SHARES
from qnb.errors import CalibrationError, Cancelled, InputError
from qnb.measures.attribution.sweep import Sweep
from qnb.measures.attribution.units import Units
from qnb.measures.layers.output_parts import OutputNoise, sqnr_db
from tests.measures.layers.test_output_parts import Detector
from tests.methods.states import CancelAfter


def sim_of(model, data, precision="w8a8", **options):
    return qnb.QuantSim(model.eval(), data[0], precision, **options).calibrate(data)


def alone(sim, layer, kind):
    """A copy with one quantizer on."""
    found = sim.copy().disable()
    return found.enable(layer, kind=kind)


def row(found, layer):
    return found.table.set_index("layer").loc[layer]


class Attention(nn.Module):
    """A causal mask, softmax, layer norm, a residual, a quantized table of positions."""

    def __init__(self, width=8, length=5, fill=float("-inf")):
        super().__init__()
        self.positions = nn.Parameter(torch.randn(length, width))
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 3)
        self.register_buffer("mask", torch.ones(length, length).triu(1).bool())
        self.fill = fill

    def forward(self, x):
        x = x + self.positions
        scores = (self.q(x) @ self.k(x).transpose(1, 2)).masked_fill(self.mask, self.fill)
        return self.head(self.norm(x + torch.softmax(scores, -1) @ self.v(x)))


def chain():
    return nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 4))


@pytest.fixture
def rows():
    return [torch.randn(32, 6) for _ in range(2)]


@pytest.mark.parametrize("kind", ["weight", "activation"])
@pytest.mark.parametrize("layer", ["0", "1", "2"])
def test_in_a_linear_chain_the_one_quantizer_that_is_on_has_all_of_the_error(rows, layer, kind):
    sim = alone(sim_of(chain(), rows, simulate_bias=False), layer, kind)
    found = qnb.attribute(sim, rows)
    assert row(found, layer)[f"{kind}_share"] == pytest.approx(1, abs=1e-4)
    rest = found.table[list(SHARES)].sum().sum() - row(found, layer)[f"{kind}_share"]
    assert abs(rest) < 1e-6 and abs(found.residual) < 1e-4


def test_the_columns_and_rows_are_inputs_and_layers_in_graph_order(rows):
    sim = sim_of(chain(), rows)
    found = qnb.attribute(sim, rows)
    assert tuple(found.table.columns) == ATTRIBUTION
    assert found.table.layer.tolist() == ["input", "0", "1", "2"]
    assert found.table.op.tolist() == ["input", "linear", "linear", "linear"]
    np.testing.assert_allclose(found.table[list(SHARES)].sum(axis=1), found.table.output_share)
    assert found.table.inherited_db[0] == math.inf and np.isfinite(found.table.added_db).all()


@pytest.mark.parametrize("precision", ["w8a16", "w8a8", "w4a8"])
def test_shares_and_residual_are_all_of_the_error_and_the_residual_is_small(precision):
    data = [torch.randn(16, 5, 8)]
    found = qnb.attribute(sim_of(Attention(), data, precision), data)
    assert found.table.output_share.sum() + found.residual == pytest.approx(1, abs=1e-5)
    assert abs(found.residual) < (0.02 if precision == "w4a8" else 2e-3)


def test_the_sqnr_is_that_of_the_outputs_parts():
    data = [torch.randn(2, 3, 6, 6) for _ in range(3)]
    sim = sim_of(Detector(), data)
    assert qnb.attribute(sim, data).output_sqnr_db == pytest.approx(sqnr_db(OutputNoise(sim, data)(sim)), abs=1e-4)


def test_a_share_is_the_noise_with_that_quantizer_alone_where_errors_are_independent():
    """Over much data the errors of layers do not correlate; each then has the part of the noise that it makes alone."""
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 8))
    data = [torch.randn(2000, 16)]
    sim = sim_of(model, data, "w8a6")
    found, noise = qnb.attribute(sim, data), OutputNoise(sim, data)
    whole = noise(sim).sum()
    for layer in ("0", "2", "4"):
        wanted = noise(alone(sim, layer, "activation")).sum() / whole
        assert row(found, layer).activation_share == pytest.approx(wanted, abs=0.03)
    assert row(found, "input").activation_share == pytest.approx(
        noise(alone(sim, "input", "input")).sum() / whole, abs=0.03
    )


@pytest.mark.parametrize(("layer", "kind"), [("q", "weight"), ("v", "weight"), ("norm", "activation")])
def test_one_quantizer_alone_in_a_transformer_has_all_of_the_error(layer, kind):
    data = [torch.randn(16, 5, 8)]
    found = qnb.attribute(alone(sim_of(Attention(), data), layer, kind), data)
    assert row(found, layer)[f"{kind}_share"] == pytest.approx(1, abs=0.02)


def test_a_quantized_table_of_positions_is_a_weight_of_the_layer_that_adds_it():
    data = [torch.randn(16, 5, 8)]
    sim = sim_of(Attention(), data)
    table = next(s.layer for s in sim.plan.activations.values() if s.tensor == "positions")
    found = qnb.attribute(alone(sim, table, "weight"), data)
    assert row(found, "add").weight_share == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("fill", [float("-inf"), -1e9, -100.0])
def test_what_a_mask_shuts_out_does_not_count(fill):
    data = [torch.randn(16, 5, 8)]
    found = qnb.attribute(sim_of(Attention(fill=fill), data), data)
    assert np.isfinite(found.table[list(SHARES)].to_numpy()).all() and abs(found.residual) < 5e-3
    masked = found.table[found.table.op.str.contains("masked_fill|where|matmul|bmm")]
    assert (masked.added_db > 20).all()


def test_scores_count_beside_boxes():
    data = [torch.randn(4, 3, 6, 6) for _ in range(2)]
    sim = sim_of(Detector(), data, target="generic")
    found = qnb.attribute(sim, data)
    assert found.table.output_share.sum() + found.residual == pytest.approx(1, abs=1e-5)
    noise = OutputNoise(sim, data)
    by_part = dict(zip(noise.layers, noise(sim), strict=True))
    scores = next(v for k, v in by_part.items() if "1" in k or "score" in k)
    behind = found.table[found.table.layer.str.contains("score|sigmoid_1")].output_share.sum()
    assert scores / sum(by_part.values()) > 0.2 and behind > 0.1


def test_a_corrected_bias_and_a_changed_weight_count_as_theirs(rows):
    sim = sim_of(chain(), rows, simulate_bias=False).disable()
    moved = sim.copy()
    with torch.no_grad():
        dict(moved.model.named_parameters())["1.bias"].add_(0.1)
    found = qnb.attribute(moved, rows)
    assert row(found, "1").bias_share == pytest.approx(1, abs=1e-5)
    with torch.no_grad():
        dict(moved.model.named_parameters())["1.bias"].sub_(0.1)
        dict(moved.model.named_parameters())["1.weight"].mul_(1.1)
    assert row(qnb.attribute(moved, rows), "1").weight_share == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("cell", [nn.LSTM, nn.GRU])
def test_recurrent_layers_are_split_too(cell):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.head = cell(6, 8, batch_first=True), nn.Linear(8, 3)

        def forward(self, x):
            return self.head(self.cell(x)[0])

    data = [torch.randn(8, 4, 6)]
    sim = sim_of(Net(), data, "w4a8")
    found = qnb.attribute(sim, data)
    assert row(found, "cell").weight_share > 0.2 and row(found, "cell").activation_share != 0
    assert abs(found.residual) < 0.02


def test_an_exact_simulation_gives_its_arithmetic_to_activations():
    data = [torch.randn(2, 3, 6, 6)]
    sim = sim_of(Detector(), data)
    found = qnb.attribute(sim.exact("htp"), data)
    assert found.table.output_share.sum() + found.residual == pytest.approx(1, abs=1e-5)
    assert abs(found.residual) < 0.02


def test_without_error_there_are_no_shares(rows):
    found = qnb.attribute(sim_of(chain(), rows).disable(), rows)
    assert (found.table.output_share == 0).all() and found.residual == 0 and found.output_sqnr_db == math.inf
    assert (found.table.added_db == math.inf).all()


def test_batches_are_weighted_by_their_energy(rows):
    """Two batches give what they give as one."""
    sim = sim_of(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4)), rows)
    batches = [rows[0], rows[1] * 0.1]
    apart, together = qnb.attribute(sim, batches), qnb.attribute(sim, [torch.cat(batches)])
    np.testing.assert_allclose(apart.table[list(SHARES)], together.table[list(SHARES)], atol=1e-5)


def test_nothing_of_a_batch_is_kept_and_the_number_of_passes_is_fixed(rows, monkeypatch):
    sim = sim_of(chain(), rows)
    assert qnb.attribute(sim, rows).passes == qnb.attribute(sim, rows * 5).passes
    kept = []
    plain = Sweep.batch

    def batch(self, inputs):
        plain(self, inputs)
        tensors = [r for row in self.rows.values() for r in vars(row).values()] + self.noises
        kept.append(sum(t.numel() for t in tensors if isinstance(t, torch.Tensor)))

    monkeypatch.setattr(Sweep, "batch", batch)
    qnb.attribute(sim, rows * 3)
    assert len(set(kept)) == 1 and kept[0] < 100


def test_evaluations_of_each_unit_do_not_depend_on_how_many_there_are(monkeypatch):
    counts = {}
    plain = Units.evaluate

    def evaluate(self, unit, *args, **kwargs):
        counts[unit.output.name] = counts.get(unit.output.name, 0) + 1
        return plain(self, unit, *args, **kwargs)

    monkeypatch.setattr(Units, "evaluate", evaluate)
    for depth in (2, 12):
        counts.clear()
        data = [torch.randn(4, 6)]
        model = nn.Sequential(*(nn.Sequential(nn.Linear(6, 6), nn.Tanh()) for _ in range(depth)))
        qnb.attribute(sim_of(model, data), data)
        assert max(counts.values()) <= 8


def test_the_sim_is_not_changed_and_cancelling_leaves_it(rows):
    sim = sim_of(chain(), rows)
    before = sim(rows[0])
    with pytest.raises(Cancelled):
        qnb.attribute(sim, rows, progress=CancelAfter(3))
    qnb.attribute(sim, rows)
    assert torch.equal(before, sim(rows[0]))


def test_what_does_not_fit_is_refused(rows):
    sim = qnb.QuantSim(chain().eval(), rows[0], "w8a8")
    with pytest.raises(CalibrationError):
        qnb.attribute(sim, rows)
    sim.calibrate(rows)
    with pytest.raises(InputError, match="one-shot"):
        qnb.attribute(sim, iter(rows))

    class Classes(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(6, 4)

        def forward(self, x):
            return self.fc(x).argmax(1)

    with pytest.raises(InputError, match="floating-point"):
        qnb.attribute(sim_of(Classes(), rows), rows)


def test_it_shows_itself(rows):
    found = qnb.attribute(sim_of(chain(), rows, "w4a8"), rows)
    assert repr(found).startswith("Output ") and "error: weights" in found._repr_html_()
    assert found.chart().layout.title.text.startswith("Most of the error: ")


ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU, "silu": nn.SiLU, "hardtanh": nn.Hardtanh}


@settings(max_examples=12, deadline=None)
@given(
    widths=st.lists(st.integers(2, 9), min_size=2, max_size=4),
    names=st.lists(st.sampled_from(sorted(ACTIVATIONS)), min_size=3, max_size=3),
    precision=st.sampled_from(["w8a8", "w4a8", "w4a4"]),
    seed=st.integers(0, 1000),
)
def test_on_elementwise_and_linear_ops_nothing_is_left_over(widths, names, precision, seed):
    torch.manual_seed(seed)
    layers = [(nn.Linear(a, b), ACTIVATIONS[n]()) for a, b, n in zip(widths, widths[1:], names, strict=False)]
    model = nn.Sequential(*(m for pair in layers for m in pair), nn.Linear(widths[-1], 3))
    data = [torch.randn(12, widths[0])]
    found = qnb.attribute(sim_of(model, data, precision), data)
    assert abs(found.residual) < 2e-3
