"""Ranges chosen by the error at the outputs: a planted model where no rule suits all, and what must stay as it is."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import qnb
from qnb.errors import Cancelled, InputError, PrecisionError
from qnb.measures.layers.output_parts import OutputNoise, sqnr_db
from qnb.methods.calibration.candidates import Candidates, free_keys, options
from qnb.methods.calibration.measured import PASSES
from qnb.methods.calibration.predicted import predicted
from qnb.methods.reporting.progress import MethodProgress
from qnb.ranges import RULES, Histogram, MinMax
from qnb.sim.quantizer_state import QuantizerState, quantizer_modules


class Two(nn.Module):
    """Outliers of ``a`` are cut by tanh; those of ``b`` are what the output consists of."""

    def forward(self, a, b):
        return torch.tanh(a), b * b


def batch(seed):
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(64, 64, generator=generator) * 0.3
    b = torch.rand(64, 64, generator=generator)
    a.view(-1)[::3000], b.view(-1)[::3000] = 100.0, 50.0
    return a, b


BATCHES = [batch(seed) for seed in range(3)]


@pytest.fixture(scope="module")
def captured():
    return qnb.QuantSim(Two().eval(), BATCHES[0], "w8a8").captured


def made(captured, rule="minmax", precision="w8a8", **given):
    return qnb.QuantSim(captured, precision=precision).calibrate(BATCHES, rule, **given)


def states(sim):
    return {name: QuantizerState.of(module) for name, module in quantizer_modules(sim).items()}


def output_db(sim, batches=BATCHES[:2]):
    return sqnr_db(np.array([OutputNoise(sim, [b])(sim).mean() for b in batches]))


@pytest.mark.parametrize(
    ("rule", "given"),
    [("minmax", {}), ("percentile", {"percentile": 99.9}), ("sqnr", {}), ("mse", {})],
    ids=["minmax", "percentile", "sqnr", "mse"],
)
class TestNoRuleSuitsAll:
    def test_the_mix_is_found(self, captured, rule, given):
        whole = [
            made(captured, name, **o) for name, o in (("minmax", {}), ("percentile", {"percentile": 99.9}), ("mse", {}))
        ]
        assert max(map(output_db, whole)) < 12, "else the model plants nothing"
        sim = made(captured, rule, **given)
        before = output_db(sim)
        result = qnb.methods.choose_ranges(sim, BATCHES)
        assert output_db(sim) > 30 > 12 > before and output_db(sim, BATCHES[2:]) > 30
        assert sim.encodings().set_index("tensor")["max"].iloc[0] < 5, "outliers of a are cut off"
        assert sim.encodings()["max"].iloc[1] > 45, "and those of b are kept"
        assert result.output_after_db > result.output_before_db + 10 and sim.applied_methods == ("choose_ranges",)

    def test_it_says_what_it_did(self, captured, rule, given):
        sim = made(captured, rule, **given)
        before = output_db(sim)
        result = qnb.methods.choose_ranges(sim, BATCHES)
        kept = result.history[result.history.kept]
        assert len(kept) and kept.sqnr_db.iloc[-1] == pytest.approx(output_db(sim), abs=1e-6)
        assert kept.sqnr_db.is_monotonic_increasing and kept.sqnr_db.iloc[0] > before
        assert result.history.step.is_monotonic_increasing and result.history.step.max() <= PASSES
        inputs = result.tables["inputs"].set_index("layer")
        assert inputs.rule.iloc[0].startswith("" if rule == "percentile" else "percentile")
        assert inputs.measured_gain_db.iloc[0] > 10
        assert inputs.together.iloc[0] >= 1 and f"{result.history.step.max()} forward passes" in result.notes[0]


def test_rules_and_statistics_stay_with_the_quantizers(captured, tmp_path):
    sim = made(captured)
    qnb.methods.choose_ranges(sim, BATCHES)
    key = next(iter(sim.plan.activations))
    quantizer = sim.activation(key)
    name, given = quantizer.rule
    assert name == "percentile" and isinstance(quantizer.statistics, Histogram)
    low, high = RULES[name](quantizer.statistics, quantizer.grid, **given)
    assert (float(low), float(high)) == (float(quantizer.minimum), float(quantizer.maximum))
    before = sim.encodings()
    sim.save(tmp_path / "sim")
    loaded = qnb.QuantSim.load(tmp_path / "sim")
    assert loaded.encodings().equals(before) and loaded.activation(key).rule == (name, given)
    for twin in (sim, loaded):
        twin.set_precision(None, "w8a4").set_precision(None, "w8a8")
    assert sim.encodings().equals(before) and loaded.encodings().equals(before)


def test_where_nothing_helps_nothing_changes():
    torch.manual_seed(0)
    data = [torch.rand(32, 4) for _ in range(2)]  # evenly spread: min-max is best
    sim = qnb.QuantSim(nn.ReLU().eval(), data[0], "w8a8").calibrate(data)
    before = states(sim)
    result = qnb.methods.choose_ranges(sim, data)
    assert states(sim) == before and not result.history.kept.any()
    assert (result.table.rule.dropna() == "").all()


class TestWhatStays:
    def test_frozen_and_other_layers(self, captured):
        sim = made(captured)
        names = [s.layer for s in sim.plan.activations.values() if s.kind == "input"]
        sim.freeze(names[0])
        before = states(sim)
        qnb.methods.choose_ranges(sim, BATCHES)
        first = f"activation_quantizers.{next(iter(sim.plan.activations))}"
        assert states(sim)[first] == before[first]
        sim = made(captured)
        qnb.methods.choose_ranges(sim, BATCHES, layers=names[1])
        assert states(sim)[first] == before[first] or states(sim)[first].scale == before[first].scale

    def test_fixed_and_switched_off(self, captured):
        sim = made(captured)
        fixed = [k for k, s in sim.plan.activations.items() if s.fixed is not None]
        assert fixed, "tanh has a fixed range"
        off = next(iter(sim.plan.activations))
        sim.activation(off).enabled = False
        assert not {*fixed, off} & set(free_keys(sim, None, "test"))

    def test_floats(self, captured):
        with pytest.raises(PrecisionError, match="integer"):
            qnb.methods.choose_ranges(made(captured, precision="fp16"), BATCHES)

    def test_weights(self):
        torch.manual_seed(0)
        data = [torch.randn(16, 8).exp() for _ in range(3)]
        model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)).eval()
        sim = qnb.QuantSim(model, data[0], "w4a4").calibrate(data)
        weights = {k: v for k, v in states(sim).items() if k.startswith("weight")}
        tensors = {k: v.clone() for k, v in sim.tensors().items()}
        before = output_db(sim, data[:2])
        qnb.methods.choose_ranges(sim, data)
        assert output_db(sim, data[:2]) > before + 0.1
        assert {k: v for k, v in states(sim).items() if k.startswith("weight")} == weights
        assert all(torch.equal(sim.tensors()[k], v) for k, v in tensors.items())

    @pytest.mark.parametrize("after", ["measuring choices of ranges", "predicting choices of ranges", "calibrating"])
    def test_all_of_it_when_it_is_cancelled(self, captured, after):
        sim = made(captured)
        before = states(sim)
        calls = []

        def progress(done, total, message):
            calls.append(message)
            if message == after and calls.count(after) > 2:
                raise Cancelled("test")

        with pytest.raises(Cancelled):
            qnb.methods.choose_ranges(sim, BATCHES, progress=progress)
        assert states(sim) == before and sim.applied_methods == ()
        hooks = [m for m in sim.modules() if m._forward_hooks or m._forward_pre_hooks]
        assert not hooks


class TestPrediction:
    def test_of_a_linear_model_is_the_noise_itself(self):
        """``|J e|^2`` over the signal, by hand: the input's quantizer of ``y = W x``."""
        torch.manual_seed(0)
        model = nn.Linear(6, 5).eval()
        data = [torch.randn(8192, 6)]
        sim = qnb.QuantSim(model, data[0], "w16a4", target="generic").calibrate(data)
        sim.own_tensors()
        key = next(iter(sim.plan.activations))
        candidates = Candidates(sim, [key], options(["minmax", "mse"]), data, MethodProgress())
        found = predicted(sim, candidates, OutputNoise(sim, data).parts, data, lambda: None)
        with torch.no_grad():
            for number in range(len(candidates.states)):
                candidates.put(sim, {key: number})
                error = sim.activation(key)(data[0]) - data[0]
                exact = float((error @ model.weight.T).square().sum() / model(data[0]).square().sum())
                assert found[key][number] == pytest.approx(exact, rel=0.1)
        assert found[key][0] == found[key][1], "min-max is what it has"

    def test_a_model_without_gradient(self, captured):
        class Rounded(nn.Module):
            def forward(self, a):
                return torch.histc(a, 4) + 0 * a.sum()

        a = torch.rand(8, 4)
        sim = qnb.QuantSim(nn.Sequential(nn.ReLU()).eval(), a, "w8a8").calibrate([a])
        candidates = Candidates(sim, free_keys(sim, None, "test"), options(["minmax"]), [a], MethodProgress())
        sim.own_tensors()

        def refuse(*_, **__):
            raise RuntimeError("derivative for aten::histc is not implemented")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.autograd, "grad", refuse)
            assert predicted(sim, candidates, OutputNoise(sim, [a]).parts, [a], lambda: None) is None


class TestArguments:
    def test_some_rules_only(self, captured):
        sim = made(captured, "percentile", percentile=99.9)
        result = qnb.methods.choose_ranges(sim, BATCHES, rules="minmax")
        assert set(result.history.tried) <= {"minmax for all", *result.tables["inputs"].layer, *result.table.layer}
        assert {q.rule[0] for q in map(sim.activation, free_keys(sim, None, "test"))} <= {"minmax", "percentile"}

    @pytest.mark.parametrize(
        ("rules", "says"),
        [([], "no rules"), (["min_max"], "Did you mean|minmax"), (7, "rules=7"), (["own"], "its own")],
    )
    def test_wrong_rules(self, captured, rules, says, monkeypatch):
        class Own(MinMax):
            pass

        own = copy.copy(RULES["minmax"])
        object.__setattr__(own, "statistics", Own)
        monkeypatch.setitem(RULES.rows, "own", own)
        with pytest.raises(InputError, match=says):
            qnb.methods.choose_ranges(made(captured), BATCHES, rules=rules)


def test_a_tied_quantizer_takes_one_rule_for_all_its_layers():
    class Joined(nn.Module):
        def forward(self, a, b):
            return torch.cat([torch.relu(a), torch.relu(b)], 1)

    sim = qnb.QuantSim(Joined().eval(), BATCHES[0], "w8a4").calibrate(BATCHES)
    result = qnb.methods.choose_ranges(sim, BATCHES)
    shared = sim.groups[-1].key
    layers = [g.layer for g in sim.groups if g.key == shared]
    assert len(layers) > 1 and result.table.set_index("layer").rule[layers].nunique() == 1


def test_in_a_recipe_and_a_run():
    demo = qnb.demo.digits()
    flow = qnb.Workflow(demo.model, demo.calibration[:3], demo.evaluate, tolerance=0.01)
    flow.run("w8a4")
    run = flow.recover("w8a4", "choose_ranges")
    assert run.output_sqnr_db > flow["w8a4"].output_sqnr_db and run.score.value > flow["w8a4"].score.value
    assert run.recovery[0].options == {}
