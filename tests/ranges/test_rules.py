"""Range rules against brute force."""

import pytest
import torch

from qnb.errors import InputError
from qnb.numerics import FloatGrid, Grid, affine_parameters, fake_quantize
from qnb.ranges import RULES, tensor_range


def heavy_tails(n=20_000, seed=0):
    x = torch.randn(n, generator=torch.Generator().manual_seed(seed))
    return x * x.abs()


def error(x, low, high, grid):
    scale, zero_point = affine_parameters(low, high, grid)
    return float((fake_quantize(x, scale, zero_point, grid.name) - x).double().square().mean())


@pytest.mark.parametrize("grid", [Grid(4), Grid(8), Grid(4, True), Grid(8, True)], ids=lambda g: g.name)
def test_mse_is_near_the_best_of_a_brute_force_search(grid):
    x = heavy_tails()
    found = error(x, *tensor_range(x, grid, "mse"), grid)
    parts = torch.linspace(0.05, 1, 60)
    best = min(error(x, x.min() * a, x.max() * a, grid) for a in parts)
    assert found <= best * 1.05
    assert found <= error(x, x.min(), x.max(), grid) * 1.0001


def test_sqnr_beats_min_max_at_four_bits():
    x = heavy_tails()
    grid = Grid(4)
    assert error(x, *tensor_range(x, grid, "sqnr"), grid) < error(x, x.min(), x.max(), grid) / 2


@pytest.mark.parametrize("percentile", [90.0, 99.0, 99.9])
def test_percentile_cuts_what_it_says(percentile):
    x = torch.rand(100_000, generator=torch.Generator().manual_seed(1)) * 4 - 2
    low, high = tensor_range(x, Grid(8), "percentile", percentile=percentile)
    share = (100 - percentile) / 100
    assert float((x > high).float().mean()) == pytest.approx(share, abs=2e-3)
    assert float((x < low).float().mean()) == pytest.approx(share, abs=2e-3)


def test_saturating_keeps_what_a_sigmoid_tells_apart():
    x = torch.cat([torch.linspace(-300, 12, 1000), torch.linspace(-6, 6, 4000)])
    grid = Grid(8)

    def lost(low, high):
        scale, zero_point = affine_parameters(low, high, grid)
        return float((fake_quantize(x, scale, zero_point, grid.name).sigmoid() - x.sigmoid()).abs().max())

    low, high = tensor_range(x, grid, "saturating")
    assert (float(low), float(high)) == (-8, 8) and lost(low, high) < 0.5 * 16 / 255 / 4 + 4e-4
    assert lost(x.min(), x.max()) > 10 * lost(low, high)
    within = tensor_range(x, grid, "saturating", limit=20)
    assert (float(within[0]), float(within[1])) == (-20, 12)


@pytest.mark.parametrize("method", list(RULES))
class TestEvery:
    def test_streamed_and_at_hand_agree(self, method):
        x = heavy_tails(5000)
        rule = RULES[method]
        statistics = rule.statistics(None, None)
        for part in x.split(617):
            statistics.update(part)
        for grid in (Grid(8), Grid(4, True)):
            streamed = error(x, *rule(statistics, grid), grid)
            assert streamed == pytest.approx(error(x, *tensor_range(x, grid, method), grid), rel=0.05)

    def test_constants_are_represented(self, method):
        for value in (0.0, 3.0, -0.25):
            x = torch.full((10,), value)
            scale, zero_point = affine_parameters(*tensor_range(x, Grid(8), method), Grid(8))
            assert fake_quantize(x, scale, zero_point, "uint8").tolist() == pytest.approx(x.tolist(), rel=1e-5)

    def test_channels_do_not_see_each_other(self, method):
        x = torch.stack([heavy_tails(500, i) * 10.0**i for i in range(3)])
        low, high = tensor_range(x, Grid(4, True, "channel"), method, axis=0)
        for i in range(3):
            alone = tensor_range(x[i], Grid(4, True), method)
            assert (float(low[i]), float(high[i])) == pytest.approx([float(v) for v in alone], rel=1e-5)

    def test_float_grids_take_all(self, method):
        x = heavy_tails(1000)
        low, high = tensor_range(x, FloatGrid("fp16"), method)
        assert torch.isfinite(low) and low <= high


def test_unknown_rules_and_options_are_named():
    with pytest.raises(InputError, match="minmax, percentile, sqnr, mse, saturating"):
        RULES["entropy"]
    with pytest.raises(InputError, match="percentil"):
        tensor_range(torch.ones(3), Grid(8), "percentile", percentil=99)
