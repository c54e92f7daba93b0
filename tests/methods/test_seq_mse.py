"""SeqMSE finds what trying every range by running the layer finds."""

import pytest
import torch
from torch import nn

import qnb
from qnb.methods.layerwise.frontier import Frontier
from qnb.methods.layerwise.layers import weighted_layers
from qnb.methods.seq_mse import seq_mse
from qnb.numerics import Grid, Precision, affine_parameters
from tests.methods.states import CancelAfter, digits_sim, same, state
from tests.models import transformers_zoo, zoo

CHANNEL, TENSOR = Grid(3, True, "channel"), Grid(3, True)


def one_layer(layer, x, weights, activations=None):
    return qnb.QuantSim(layer.eval(), x, Precision(weights, activations)).calibrate([x])


def errors(sim, x, layer, axis=-1):
    """Squared error of each output channel, by running the model."""
    with torch.no_grad():
        difference = (sim(x) - layer(x)).double().movedim(axis, 0).flatten(1)
    return difference.square().sum(1)


def every_range(sim, x, layer, candidates, axis=-1):
    """Errors ``[candidates, channels]`` of the ranges tried, by running the model with each."""
    (found,), tried = weighted_layers(sim), []
    quantizer = sim.weight(found.weight_key)
    low, high = quantizer.minimum, quantizer.maximum
    for i in range(1, candidates + 1):
        quantizer.set_encoding(*affine_parameters(low * (i / candidates), high * (i / candidates), quantizer.grid))
        tried.append(errors(sim, x, layer, axis))
    quantizer.set_range(low, high)
    return torch.stack(tried)


torch.manual_seed(0)
LAYERS = {
    "linear": (nn.Linear(12, 5), torch.randn(64, 12) * torch.arange(1.0, 13), -1),
    "conv": (nn.Conv2d(3, 4, 3, padding=1), torch.randn(4, 3, 8, 8).relu(), 1),
    "depthwise": (nn.Conv2d(4, 4, 3, groups=4), torch.randn(4, 4, 8, 8), 1),
    "transposed": (nn.ConvTranspose2d(3, 4, 2, 2), torch.randn(4, 3, 8, 8), 1),
}


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_each_channel_gets_the_best_of_all_ranges(name, symmetric):
    layer, x, axis = LAYERS[name]
    sim = one_layer(layer, x, Grid(3, symmetric, "channel"))
    tried = every_range(sim, x, layer, 10, axis)
    seq_mse(sim, [x], candidates=10)
    torch.testing.assert_close(errors(sim, x, layer, axis), tried.amin(0), rtol=1e-3, atol=1e-6)
    assert (tried.amin(0) < tried[-1]).any() or not symmetric


@pytest.mark.parametrize("name", LAYERS)
def test_one_range_for_the_tensor_is_the_best_for_all_channels_together(name):
    layer, x, axis = LAYERS[name]
    sim = one_layer(layer, x, TENSOR)
    tried = every_range(sim, x, layer, 10, axis).sum(1)
    seq_mse(sim, [x], candidates=10)
    torch.testing.assert_close(errors(sim, x, layer, axis).sum(), tried.min(), rtol=1e-3, atol=1e-6)


def test_blocks_are_chosen_one_after_the_other_each_for_the_whole_output():
    layer, x = nn.Linear(8, 3, bias=False), torch.randn(64, 8) @ torch.randn(8, 8)
    sim = one_layer(layer, x, Grid(3, True, "block", 4))
    (found,) = weighted_layers(sim)
    quantizer, weight = sim.weight(found.weight_key), layer.weight.detach()
    low, high = quantizer.minimum, quantizer.maximum  # [3, 2]
    taken = torch.ones(3, 2)
    for block in range(2):
        tried = []
        for i in range(1, 11):
            parts = taken.clone()
            parts[:, block] = i / 10
            quantizer.set_encoding(*affine_parameters(low * parts, high * parts, quantizer.grid))
            tried.append(((quantizer(weight) - weight) @ x.T).square().sum(1))
        taken[:, block] = (torch.stack(tried).argmin(0) + 1) / 10
    quantizer.set_range(low, high)
    seq_mse(sim, [x], candidates=10)
    torch.testing.assert_close(
        quantizer.scale.detach(), affine_parameters(low * taken, high * taken, quantizer.grid)[0]
    )


def test_the_target_is_fp32_and_the_input_is_quantized():
    """With an input that was quantized badly, the best weights are others than for the exact input."""
    torch.manual_seed(0)
    layer, x = nn.Linear(6, 4), torch.randn(256, 6)
    coarse, fine = (one_layer(layer, x, CHANNEL, activations) for activations in (Grid(3), None))
    coarse.disable(kind="activation")
    tried = every_range(coarse, x, layer, 10)
    for sim in (coarse, fine):
        seq_mse(sim, [x], candidates=10)
    got = errors(coarse, x, layer)
    torch.testing.assert_close(got, tried.amin(0), rtol=1e-3, atol=1e-6)
    key = weighted_layers(coarse)[0].weight_key
    assert not torch.equal(coarse.weight(key).scale, fine.weight(key).scale)


def test_a_range_that_is_better_than_all_tried_stays():
    layer, x = nn.Linear(12, 5), torch.randn(64, 12)
    sim = one_layer(layer, x, CHANNEL)
    seq_mse(sim, [x], candidates=40)
    scale = sim.quantizers()[-1].scale.clone()
    sim.applied_methods = ()
    seq_mse(sim, [x], candidates=2)
    assert torch.equal(scale, sim.quantizers()[-1].scale)


def outputs_of_prefix(sim, batches):
    """Squared error of each channel of each layer, given its inputs from the sim as it is."""
    walk, found = Frontier(sim, batches), {}
    for layer in weighted_layers(sim):
        walk.advance(layer.node)
        segment = walk.segment(layer.node)
        with torch.no_grad():
            difference = segment.run(segment.values(0)) - segment.target(0)
        found[layer.layer] = difference.double()
    return found


def test_every_channel_of_the_digits_net_is_at_least_as_good_as_with_min_max():
    sim, batches = digits_sim("w3a8", batches=1, simulate_bias=False)
    seq_mse(sim, batches)
    chosen = outputs_of_prefix(sim, batches)
    for layer in weighted_layers(sim, "blocks.1.*"):  # min-max of this layer alone, on the same inputs
        other = sim.copy()
        quantizer, weight = other.weight(layer.weight_key), other.weight_tensor(layer.weight_key).detach()
        quantizer.set_range(*(end(weight.flatten(1), dim=1) for end in (torch.amin, torch.amax)))
        minmax = outputs_of_prefix(other, batches)[layer.layer]
        axis = 1 if layer.op == "conv2d" else -1
        a, b = (d.movedim(axis, 0).flatten(1).square().sum(1) for d in (chosen[layer.layer], minmax))
        assert (a <= b * (1 + 1e-3) + 1e-9).all(), layer.layer


def test_it_restores_accuracy():
    demo = qnb.demo.digits()
    for precision, least in (("w3a8", 0.3), (Precision(Grid(4, symmetric=True), Grid(8)), 0.05)):
        sim = qnb.QuantSim(demo.model, demo.calibration[0], precision).calibrate(demo.calibration)
        before = demo.evaluate(sim).value
        result = seq_mse(sim, demo.calibration)
        assert demo.evaluate(sim).value > before + least
        assert result.output_after_db > result.output_before_db + 3
        assert list(result.history.layer) == [layer.layer for layer in weighted_layers(sim)]


MODELS = {**zoo(), **transformers_zoo()}


@pytest.mark.parametrize(
    ("name", "target"), [*((name, "htp-v75") for name in MODELS), ("unet", "generic"), ("reused", "generic")]
)
def test_every_model(name, target):
    model, example = MODELS[name]
    sim = qnb.QuantSim(model, example, "w4a8", target=target).calibrate([example])
    weights = {n: t.clone() for n, t in sim.tensors().items()}
    table = seq_mse(sim, [example], candidates=5).table.dropna(subset=["fit_after_db"])
    assert set(table.layer) == {layer.layer for layer in weighted_layers(sim)}
    assert (table.fit_after_db >= table.fit_before_db).all() and (table.range_fraction < 1).any()
    assert all(torch.equal(weights[n], t) for n, t in sim.tensors().items())


@pytest.mark.parametrize("weights", [Grid(4, True, "block", 8), Grid(4), Grid(4, True, "block", 2)])
def test_other_grids_on_attention_and_on_grouped_and_transposed_convolutions(weights):
    demo = qnb.demo.transformer()
    sim = qnb.QuantSim(demo.model, demo.calibration[0], Precision(weights, Grid(16))).calibrate(demo.calibration[:1])
    result = seq_mse(sim, demo.calibration[:1], candidates=10)
    assert result.output_after_db > result.output_before_db
    model = nn.Sequential(nn.Conv2d(4, 8, 3, groups=2), nn.ConvTranspose2d(8, 6, 2, groups=2)).eval()
    x = torch.randn(2, 4, 6, 6)
    for target in ("generic", "htp-v75"):
        sim = qnb.QuantSim(model, x, Precision(weights, Grid(8)), target=target).calibrate([x])
        table = seq_mse(sim, [x], candidates=10).table.dropna(subset=["fit_after_db"])
        assert len(table) == 2 and (table.fit_after_db >= table.fit_before_db).all()


def test_blocks_that_straddle_groups_are_left_with_a_note():
    model = nn.Sequential(nn.ConvTranspose2d(12, 8, 2, groups=4)).eval()  # 3 inputs a group, blocks of 2
    x = torch.randn(2, 12, 6, 6)
    sim = qnb.QuantSim(model, x, Precision(Grid(4, True, "block", 2), Grid(8)), target="generic").calibrate([x])
    before = state(sim)
    assert "do not line up" in seq_mse(sim, [x]).notes[0]
    sim.applied_methods = ()
    assert same(before, state(sim))


def test_16_bit_weights_keep_their_range():
    sim, batches = digits_sim("w16a16")
    before = {k: sim.weight(k).scale.clone() for k in sim.plan.weights}
    assert "16-bit" in seq_mse(sim, batches).notes[0]
    assert all(torch.equal(before[k], sim.weight(k).scale) for k in before)


def test_layers_can_be_chosen_and_batches_may_differ_in_size():
    sim, batches = digits_sim()
    before = {layer.layer: sim.weight(layer.weight_key).scale.clone() for layer in weighted_layers(sim)}
    seq_mse(sim, [batches[0], batches[1][:5]], layers="blocks.0.*")
    changed = {
        name
        for name, scale in before.items()
        if not torch.equal(scale, next(sim.weight(x.weight_key) for x in weighted_layers(sim) if x.layer == name).scale)
    }
    assert changed and all(name.startswith("blocks.0.") for name in changed)


@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.95])
def test_cancelled_it_leaves_the_sim_as_it_was(part):
    sim, batches = digits_sim()
    counted = CancelAfter()
    seq_mse(sim.copy(), batches, candidates=4, progress=counted)
    before = state(sim)
    with pytest.raises(qnb.errors.Cancelled):
        seq_mse(sim, batches, candidates=4, progress=CancelAfter(int(counted.calls * part) + 1))
    assert same(before, state(sim))


def test_the_result_is_the_same_again():
    (a, batches), (b, _) = digits_sim(), digits_sim()
    for sim in (a, b):
        seq_mse(sim, batches, candidates=3)
    assert same(state(a), state(b))


def test_what_it_cannot_do_is_an_error():
    sim, batches = digits_sim("fp16")
    with pytest.raises(qnb.errors.PrecisionError, match="integer"):
        seq_mse(sim, batches)
    layer, x = nn.Linear(4, 4), torch.randn(8, 4)
    sim = one_layer(layer, x, CHANNEL)
    with pytest.raises(qnb.errors.InputError, match="candidates"):
        seq_mse(sim, [x], candidates=1)
    qnb.methods.gptq(sim, [x])
    with pytest.raises(qnb.errors.InputError, match="seq_mse, gptq"):
        seq_mse(sim, [x])
