"""Survey: what it says of FP32 values is what NumPy says of them."""

import math

import numpy as np
import torch
from torch import nn

import qnb
from qnb.measures.layers.survey import NodeValues, survey


def made(batches):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16, 5)).eval()
    return model, qnb.QuantSim(model, batches[0], "w8a8", target="generic").calibrate(batches)


def test_ranges_moments_channels_and_samples():
    torch.manual_seed(0)
    batches = [torch.randn(8, 3, 6, 6) for _ in range(3)]
    model, sim = made(batches)
    found = survey(sim, batches, closely=3)
    values = torch.cat([model[1](model[0](x)) for x in batches]).detach().numpy()
    seen = found.layers["0"]
    assert found.samples == 24 and seen.count == values.size
    assert math.isclose(seen.mean, values.mean(), rel_tol=1e-4) and math.isclose(
        seen.spread, values.std(), rel_tol=1e-4
    )
    assert math.isclose(seen.high, values.max(), rel_tol=1e-5) and seen.low == 0
    np.testing.assert_allclose(seen.channels, np.abs(values).max((0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(seen.highs, values.max((1, 2, 3)), rtol=1e-5)
    step = float(sim.activation(sim.groups[0].key).scale)
    assert math.isclose(seen.vanishing, (values[values > 0] < step / 2).mean(), abs_tol=1e-3)


def test_only_extremes_are_taken_of_what_is_not_looked_at_closely():
    batches = [torch.ones(8, 3, 6, 6), 100 * torch.ones(8, 3, 6, 6)]
    _, sim = made(batches)
    seen = survey(sim, batches, closely=1).layers["input"]
    assert seen.high == 1.0 and max(seen.highs) == 100.0 and len(seen.highs) == 16


def test_what_is_not_finite_does_not_count():
    values = NodeValues()
    values.update(torch.tensor([1.0, math.inf, 3.0, math.nan]))
    assert (values.count, values.low, values.high, values.mean, values.span) == (2, 1.0, 3.0, 2.0, 2.0)
    assert NodeValues().span == NodeValues().reach == NodeValues().spread == 0.0
