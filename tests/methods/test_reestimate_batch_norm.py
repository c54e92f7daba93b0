"""A quantized layer has its batch norm's moments again, and its codes."""

import pytest
import torch
from torch import nn

import qnb
from qnb.methods import reestimate_batch_norm
from qnb.methods.layerwise.frontier import Frontier
from qnb.methods.layerwise.layers import weighted_layers
from qnb.methods.layerwise.weights import nodes
from qnb.methods.reestimate_batch_norm import moments
from qnb.numerics import Grid, Precision, quantize
from tests.methods.states import CancelAfter, digits_sim, same, state
from tests.models import images, transformers_zoo, warmed_up, zoo


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def trained_on(x):
    """A model whose batch norms hold the moments of these very inputs."""
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=8, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.ConvTranspose2d(8, 6, 2, 2),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Flatten(1),
        nn.Linear(6 * 24 * 24, 12),
        nn.BatchNorm1d(12),
    )
    for norm in (m for m in model if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)):
        norm.momentum = None
        with torch.no_grad():
            norm.weight.uniform_(-2, 2)
            norm.bias.uniform_(-1, 1)
    return warmed_up(model, x, passes=1)


def sim_of(precision="w4a8", **arguments):
    x = images(64)
    sim = qnb.QuantSim(trained_on(x), x, precision, **arguments).calibrate([x])
    return sim, list(x.split(16))


def measured(sim, batches):
    """Layer -> (mean, standard deviation) of each channel before the activation; and gamma and beta."""
    walk, graph, found = Frontier(sim, batches), nodes(sim), {}
    for layer in weighted_layers(sim):
        walk.advance(layer.node)
        mean, variance = moments(walk.segment(layer.node))
        norm = graph[layer.node].meta["folded_batch_norm"]
        found[layer.layer] = mean, variance.sqrt(), norm["gamma"].double().abs(), norm["beta"].double()
    return found


def test_moments_are_those_of_all_batches_together():
    sim, batches = sim_of()
    walk = Frontier(sim, batches)
    segment = walk.segment(weighted_layers(sim)[0].node)
    with torch.no_grad():
        whole = torch.cat([segment.run(segment.values(i)) for i in range(4)]).double()
    mean, variance = moments(segment)
    torch.testing.assert_close(mean, whole.mean((0, 2, 3)))
    torch.testing.assert_close(variance, whole.var((0, 2, 3), unbiased=False))


@pytest.mark.parametrize("target", ["generic", "htp-v75"])
def test_layers_have_the_moments_gamma_and_beta(target):
    """Batches being the training data, FP32 has these moments, and so have the quantized layers afterwards."""
    sim, batches = sim_of(target=target)

    def distance():
        moments = measured(sim, batches).values()
        return max(float(((m - b).abs() / g).max() + (s / g - 1).abs().max()) for m, s, g, b in moments)

    before = distance()
    reestimate_batch_norm(sim, batches)
    assert before > 0.1 and distance() < 0.02


def test_codes_stay():
    sim, batches = sim_of()

    def codes():
        found = {}
        for layer in weighted_layers(sim):
            weight, q = sim.weight_tensor(layer.weight_key), sim.weight(layer.weight_key)
            found[layer.layer] = quantize(weight, q.scale, q.zero_point, q.grid.name, q.axis)
        return found

    before, scales = codes(), {x.layer: sim.weight(x.weight_key).scale.clone() for x in weighted_layers(sim)}
    reestimate_batch_norm(sim, batches)
    for layer, old in before.items():
        assert (codes()[layer] != old).float().mean() < 1e-4
    assert all(not torch.equal(sim.weight(x.weight_key).scale, scales[x.layer]) for x in weighted_layers(sim))


@pytest.mark.parametrize("batches", ["training data", "other data"])
def test_where_little_is_rounded_little_changes(batches):
    sim, own = sim_of("w16a16")
    x = own[0]
    with torch.no_grad():
        before = sim(x)
    result = reestimate_batch_norm(sim, own if batches == "training data" else [0.5 * images(32, seed=5) + 0.3])
    with torch.no_grad():
        after = sim(x)
    assert (after - before).abs().max() < 1e-3 * before.abs().max()
    assert result.table.scale_change.max() < 1e-3


def test_with_one_scale_for_all_channels_means_are_restored():
    sim, batches = sim_of(Precision(Grid(4, symmetric=True), Grid(8)), target="generic")
    weights = {n: t.clone() for n, t in sim.tensors().items() if n.endswith("weight")}
    result = reestimate_batch_norm(sim, batches)
    for mean, _, gamma, beta in measured(sim, batches).values():
        assert ((mean - beta).abs() / gamma).max() < 0.02
    assert all(torch.equal(t, sim.tensors()[n]) for n, t in weights.items())
    assert "only means" in result.notes[0] and result.table.scale_change.max() == 0


def test_blocks_have_scales_by_channel_too():
    x = torch.randn(64, 16)
    model = warmed_up(nn.Sequential(nn.Linear(16, 8), nn.BatchNorm1d(8)), x, passes=50)
    sim = qnb.QuantSim(model, x, Precision(Grid(3, True, "block", 4), Grid(8))).calibrate([x])
    reestimate_batch_norm(sim, [x])
    ((mean, sigma, gamma, beta),) = measured(sim, [x]).values()
    torch.testing.assert_close(sigma, gamma, rtol=0.02, atol=0)
    assert ((mean - beta).abs() / gamma).max() < 0.02


def test_a_channel_that_was_rounded_away_is_not_blown_up():
    sim, batches = sim_of("w8a8", target="generic")
    layer = weighted_layers(sim)[0]
    quantizer = sim.weight(layer.weight_key)
    scale = quantizer.scale.clone()
    scale[2] = 1e3  # every code is 0
    quantizer.set_encoding(scale, quantizer.zero_point)
    reestimate_batch_norm(sim, batches)
    mean, sigma, gamma, beta = measured(sim, batches)[layer.layer]
    assert sim.weight(layer.weight_key).scale[2] == 1e3 and sigma[2] == 0
    assert (mean[2] - beta[2]).abs() < 0.02 * gamma[2]


@pytest.mark.parametrize("precision", ["w4a8", "w3a8", Precision(Grid(4, symmetric=True), Grid(8))], ids=str)
def test_digits_lose_less(precision):
    demo = qnb.demo.digits()
    sim, batches = digits_sim(precision, batches=8)
    before = demo.evaluate(sim).value
    result = reestimate_batch_norm(sim, batches)
    assert result.output_after_db > result.output_before_db + 3
    assert demo.evaluate(sim).value > before + 0.02


MODELS = {**zoo(), **transformers_zoo()}


@pytest.mark.parametrize("name", MODELS)
def test_every_model_passes_through(name):
    model, batch = MODELS[name]
    sim = qnb.QuantSim(model, batch, "w4a8").calibrate([batch])
    result = reestimate_batch_norm(sim, [batch])
    normed = any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    assert normed == ("mean_shift" in result.table)
    if normed:
        assert result.output_after_db > result.output_before_db - 1
    else:
        assert "No batch norm" in result.notes[0]


@pytest.mark.parametrize("call", [3, 40, 75])
def test_cancel_leaves_the_sim_as_it_was(call):
    sim, batches = digits_sim()
    before = state(sim)
    with pytest.raises(qnb.errors.Cancelled):
        reestimate_batch_norm(sim, batches, progress=CancelAfter(call))
    assert same(before, state(sim))


def test_a_float_precision_is_an_error():
    sim, batches = digits_sim("fp16")
    with pytest.raises(qnb.errors.PrecisionError):
        reestimate_batch_norm(sim, batches)
