"""Channels between layers come to use one range, and FP32 computes what it did."""

import pytest
import torch
from torch import nn

import qnb
from qnb.demo import data as demo_data
from qnb.graph.captured import as_call
from qnb.graph.structure import flatten
from qnb.methods import equalize
from qnb.methods.layerwise.layers import weighted_layers
from qnb.methods.layerwise.weights import as_matrix, from_matrix, nodes
from qnb.methods.rescaling.chains import pairs
from qnb.numerics import Grid, Precision
from tests.methods.states import CancelAfter, digits_sim, same, state
from tests.models import images, transformers_zoo, warmed_up, zoo

PER_TENSOR_W8A8 = Precision(Grid(8, symmetric=True), Grid(8))


def calibrated(model, batch, precision="w8a8", **arguments):
    return qnb.QuantSim(model, batch, precision, **arguments).calibrate([batch])


def outputs(model, batch):
    args, kwargs = as_call(batch)
    with torch.no_grad():
        return flatten(model(*args, **kwargs))[0]


def change(model, sim, batch):
    """The largest change of FP32 outputs, relative to the largest output."""
    before, after = outputs(model, batch), outputs(sim.reference_model, batch)
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(after, before, strict=True))


def sqnr_db(sim, model, batch):
    with torch.no_grad():
        exact, simulated = model(batch), sim(batch)
    return float(10 * torch.log10(exact.square().sum() / (simulated - exact).square().sum()))


def inner_ranges(sim, pair):
    """Weight ranges of the channels in a pair's middle, as outputs and as inputs."""
    graph, tensors = nodes(sim), sim.tensors()
    first = as_matrix(tensors[pair.first.weight].detach(), graph[pair.first.node]).abs().amax(-1)
    second = as_matrix(tensors[pair.second.weight].detach(), graph[pair.second.node]).abs().amax(-1)
    return first.amax(2).flatten(), second.amax(1).flatten().view(-1, pair.repeat).amax(1)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def scattered(*layers):
    """A model whose channels have ranges of many sizes: weights and biases are scaled by output channel."""
    model = nn.Sequential(*layers).eval()
    with torch.no_grad():
        for layer in model:
            if isinstance(layer, nn.Conv2d | nn.Linear):
                factors = torch.logspace(-0.5, 0.5, len(layer.weight))
                layer.weight *= factors.view(-1, *[1] * (layer.weight.dim() - 1))
                layer.bias *= factors
    return model


def test_a_pair_ends_at_the_geometric_mean_of_its_ranges():
    model, x = scattered(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(32, 6)
    sim = calibrated(model, x)
    (pair,), _ = pairs(sim, weighted_layers(sim))
    first, second = inner_ranges(sim, pair)
    equalize(sim)  # no data: nothing but the paper's formula
    for after in inner_ranges(sim, pair):
        torch.testing.assert_close(after, torch.sqrt(first * second))


def test_a_depthwise_triple_ends_at_the_cube_root_of_its_ranges():
    model = scattered(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.ReLU(), nn.Conv2d(8, 4, 1))
    sim = calibrated(model, images())
    (one, two), _ = pairs(sim, weighted_layers(sim))
    product = inner_ranges(sim, one)[0] * inner_ranges(sim, two)[0] * inner_ranges(sim, two)[1]
    equalize(sim)
    for after in (*inner_ranges(sim, one), *inner_ranges(sim, two)):
        torch.testing.assert_close(after, product ** (1 / 3), rtol=2e-3, atol=0)


KINDS = {
    "prelu": lambda: (nn.Conv2d(3, 8, 3, padding=1), nn.PReLU(8), nn.Conv2d(8, 4, 3, padding=1)),
    "leaky relu": lambda: (nn.Conv2d(3, 8, 3), nn.LeakyReLU(0.3), nn.Conv2d(8, 4, 3)),
    "nothing between": lambda: (nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3, padding="same")),
    "grouped": lambda: (nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 6, 3, groups=2), nn.ReLU(), nn.Conv2d(6, 4, 1)),
    "depthwise with a multiplier": lambda: (nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, groups=8)),
    "transposed": lambda: (nn.Conv2d(3, 8, 3), nn.ReLU(), nn.ConvTranspose2d(8, 6, 2, 2), nn.Conv2d(6, 4, 1)),
    "grouped transposed": lambda: (nn.Conv2d(3, 8, 3), nn.ReLU(), nn.ConvTranspose2d(8, 6, 2, 2, groups=2)),
    "pooled and flattened": lambda: (
        nn.Conv2d(3, 8, 3),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(72, 4),
    ),
    "linear over tokens": lambda: (nn.Flatten(2), nn.Linear(256, 8), nn.ReLU(), nn.Linear(8, 4)),
}


@pytest.mark.parametrize("data", [True, False], ids=["with data", "without data"])
@pytest.mark.parametrize("kind", KINDS)
def test_ranges_draw_together_and_fp32_stays(kind, data):
    model, x = scattered(*KINDS[kind]()), images()
    sim = calibrated(model, x)
    found, _ = pairs(sim, weighted_layers(sim))
    assert len(found) == len(weighted_layers(sim)) - 1
    before = [inner_ranges(sim, pair) for pair in found]
    equalize(sim, [x] if data else None)
    assert change(model, sim, x) < 1e-5
    for pair, old in zip(found, before, strict=True):
        first, second = inner_ranges(sim, pair)
        assert (first / second).log().abs().mean() < 0.6 * (old[0] / old[1]).log().abs().mean()


@pytest.mark.parametrize("kind", KINDS)
def test_a_weight_is_a_matrix_and_back(kind):
    sim = qnb.QuantSim(scattered(*KINDS[kind]()), images())
    for layer in weighted_layers(sim):
        weight, node = sim.tensors()[layer.weight], nodes(sim)[layer.node]
        assert torch.equal(from_matrix(as_matrix(weight, node), node, weight), weight)


MODELS = {**zoo(), **transformers_zoo()}


@pytest.mark.parametrize("data", [True, False], ids=["with data", "without data"])
@pytest.mark.parametrize("name", MODELS)
def test_every_model_computes_what_it_did(name, data):
    model, batch = MODELS[name]
    sim = calibrated(model, batch)
    result = equalize(sim, [batch] if data else None)
    assert change(model, sim, batch) <= 1e-4
    assert len(result.table) == len(sim.groups)
    if data:
        assert sim.calibrated


def uneven_depthwise_net():
    """Inner channels whose weight ranges differ by 100 times, as batch norms with uneven statistics leave them."""
    torch.manual_seed(1)
    layers = []
    for i in range(3):
        layers += [
            nn.Conv2d(8 if i else 3, 16, 1),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3, padding=1, groups=16),
            nn.ReLU(),
            nn.Conv2d(16, 8, 1),
        ]
    model = nn.Sequential(*layers).eval()
    with torch.no_grad():
        for layer in (m for m in model if isinstance(m, nn.Conv2d)):
            nn.init.kaiming_normal_(layer.weight)
        for expand, depthwise in zip(model[0::5], model[2::5], strict=True):
            s = torch.logspace(-1, 1, 16)[torch.randperm(16)]
            expand.weight *= s.view(-1, 1, 1, 1)
            expand.bias *= s
            depthwise.weight /= s.view(-1, 1, 1, 1)
    return model


def test_per_tensor_weights_of_uneven_channels_are_brought_back():
    model, x = uneven_depthwise_net(), images(16)
    sim = calibrated(model, x, PER_TENSOR_W8A8)
    ruined = sqnr_db(sim, model, x)
    result = equalize(sim, [x])
    assert ruined < 10 and sqnr_db(sim, model, x) > ruined + 18
    table = result.table.dropna(subset="range_ratio_before")
    assert table.range_ratio_before.max() > 50 and table.range_ratio_after.max() < 10


def test_digits_lose_less_through_relu6_and_fp32_stays():
    demo = qnb.demo.digits()
    sim, calibration = digits_sim(Precision(Grid(4, symmetric=True), Grid(8)), batches=8)
    test = torch.cat(demo_data.batches(demo_data.load().test, 180))
    before = sqnr_db(sim, demo.model, test)
    equalize(sim, calibration)
    assert change(demo.model, sim, torch.cat([test, *calibration])) < 1e-5
    assert sqnr_db(sim, demo.model, test) > before + 1


def test_a_channel_that_relu6_clips_keeps_its_scale():
    model, x = scattered(nn.Conv2d(3, 8, 1), nn.ReLU6(), nn.Conv2d(8, 4, 1)), 0.3 * images()
    with torch.no_grad():
        model[0].bias[3] = 9.0
    sim = calibrated(model, x)
    result = equalize(sim, [x])
    rows = (sim.tensors()["0.weight"] / model[0].weight).flatten(1)
    assert torch.equal(rows[3], torch.ones(3)) and (rows[:3] - 1).abs().min() > 0.01
    assert change(model, sim, x) < 1e-5 and result.notes[0].endswith("1 in 0.")


def test_without_data_relu6_stays_as_it_is():
    model, x = scattered(nn.Conv2d(3, 8, 1), nn.ReLU6(), nn.Conv2d(8, 4, 1)), images()
    sim = calibrated(model, x)
    result = equalize(sim)
    assert torch.equal(sim.tensors()["0.weight"], model[0].weight) and sim.calibrated
    assert any("Without batches" in note for note in result.notes)


def test_a_nearly_dead_channel_with_a_bias_does_not_take_the_grid():
    model, x = scattered(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 4, 1)), images()
    with torch.no_grad():
        model[0].weight[2] *= 1e-7
        model[0].bias[2] = 0.5
    sim = calibrated(model, x)
    top = sim.encodings().query("layer == '0' and kind == 'activation'")["max"].item()
    equalize(sim, [x])
    assert sim.encodings().query("layer == '0' and kind == 'activation'")["max"].item() < 1.01 * top


def high_bias(padding):
    model = scattered(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 4, 3, padding=padding))
    with torch.no_grad():
        model[0].bias += 100
    return model


def test_a_high_bias_is_absorbed_where_nothing_is_padded():
    model, x = high_bias(0), images()
    sim = calibrated(model, x)
    own = qnb.compare_layers(sim, [x]).sqnr_db.iloc[-1]
    result = equalize(sim, [x])
    assert result.table.absorbed.iloc[0] == 8
    assert change(model, sim, x) < 1e-5
    assert outputs(sim.reference_model, x)[0].abs().max() > 1
    assert qnb.compare_layers(sim, [x]).sqnr_db.iloc[-1] > own + 4


@pytest.mark.parametrize("padding", [1, "same"])
def test_no_bias_is_absorbed_into_a_layer_that_pads(padding):
    model, x = high_bias(padding), images()
    sim = calibrated(model, x)
    result = equalize(sim, [x])
    assert result.table.absorbed.iloc[0] == 0 and change(model, sim, x) < 1e-5
    assert any("pads with zeros" in note for note in result.notes)


def test_absorption_can_be_left_out():
    sim = calibrated(high_bias(0), images())
    assert equalize(sim, [images()], absorb=False).table.absorbed.iloc[0] == 0


def test_batch_norm_statistics_move_along_and_survive_saving(tmp_path):
    model = warmed_up(scattered(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1)), images(32))
    sim = calibrated(model, images(32))
    shared, old = sim.copy(), nodes(sim)["conv2d"].meta["folded_batch_norm"]
    equalize(sim, [images(32)])
    new = nodes(sim)["conv2d"].meta["folded_batch_norm"]
    after, before = (s.tensors()[weighted_layers(s)[0].weight].detach().flatten(1) for s in (sim, shared))
    ratio = after.abs().amax(1) / before.abs().amax(1)
    torch.testing.assert_close(new["gamma"], old["gamma"] * ratio)
    assert nodes(shared)["conv2d"].meta["folded_batch_norm"] is old
    sim.save(tmp_path / "sim")
    loaded = qnb.QuantSim.load(tmp_path / "sim")
    assert torch.equal(nodes(loaded)["conv2d"].meta["folded_batch_norm"]["gamma"], new["gamma"])
    assert torch.equal(loaded(images()), sim(images())) and torch.equal(sim.copy()(images()), sim(images()))


def test_without_data_a_sim_asks_for_calibration():
    sim = calibrated(uneven_depthwise_net(), images())
    result = equalize(sim)
    assert not sim.calibrated and "call sim.calibrate(batches)" in " ".join(result.notes)
    with pytest.raises(qnb.errors.CalibrationError):
        sim(images())
    assert sim.calibrate([images()]).calibrated


def test_each_activation_keeps_its_range_rule():
    sim = calibrated(uneven_depthwise_net(), images())
    sim.calibrate([images()], "percentile", percentile=99.0, layers="2")
    equalize(sim, [images()])
    (key,), others = sim.output_keys({"2"}), sim.output_keys({"4"})
    assert sim.activation(key).rule == ("percentile", {"percentile": 99.0})
    assert all(sim.activation(k).rule == ("minmax", {}) for k in others)


def test_only_named_layers_change():
    sim = calibrated(uneven_depthwise_net(), images())
    before = sim.tensors()
    equalize(sim, [images()], layers=["0", "2"])
    changed = {n for n, t in sim.tensors().items() if not torch.equal(t, before[n])}
    assert changed == {"0.weight", "0.bias", "2.weight"}


def test_a_residual_is_no_pair():
    sim = qnb.QuantSim(*MODELS["resnet20"])
    found, _ = pairs(sim, weighted_layers(sim))
    first = {p.first.layer for p in found}
    assert {name.rpartition(".")[2] for name in first} == {"conv1"} and "conv1" not in first


def test_tied_weights_are_left_alone():
    sim = calibrated(*MODELS["reused"])
    assert "also used elsewhere" in " ".join(equalize(sim).notes)


@pytest.mark.parametrize("call", [2, 12, 25])
def test_cancel_leaves_the_sim_as_it_was(call):
    sim, batches = digits_sim()
    before = state(sim)
    captured = sim.captured
    with pytest.raises(qnb.errors.Cancelled):
        equalize(sim, batches, progress=CancelAfter(call * 10))
    assert same(before, state(sim)) and sim.captured is captured


def test_cancel_in_the_last_step_leaves_the_sim_as_it_was():
    counted, (sim, batches) = CancelAfter(), digits_sim()
    equalize(sim.copy(), batches, progress=counted)
    before = state(sim)
    with pytest.raises(qnb.errors.Cancelled):
        equalize(sim, batches, progress=CancelAfter(counted.calls - 3))
    assert same(before, state(sim))


def test_what_does_not_go_is_an_error():
    sim, batches = digits_sim("fp16")
    with pytest.raises(qnb.errors.PrecisionError):
        equalize(sim, batches)
    sim, batches = digits_sim()
    with pytest.raises(qnb.errors.InputError, match="iterations"):
        equalize(sim, batches, iterations=0)
    qnb.methods.equalize(sim, batches)
    with pytest.raises(qnb.errors.InputError, match="second time"):
        equalize(sim, batches)
    sim, batches = digits_sim()
    with torch.no_grad():
        sim.model.get_parameter("blocks.4.expand.conv.weight").mul_(2)
    with pytest.raises(qnb.errors.InputError, match="changed since the capture"):
        equalize(sim, batches)
