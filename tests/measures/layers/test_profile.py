"""Layers' values, their worst channels and samples, and their weights per channel."""

import numpy as np
import pytest
import torch
from torch import nn

import qnb
from qnb import columns
from qnb.errors import InputError
from qnb.measures import profile_layers, weight_channels
from qnb.measures.layers.bins import BINS
from tests.models import Attention


@pytest.fixture
def batches():
    return [torch.randn(16, 6, generator=torch.Generator().manual_seed(i)) for i in range(3)]


@pytest.fixture
def sim(batches):
    torch.manual_seed(0)
    return qnb.QuantSim(
        nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)).eval(), batches[0], "w4a4", target="generic"
    ).calibrate(batches)


def profile(sim, batches, layer):
    return profile_layers(sim, batches, [layer])[layer]


def test_histogram_counts_every_value_once(sim, batches):
    table = profile(sim, batches, "0").histogram
    assert tuple(table.columns) == columns.HISTOGRAM and len(table) == BINS
    assert table.fp32.sum() == table.quantsim.sum() == 48 * 5
    with torch.no_grad():
        values = torch.relu(torch.cat(batches) @ sim.tensors()["0.weight"].T + sim.tensors()["0.bias"])
    wanted = np.histogram(values.numpy(), bins=BINS, range=(table.bin_left[0], table.bin_right.iloc[-1]))[0]
    assert np.abs(wanted - table.fp32).sum() <= 2
    assert (table.quantsim > 0).sum() <= 16, "more levels than 4 bits have"


def test_clipped_share(sim, batches):
    louder = [b * 5 for b in batches]
    assert profile(sim, louder, "0").clipped_fraction > 0.1
    assert profile(sim, batches, "0").clipped_fraction < 0.05


def test_within_half_a_step_of_its_ends_a_grid_only_rounds():
    from qnb.measures.layers.error import beyond
    from qnb.numerics import Grid
    from qnb.sim import Quantizer

    quantizer = Quantizer("x", Grid(2))
    quantizer.set_range(torch.tensor(0.0), torch.tensor(3.0))
    for values, count in (([0.0, 3.0], 0), ([3.49, -0.49], 0), ([3.51, -0.51], 2), ([1.0, 99.0], 1), ([], 0)):
        assert beyond(torch.tensor(values), quantizer) == count


def test_the_clipped_share_is_that_of_fp32_values_beyond_what_rounds(sim, batches):
    quantizer = sim.activation(next(g.key for g in sim.groups if g.layer == "0"))
    half, (low, high) = quantizer.scale / 2, quantizer.limits()
    with torch.no_grad():
        values = torch.relu(torch.cat(batches) @ sim.tensors()["0.weight"].T + sim.tensors()["0.bias"])
    outside = (values < low - half) | (values > high + half)
    assert profile(sim, batches, "0").clipped_fraction == pytest.approx(float(outside.float().mean()), abs=1e-7)
    assert outside.sum() < ((values < low) | (values > high)).sum(), "some are only rounded"


def test_a_layer_of_one_value():
    model, x = nn.Sequential(nn.Linear(3, 2), nn.ReLU()).eval(), torch.zeros(2, 3)
    with torch.no_grad():
        model[0].bias.fill_(-1.0)
    table = profile(qnb.QuantSim(model, x, "w8a8").calibrate([x]), [x], "0").histogram
    assert table.fp32.sum() == 4


def test_scatter_pairs_the_same_elements(sim, batches):
    table = profile(sim, batches, "2").scatter
    assert tuple(table.columns) == columns.SCATTER and len(table) == 16 * 4
    assert np.corrcoef(table.fp32, table.quantsim)[0, 1] > 0.8


def test_weight_channels(sim):
    table = weight_channels(sim, "0")
    weight = sim.tensors()["0.weight"].detach()
    assert tuple(table.columns) == columns.CHANNELS and len(table) == 5
    assert np.allclose(table["max"], weight.amax(1)) and np.allclose(table["min"], weight.amin(1))
    assert np.allclose(table.scale, sim.encodings().query("tensor == '0.weight'").scale.iloc[0])


def test_unknown_layers_are_named(sim, batches):
    with pytest.raises(InputError, match="no layer matches 'conv'"):
        profile_layers(sim, batches, ["conv"])
    with pytest.raises(InputError, match="no layer"):
        weight_channels(sim, "relu")


def test_all_layers_at_once_are_the_same_as_one_by_one(sim, batches):
    together = profile_layers(sim, batches)
    assert list(together) == [g.layer for g in sim.groups]
    for layer, found in together.items():
        alone = profile(sim, batches, layer)
        assert found.histogram.equals(alone.histogram) and found.samples.equals(alone.samples)


def test_worst_channels_and_samples_against_the_formula(sim, batches):
    found = profile(sim, batches, "2")
    with torch.no_grad():
        x = torch.cat(batches)
        reference, simulated = sim.reference_model(x), sim(x)
    signal, noise = reference.square(), (simulated - reference).square()
    assert list(found.channels.channel) == noise.mean(0).argsort(descending=True, stable=True).tolist()
    assert np.allclose(found.channels.mse, noise.mean(0)[found.channels.channel.tolist()], rtol=1e-4)
    db = 10 * (signal.sum(1) / noise.sum(1)).log10()
    assert list(found.samples["sample"]) == db.argsort(stable=True)[: len(found.samples)].tolist()
    assert np.allclose(found.samples.sqnr_db, db.sort().values[: len(found.samples)], atol=1e-3)


def test_a_convolution_has_its_channels_in_dimension_one():
    model, x = nn.Sequential(nn.Conv2d(3, 7, 3), nn.Flatten(), nn.Linear(7 * 4, 5)).eval(), torch.randn(6, 3, 4, 4)
    sim = qnb.QuantSim(model, x, "w4a8").calibrate([x])
    found = profile_layers(sim, [x])
    for layer, channels in (("0", 7), ("2", 5)):
        assert sorted(found[layer].channels.channel) == list(range(channels))
    assert found["0"].weights is not None and len(found["0"].samples) == 6


def test_where_every_position_is_masked_there_is_nothing_to_show():
    model, x = Attention().eval(), torch.randn(2, 5, 24)
    nowhere = torch.full((2, 1, 5, 5), torch.finfo(torch.float32).min)
    sim = qnb.QuantSim(model, (x, nowhere * 0), "w8a8").calibrate([(x, nowhere * 0)])
    for found in profile_layers(sim, [(x, nowhere)]).values():
        assert np.isfinite(found.histogram.bin_left).all() and not found.samples.sqnr_db.isna().any()


def test_one_pass_is_enough(sim, batches):
    seen = []
    profile_layers(sim, batches, progress=lambda done, total, _: seen.append((done, total)))
    assert seen == [(i, 3) for i in range(1, 4)]
