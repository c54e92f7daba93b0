"""Values that quantizers clip, counted while a model runs, against what can be counted by hand."""

import copy
import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import qnb
from qnb import columns
from qnb.errors import InputError
from qnb.measures.clipping import SHARE, Clipping, counted, sparse
from qnb.sim.placement.masking import attended


@pytest.fixture
def sim():
    """Calibrated on 0 to 1, evenly spread."""
    model = nn.Sequential(nn.ReLU()).eval()
    data = torch.linspace(0, 1, 4097)[:, None]
    return qnb.QuantSim(model, data, "w16a16", target="generic").calibrate([data])


def hooks(sim):
    return [h for m in sim.modules() for h in (*m._forward_pre_hooks.values(), *m._forward_hooks.values())]


def test_twice_as_large_data_clips_half(sim):
    x = torch.linspace(0, 2, 4096)[:, None]
    with torch.no_grad(), counted(sim) as clipping:
        expected = sim(x)
    table = clipping.table()
    assert tuple(table.columns) == columns.CLIPPING and table.kind.tolist() == ["input", "activation"]
    assert table.numel.tolist() == [4096, 4096]
    first, last = table.iloc[0], table.iloc[1]
    assert first.clipped_fraction == pytest.approx(0.5, abs=1e-3), "half of them lie beyond 1"
    assert (first.seen_min, first.seen_max) == (0, 2) and first["max"] == pytest.approx(1, abs=1e-4)
    assert last.clipped_fraction == 0 and last.seen_max == pytest.approx(1, abs=1e-3), "it gets what was clipped before"
    with torch.no_grad():
        assert torch.equal(sim(x), expected)


def test_data_of_calibration_clips_nothing(sim):
    with torch.no_grad(), counted(sim) as clipping:
        sim(torch.linspace(0, 1, 4097)[:, None])
    assert clipping.table().clipped_fraction.eq(0).all() and len(clipping.table()) == 2


def test_within_half_a_step_it_only_rounds(sim):
    step = float(sim.activation(next(iter(sim.plan.activations))).scale)
    top = float(sim.encodings()["max"][0])
    with torch.no_grad(), counted(sim) as clipping:
        sim(torch.tensor([[top + 0.4 * step], [top + 0.6 * step]]))
    assert clipping.table().clipped_fraction[0] == 0.5


def test_the_same_share_as_the_comparison_has():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3)).eval()
    data = [torch.randn(4, 3, 12, 12) for _ in range(2)]
    sim = qnb.QuantSim(model, data[0], "w8a8").calibrate(data, "percentile", percentile=99.0)
    with torch.no_grad(), counted(sim) as clipping:
        for x in data:
            sim(x)
    table = clipping.table()
    expected = qnb.compare_layers(sim, data).set_index("layer").saturated_fraction
    found = table[table.kind == "activation"].set_index("layer").clipped_fraction
    assert list(found.index) == list(expected.index) and found.min() > 0.001
    np.testing.assert_allclose(found, expected, rtol=1e-12)


class TestWhichPasses:
    def test_the_first_and_then_every_third_but_two_at_most(self, sim):
        with torch.no_grad(), counted(sim, every=3, most=2) as clipping:
            for size in (1, 2, 4, 8, 16, 32, 64):
                sim(torch.zeros(size, 1))
        assert clipping.table().numel.tolist() == [9, 9]

    def test_a_part_of_the_samples_another_one_each_time(self, sim):
        x = torch.arange(8.0)[:, None]
        with torch.no_grad(), counted(sim, parts=4) as clipping:
            sim(x)
            sim(x)
        first = clipping.table().iloc[0]
        assert (first.numel, first.seen_min, first.seen_max) == (4, 0, 3)

    def test_one_sample_at_least(self, sim):
        with torch.no_grad(), counted(sim, parts=100) as clipping:
            for value in (1.0, 2.0):
                sim(torch.full((1, 1), value))
        assert clipping.table().seen_max[0] == 2

    @settings(max_examples=60, deadline=None)
    @given(st.integers(1, 5000))
    def test_an_eighth_of_an_evaluation_at_most_four_passes(self, forwards):
        plan = sparse(forwards)
        passes = [i for i in range(0, forwards, plan["every"])][: plan["most"]]
        assert 1 <= len(passes) <= 4 and (len(passes) - 1) * 4 < forwards
        assert len(passes) / plan["parts"] <= forwards * SHARE + 1e-9

    def test_unknown(self):
        assert sparse(None) == sparse(16)

    @pytest.mark.parametrize("wrong", [{"every": 0}, {"most": 0}, {"parts": 0}, {"every": 1.5}])
    def test_wrong_numbers(self, sim, wrong):
        with pytest.raises(InputError, match="counted"), counted(sim, **wrong):
            pass


class TestHooks:
    def test_gone_afterwards(self, sim):
        with torch.no_grad(), counted(sim):
            assert len(hooks(sim)) == 4
            sim(torch.zeros(2, 1))
        assert not hooks(sim)

    def test_gone_when_the_last_pass_was_counted(self, sim):
        with torch.no_grad(), counted(sim, most=1) as clipping:
            sim(torch.zeros(2, 1))
            assert not hooks(sim)
            sim(torch.zeros(2, 1))
        assert clipping.table().numel[0] == 2

    def test_gone_after_an_exception(self, sim):
        with pytest.raises(ZeroDivisionError), counted(sim):
            raise ZeroDivisionError
        assert not hooks(sim)

    def test_a_pass_that_fails_does_not_go_on_counting(self, sim):
        with counted(sim, most=9) as clipping, torch.no_grad():
            with pytest.raises(InputError):
                sim(torch.zeros(2, 1), torch.zeros(1))
            sim.activation(next(iter(sim.plan.activations)))(torch.full((5,), 9.0))
        assert clipping.table().empty and not hooks(sim)

    def test_twins_count_nothing_and_keep_nothing(self, sim, tmp_path):
        x = torch.full((3, 1), 9.0)
        with torch.no_grad(), counted(sim) as clipping:
            twins = [sim.snapshot(), sim.copy(), copy.deepcopy(sim)]
            for twin in twins:
                twin(x)
            sim.save(tmp_path / "sim")
        assert clipping.table().empty
        for twin in (*twins, qnb.QuantSim.load(tmp_path / "sim")):
            with torch.no_grad():
                twin(x)
        assert clipping.table().empty and not hooks(twins[1])


def test_threads(sim):
    x = torch.linspace(0, 2, 4096)[:, None]

    def work():
        with torch.no_grad():
            for _ in range(10):
                sim(x)

    with counted(sim, most=40) as clipping:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert clipping.table().numel[0] == 40 * 4096
    assert clipping.table().clipped_fraction[0] == pytest.approx(0.5, abs=1e-3) and not hooks(sim)


class TestWhatDoesNotCount:
    def test_masked_scores(self):
        class Attention(nn.Module):
            def forward(self, q, k, mask):
                return torch.softmax(q @ k.transpose(-1, -2) + mask, -1)

        torch.manual_seed(0)
        q, k = torch.randn(2, 1, 8, 4).unbind(0)
        mask = torch.full((8, 8), torch.finfo(torch.float32).min).triu(1)
        sim = qnb.QuantSim(Attention().eval(), (q, k, mask), "w8a8").calibrate([(q, k, mask)])
        (layer,) = [s.layer for s in sim.plan.activations.values() if s.masked]
        with torch.no_grad(), counted(sim) as clipping:
            sim(q, k, mask)
        row = clipping.table().set_index("layer").loc[layer]
        assert row.numel == int(attended(mask).sum()) == 36 and row.seen_min > -100 and row.clipped_fraction == 0

    def test_floating_point_and_quantizers_that_are_off(self, sim):
        x = torch.ones(2, 1)
        half = qnb.QuantSim(nn.ReLU().eval(), x, "fp16").calibrate([x])
        with torch.no_grad(), counted(half) as clipping:
            assert not hooks(half)
            half(x)
        assert clipping.table().empty
        sim.disable("0")
        with torch.no_grad(), counted(sim) as clipping:
            sim(x)
        assert clipping.table().kind.tolist() == ["input"]

    def test_a_sim_that_is_not_calibrated(self):
        assert not Clipping(qnb.QuantSim(nn.ReLU().eval(), torch.ones(2, 1), "w8a8"), 1, 1, 1).rows


def test_an_exact_simulation_computes_the_same():
    torch.manual_seed(0)
    x = torch.randn(4, 6)
    sim = qnb.QuantSim(nn.Sequential(nn.Linear(6, 5), nn.ReLU()).eval(), x, "w8a8").calibrate([x])
    exact = sim.exact("htp")
    with torch.no_grad():
        expected = exact(2 * x)
        with counted(exact) as clipping:
            assert torch.equal(exact(2 * x), expected)
    assert clipping.table().clipped_fraction[0] > 0


def test_a_compiled_model(sim):
    x = torch.full((4, 1), 2.0)
    with torch.no_grad():
        expected = sim(x)
        with counted(sim) as clipping:
            assert torch.equal(torch.compile(sim, backend="eager")(x), expected)
    assert clipping.table().empty and not hooks(sim)


def test_layers_that_share_a_quantizer_have_the_same_figures():
    class Joined(nn.Module):
        def forward(self, x):
            return torch.cat([torch.relu(x), torch.tanh(x)], 1)

    x = torch.linspace(-1, 1, 16)[:, None]
    sim = qnb.QuantSim(Joined().eval(), x, "w8a8").calibrate([x])
    with torch.no_grad(), counted(sim) as clipping:
        sim(2 * x)
    table = clipping.table()
    layers = {layer for layer, kind, _ in sim.sites() if kind in ("input", "activation")}
    assert set(table.layer) == layers and not table.layer.duplicated().any()


class TestRun:
    @pytest.fixture(scope="class")
    @staticmethod
    def flow():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).eval()
        calibration = [torch.rand(32, 4) for _ in range(2)]

        def evaluate(model):
            return float(sum(model(2 * x).mean() for x in calibration))

        flow = qnb.Workflow(model, calibration, evaluate, tolerance=10.0)
        for precision in ("w8a8", "fp16"):
            flow.run(precision)
        return flow

    def test_it_is_kept_beside_the_comparison(self, flow):
        run = flow["w8a8"]
        first = run.clipping.iloc[0]
        assert first.kind == "input" and first.clipped_fraction == pytest.approx(0.5, abs=0.15)
        assert run.comparison.saturated_fraction.max() < 0.01 < run.clipped[first.layer]
        assert flow["fp32"].clipping is None and flow["fp16"].clipping is None and not hooks(run.sim)

    def test_it_is_said_where_the_run_is_shown(self, flow):
        assert "clipped in evaluation" in flow["w8a8"].document().text()
        assert "clipped in evaluation" not in flow["fp16"].document().text()

    def test_an_evaluation_that_fails_leaves_no_hooks(self, monkeypatch, flow):
        seen = []

        def evaluate(model):
            model(torch.zeros(2, 4))
            seen.append(model)
            raise ValueError("broken")

        monkeypatch.setattr(flow, "evaluate", evaluate)
        with pytest.raises(qnb.errors.EvaluateError):
            flow.run("w4a8")
        assert not hooks(seen[0])
