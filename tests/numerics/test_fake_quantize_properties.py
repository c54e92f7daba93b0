"""What must hold for any data, grid and range."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from qnb.numerics import Grid, affine_parameters, dequantize, fake_quantize, fake_quantize_, quantize

settings.register_profile("qnb", deadline=None, max_examples=100)
settings.load_profile("qnb")

grids = st.builds(Grid, st.integers(2, 16), st.booleans())
ends = st.floats(-1e4, 1e4, width=32)
values = arrays(np.float32, st.integers(1, 40), elements=st.floats(-2e4, 2e4, width=32)).map(torch.from_numpy)


@st.composite
def cases(draw):
    """(x, scale, zero_point, grid): data and a range that need not hold all of them."""
    grid, low, high = draw(grids), draw(ends), draw(ends)
    low, high = sorted((low, high))
    return draw(values), *affine_parameters(torch.tensor(low), torch.tensor(high), grid), grid


def apply(case):
    x, scale, zero_point, grid = case
    return fake_quantize(x, scale, zero_point, grid.name)


@given(cases())
def test_matches_the_definition(case):
    x, scale, zero_point, grid = case
    s, z = scale.numpy(), zero_point.numpy()
    want = np.clip(np.rint(x.numpy() / s), np.float32(grid.qmin) - z, np.float32(grid.qmax) - z) * s
    np.testing.assert_array_equal(apply(case).numpy(), want)


@given(cases())
def test_idempotent(case):
    x, *rest = case
    once = apply(case)
    assert torch.equal(apply((once, *rest)), once)


@given(cases())
def test_monotone(case):
    x, *rest = case
    y = apply((x.sort().values, *rest))
    assert bool((y[1:] >= y[:-1]).all())


@given(grids, ends, ends)
def test_zero_is_exactly_representable(grid, a, b):
    low, high = sorted((a, b))
    scale, zero_point = affine_parameters(torch.tensor(low), torch.tensor(high), grid)
    assert grid.qmin <= zero_point.item() <= grid.qmax and zero_point.item() == round(zero_point.item())
    assert apply((torch.zeros(3), scale, zero_point, grid)).tolist() == [0, 0, 0]


@given(cases())
def test_error_is_at_most_half_a_scale_inside_the_range(case):
    x, scale, zero_point, grid = case
    low, high = ((q - zero_point) * scale for q in (grid.qmin, grid.qmax))
    inside = (x >= low) & (x <= high)
    # x / scale and level * scale round once each: two units in the last place of x.
    slack = x.abs() * 2**-22
    assert bool(((apply(case) - x).abs() <= scale / 2 + slack)[inside].all())


@given(cases())
def test_outside_it_is_the_nearest_end(case):
    x, scale, zero_point, grid = case
    low, high = ((q - zero_point) * scale for q in (grid.qmin, grid.qmax))
    y = apply(case)
    assert bool((y[x > high] == high).all()) and bool((y[x < low] == low).all())


@given(cases())
def test_codes_and_back_and_in_place_agree(case):
    x, scale, zero_point, grid = case
    y = apply(case)
    codes = quantize(x, scale, zero_point, grid)
    assert bool((codes >= grid.qmin).all()) and bool((codes <= grid.qmax).all())
    assert torch.equal(dequantize(codes, scale, zero_point, grid), y)
    assert torch.equal(fake_quantize_(x.clone(), scale, zero_point, grid.name), y)


@given(cases())
def test_a_grid_that_covers_the_data_clips_nothing(case):
    x, _, _, grid = case
    scale, zero_point = affine_parameters(x.min(), x.max(), grid)
    error = (fake_quantize(x, scale, zero_point, grid.name) - x).abs()
    # zero_point is rounded: an asymmetric grid may end half a scale inside the range.
    assert bool((error <= scale * 1.001 + x.abs() * 2**-22).all())
