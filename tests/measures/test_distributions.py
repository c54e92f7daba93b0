"""One layer's values and its weights per channel."""

import numpy as np
import pytest
import torch
from torch import nn

import qnb
from qnb import columns
from qnb.errors import InputError
from qnb.measures import layer_histogram, layer_scatter, weight_channels


@pytest.fixture
def batches():
    return [torch.randn(16, 6, generator=torch.Generator().manual_seed(i)) for i in range(3)]


@pytest.fixture
def sim(batches):
    torch.manual_seed(0)
    return qnb.QuantSim(nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)).eval(), batches[0], "w4a4",
                        target="generic").calibrate(batches)  # fmt: skip


def test_histogram_counts_every_value_once(sim, batches):
    table = layer_histogram(sim, batches, "0", bins=20)
    assert tuple(table.columns) == columns.HISTOGRAM and len(table) == 20
    assert table.fp32.sum() == table.quantsim.sum() == 48 * 5
    with torch.no_grad():
        values = torch.relu(torch.cat(batches) @ sim.tensors()["0.weight"].T + sim.tensors()["0.bias"])
    wanted = np.histogram(values.numpy(), bins=20, range=(table.bin_left[0], table.bin_right.iloc[-1]))[0]
    assert np.abs(wanted - table.fp32).sum() <= 2
    assert (table.quantsim > 0).sum() <= 16, "more levels than 4 bits have"


def test_clipped_share(sim, batches):
    louder = [b * 5 for b in batches]
    assert layer_histogram(sim, louder, "0").attrs["clipped_fraction"] > 0.1
    assert layer_histogram(sim, batches, "0").attrs["clipped_fraction"] < 0.05


def test_a_layer_of_one_value():
    model, x = nn.Sequential(nn.Linear(3, 2), nn.ReLU()).eval(), torch.zeros(2, 3)
    with torch.no_grad():
        model[0].bias.fill_(-1.0)
    table = layer_histogram(qnb.QuantSim(model, x, "w8a8").calibrate([x]), [x], "0")
    assert table.fp32.sum() == 4


def test_scatter_pairs_the_same_elements(sim, batches):
    table = layer_scatter(sim, batches, "2", points=30)
    assert tuple(table.columns) == columns.SCATTER and 20 <= len(table) <= 30
    assert np.corrcoef(table.fp32, table.quantsim)[0, 1] > 0.8


def test_weight_channels(sim):
    table = weight_channels(sim, "0")
    weight = sim.tensors()["0.weight"].detach()
    assert tuple(table.columns) == columns.CHANNELS and len(table) == 5
    assert np.allclose(table["max"], weight.amax(1)) and np.allclose(table["min"], weight.amin(1))
    assert np.allclose(table.scale, sim.encodings().query("tensor == '0.weight'").scale.iloc[0])


def test_unknown_layers_are_named(sim, batches):
    with pytest.raises(InputError, match="no layer matches 'conv'"):
        layer_histogram(sim, batches, "conv")
    with pytest.raises(InputError, match="no layer"):
        weight_channels(sim, "relu")
