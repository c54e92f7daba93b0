import pytest
import torch

from qnb.errors import InputError, PrecisionError
from qnb.numerics import FloatGrid, Grid, affine_parameters, dequantize, quantize


def parameters(low, high, grid):
    return affine_parameters(torch.tensor(low), torch.tensor(high), grid)


def test_asymmetric():
    scale, zero_point = parameters(-1.0, 1.55, Grid(8))
    assert scale.item() == pytest.approx(0.01) and zero_point.item() == 100
    assert scale.dtype == zero_point.dtype == torch.float32


def test_symmetric_uses_the_longer_side():
    assert parameters(-1.0, 1.0, Grid(8, True))[0].item() == pytest.approx(1 / 127)
    assert parameters(-1.28, 1.0, Grid(8, True))[0].item() == pytest.approx(0.01)


@pytest.mark.parametrize(("low", "high"), [(2.0, 5.1), (-5.1, -2.0)])
def test_the_range_is_made_to_contain_zero(low, high):
    scale, zero_point = parameters(low, high, Grid(8))
    assert scale.item() == pytest.approx(0.02)
    assert zero_point.item() == (0 if low > 0 else 255)


@pytest.mark.parametrize("grid", [Grid(4), Grid(8), Grid(16), Grid(8, True), Grid(16, True)], ids=lambda g: g.name)
def test_scale_floor(grid):
    for end in (0.0, 1e-12):
        scale, zero_point = parameters(-end, end, grid)
        assert scale.item() == 2**-23
        assert grid.qmin <= zero_point.item() <= grid.qmax


def test_scale_floor_of_32_bits():
    assert parameters(0.0, 0.0, Grid(32, True))[0].item() == pytest.approx(0.01 / (2**32 - 1))


def test_the_widest_float32_range_stays_finite():
    end = torch.finfo(torch.float32).max
    scale, zero_point = parameters(-end, end, Grid(8))
    assert torch.isfinite(scale) and zero_point.item() == 128


def test_shapes_are_kept_and_halves_are_widened():
    low, high = -torch.rand(3, 1, 2).half(), torch.rand(3, 1, 2).half()
    scale, zero_point = affine_parameters(low, high, Grid(8))
    assert scale.shape == zero_point.shape == (3, 1, 2) and scale.dtype == torch.float32


def test_float_grids():
    assert parameters(-3.0, 2.0, FloatGrid("fp16")) == (1.0, 0.0)
    assert parameters(-896.0, 2.0, FloatGrid("fp8_e4m3")) == (2.0, 0.0)
    assert parameters(0.0, 0.0, FloatGrid("fp8_e5m2"))[0] > 0


def test_parameters_carry_no_gradient():
    low = torch.tensor(-1.0, requires_grad=True)
    assert not affine_parameters(low, torch.tensor(1.0), Grid(8))[0].requires_grad


def test_quantize_rounds_half_to_even_and_saturates():
    x = torch.tensor([-9.0, -0.5, 0.5, 1.5, 2.5, 99.0])
    codes = quantize(x, torch.tensor(1.0), torch.tensor(0.0), "int4")
    assert codes.tolist() == [-8, 0, 0, 2, 2, 7] and codes.dtype == torch.int32


def test_32_bit_codes_are_exact():
    # Neighbouring codes near 2^31 are one float32; in float64 each is its own.
    codes = torch.tensor([2**31 - 1, -(2**31), 2**30 + 1], dtype=torch.float64)
    scale, zero = torch.tensor(0.5), torch.tensor(0.0)
    assert quantize(codes * 0.5, scale, zero, "int32").tolist() == codes.tolist()
    beyond = torch.tensor([1e30, -1e30])
    assert quantize(beyond, scale, zero, "int32").tolist() == [2**31 - 1, -(2**31)]
    assert quantize(beyond, scale, zero, "uint32").tolist() == [2**32 - 1, 0]


def test_float_grids_have_no_codes():
    for function in (quantize, dequantize):
        with pytest.raises(PrecisionError, match="fp16"):
            function(torch.zeros(2), torch.tensor(1.0), torch.tensor(0.0), "fp16")


def test_shapes_that_do_not_fit():
    with pytest.raises(InputError):
        quantize(torch.zeros(2, 3), torch.ones(2), torch.zeros(2), "int8", axis=1)
