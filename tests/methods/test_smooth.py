"""Smoothing takes outliers out of activations and leaves the FP32 function alone."""

import pytest
import torch
from torch import nn

import qnb
from qnb.methods.layerwise.layers import weighted_layers
from qnb.methods.rescaling.rescale import Magnitudes
from qnb.methods.smooth import smooth, smoothing_scales
from qnb.numerics import Grid, Precision
from tests.methods.outliers import outliers
from tests.methods.states import CancelAfter, same, state
from tests.models import transformers_zoo, warmed_up, zoo


@pytest.fixture(scope="module")
def demo():
    return qnb.demo.transformer()


def small(seed=0):
    """A norm with outliers and two layers that read it, one of them on to a third; its data."""
    torch.manual_seed(seed)

    class Small(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.a, self.b, self.c = nn.LayerNorm(8), nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 4)
            with torch.no_grad():
                self.norm.weight[2], self.norm.bias[2] = 60.0, 5.0

        def forward(self, x):
            x = self.norm(x)
            return self.c(torch.relu(self.a(x))) + self.b(x).sum(-1, keepdim=True)

    return Small().eval(), [torch.randn(32, 8), torch.randn(11, 8)]


def small_sim(precision="w8a8", **arguments):
    model, batches = small()
    return qnb.QuantSim(model, batches[0], precision, **arguments).calibrate(batches), batches


def test_scales_are_the_papers():
    of = Magnitudes(torch.tensor([100.0, 4.0, 0.0]), torch.ones(3), torch.tensor([1.0, 4.0, 1.0]))
    torch.testing.assert_close(smoothing_scales(of, 0.5), torch.tensor([10.0, 1.0, 1.0]))
    torch.testing.assert_close(smoothing_scales(of, 0.75)[0], torch.tensor(100.0**0.75))
    torch.testing.assert_close(smoothing_scales(of, 1.0), torch.tensor([100.0, 4.0, 1.0]))


def test_a_given_alpha_gives_the_papers_scales_in_weights_and_norm():
    sim, batches = small_sim()
    model, _ = small()
    smooth(sim, batches, alpha=0.5)
    x = torch.cat([model.norm(b) for b in batches]).detach().abs().amax(0)
    w = torch.maximum(model.a.weight.abs().amax(0), model.b.weight.abs().amax(0)).detach()
    s = x**0.5 / w**0.5
    new = sim.tensors()
    torch.testing.assert_close(new["norm.weight"], (model.norm.weight / s).detach())
    torch.testing.assert_close(new["norm.bias"], (model.norm.bias / s).detach())
    torch.testing.assert_close(new["b.weight"], (model.b.weight * s).detach())
    inner = (x := torch.cat([model.a(model.norm(b)).relu() for b in batches]).detach().amax(0)) ** 0.5
    inner = torch.where(x > 0, inner / model.c.weight.detach().abs().amax(0) ** 0.5, 1.0)
    torch.testing.assert_close(new["c.weight"], (model.c.weight * inner).detach())
    torch.testing.assert_close(new["a.weight"], (model.a.weight * s / inner[:, None]).detach())


def test_outliers_of_a_norm_are_smoothed_away(demo):
    """SQNR at W8A8: as if there were none."""
    model, data = outliers(demo.model), demo.calibration
    sim = qnb.QuantSim(model, data[0], "w8a8").calibrate(data)
    result = smooth(sim, data[:2])
    assert result.output_before_db < 3 and result.output_after_db > 25
    assert demo.evaluate(sim).value > 0.95


def test_activations_get_ranges_by_their_own_rule(demo):
    data = demo.calibration[:2]
    for method in ("minmax", "percentile", "mse"):
        sim = qnb.QuantSim(outliers(demo.model), data[0], "w8a8").calibrate(data, method)
        rules = {k: sim.activation(k).rule for k in sim.plan.activations}
        smooth(sim, data, layers="blocks.0.qkv", alpha=0.5)
        assert rules == {k: sim.activation(k).rule for k in sim.plan.activations}
        renewed = {k: sim.activation(k).scale.clone() for k in sim.plan.activations}
        key = next(g.key for g in sim.groups if g.layer == "blocks.0.norm1")
        sim.calibrate(data, method)
        torch.testing.assert_close(renewed[key], sim.activation(key).scale, rtol=0.05, atol=0)


def test_it_is_never_worse_by_its_own_measure_and_alpha_is_the_best_of_those_tried(demo):
    sim = qnb.QuantSim(demo.model, demo.calibration[0], "w8a8").calibrate(demo.calibration[:2])
    result = smooth(sim, demo.calibration[:1])
    table = result.table.dropna(subset=["fit_after_db"])
    assert len(table) == 9 and (table.fit_after_db >= table.fit_before_db).all()
    for row in table.itertuples():
        tried = result.history[result.history.layer == row.layer]
        assert len(tried) == 11
        best = tried.loc[tried.fit_db.idxmax()]
        if best.fit_db > row.fit_before_db:
            assert (row.alpha, row.fit_after_db) == (best.alpha, best.fit_db)
        else:
            assert row.alpha != row.alpha and row.fit_after_db == row.fit_before_db


def test_where_nothing_is_gained_nothing_changes():
    """Weights of 16 bits and activations of equal size: any scale can only lose."""
    torch.manual_seed(0)
    first, second = nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)
    with torch.no_grad():
        first.weight.copy_(torch.eye(8))
        second.weight.copy_(torch.linalg.qr(torch.randn(8, 8))[0].sign() + 0.01)
    x = torch.rand(64, 8) * 2 - 1
    x[0], x[1] = 1, -1
    sim = qnb.QuantSim(nn.Sequential(first, second).eval(), x, Precision(Grid(8, True), Grid(8))).calibrate([x])
    before = state(sim)
    result = smooth(sim, [x])
    assert result.table.alpha.isna().all()
    sim.applied_methods = ()
    assert same(before, state(sim))


MODELS = {**zoo(), **transformers_zoo()}


@pytest.mark.parametrize("name", MODELS)
def test_the_fp32_function_of_every_model_stays_the_same(name):
    model, example = MODELS[name]
    original = {n: p.clone() for n, p in model.named_parameters()}
    sim = qnb.QuantSim(model, example, "w8a8").calibrate([example])
    flat, shared = sim.flatten(example, "test"), sim.reference
    before = shared(*flat)
    result = smooth(sim, [example], alpha=0.5)
    floating = sim.copy().disable()
    for after in (sim.reference(*flat), floating.run_flat(flat)):
        for a, b in zip(after, before, strict=True):
            assert (a - b).abs().max() <= 1e-4 * b.abs().max()
    assert all(torch.equal(a, b) for a, b in zip(shared(*flat), before, strict=True))
    assert all(torch.equal(original[n], p) for n, p in model.named_parameters())
    assert all(torch.equal(t, dict(sim.reference.state_dict())[n]) for n, t in sim.tensors().items())
    readers = "" if "readers" not in result.table else ", ".join(result.table.readers.dropna())
    notes = " ".join(result.notes)
    assert all(layer.layer in readers.split(", ") or layer.layer in notes for layer in weighted_layers(sim))


@pytest.mark.parametrize("target", ["generic", "htp-v75"])
def test_convolutions_and_their_folded_batch_norms(target):
    torch.manual_seed(0)
    x = torch.randn(8, 3, 8, 8)
    model = warmed_up(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3, 1, 1)), x)
    with torch.no_grad():
        model[1].weight[1] *= 50
        model[1].bias[1] *= 50
        model[3].weight[:, 1] /= 50
    sim = qnb.QuantSim(model, x, "w8a8", target=target).calibrate([x])
    result = smooth(sim, [x, x[:3]])
    assert result.output_after_db > result.output_before_db + 6
    node = next(n for n in sim.captured.module.graph.nodes if "folded_batch_norm" in n.meta)
    norm, weight = node.meta["folded_batch_norm"], sim.tensors()[node.args[1].target]
    expected = model[0].weight * (norm["gamma"] / torch.sqrt(norm["variance"] + norm["eps"])).view(-1, 1, 1, 1)
    torch.testing.assert_close(weight.detach(), expected.float().detach())


def test_what_was_smoothed_can_be_copied_and_saved(tmp_path):
    sim, batches = small_sim()
    smooth(sim, batches)
    sim.save(tmp_path / "sim.qnb")
    for other in (sim.copy(), qnb.QuantSim.load(tmp_path / "sim.qnb")):
        assert torch.equal(other(batches[0]), sim(batches[0])) and other.applied_methods == ("smooth",)


def test_range_and_rounding_may_follow():
    sim, batches = small_sim("w4a8")
    for name in ("smooth", "seq_mse", "gptq"):
        getattr(qnb.methods, name)(sim, batches)
    assert sim.applied_methods == ("smooth", "seq_mse", "gptq")
    sim, batches = small_sim()
    qnb.methods.seq_mse(sim, batches)
    with pytest.raises(qnb.errors.InputError, match="smooth, seq_mse"):
        smooth(sim, batches)


@pytest.mark.parametrize("part", [0.02, 0.2, 0.4, 0.6, 0.8, 0.98])
def test_cancelled_it_leaves_the_sim_as_it_was(part):
    sim, batches = small_sim()
    counted = CancelAfter()
    smooth(sim.copy(), batches, progress=counted)
    before, captured = state(sim), sim.captured
    with pytest.raises(qnb.errors.Cancelled):
        smooth(sim, batches, progress=CancelAfter(int(counted.calls * part) + 1))
    assert same(before, state(sim)) and sim.captured is captured
    assert all(sim.activation(k).observer is None for k in sim.plan.activations)


def test_what_it_cannot_do_is_an_error():
    sim, batches = small_sim("fp16")
    with pytest.raises(qnb.errors.PrecisionError, match="integer"):
        smooth(sim, batches)
    sim, batches = small_sim()
    with pytest.raises(qnb.errors.InputError, match="alpha"):
        smooth(sim, batches, alpha=1.5)
    with torch.no_grad():
        sim.model.get_parameter("a.weight").mul_(2)
    with pytest.raises(qnb.errors.InputError, match="changed since the capture"):
        smooth(sim, batches)
