import pytest
import torch

from qnb.numerics import fake_quantize, parse_grid


def straight_through(x, scale, zero_point, grid):
    """The same function whose gradient autograd finds by itself: rounding is left out of the derivative."""
    grid = parse_grid(grid)
    q = x / scale
    code = q + (torch.round(q) - q).detach() + zero_point
    return (torch.clamp(code, grid.qmin, grid.qmax) - zero_point) * scale


def gradients(function, x, scale, zero_point, upstream):
    leaves = [value.clone().requires_grad_() for value in (x, scale, zero_point)]
    y = function(*leaves)
    return y.detach(), torch.autograd.grad(y, leaves, upstream)


LAYOUTS = {
    "tensor": (None, None, ()),
    "one element": (None, None, (1,)),
    "channel": (1, None, (4,)),
    "last axis": (-1, None, (6,)),
    "block": (1, 2, (3, 2, 6)),
    "shared block": (1, 2, (3, 2, 1)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("grid", ["int4", "uint8"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_straight_through_gradients(layout, grid, dtype):
    axis, block_size, shape = LAYOUTS[layout]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 4, 6, generator=generator, dtype=dtype) * 4
    upstream = torch.randn(x.shape, generator=generator, dtype=dtype)
    scale = torch.rand(shape, generator=generator, dtype=dtype) * 0.02 + (0.3 if grid == "int4" else 0.02)
    zero_point = torch.full(shape, 0.0 if grid == "int4" else 100.0, dtype=dtype)

    def spread(value):
        if axis is None:
            return value.reshape(())
        if block_size is not None:
            return value.repeat_interleave(block_size, axis)
        return value.view([-1 if i == axis % 3 else 1 for i in range(3)])

    want_y, want = gradients(
        lambda a, s, z: straight_through(a, spread(s), spread(z), grid), x, scale, zero_point, upstream
    )
    y, got = gradients(lambda a, s, z: fake_quantize(a, s, z, grid, axis, block_size), x, scale, zero_point, upstream)
    tolerance = {"rtol": 1e-9, "atol": 1e-9} if dtype == torch.float64 else {"rtol": 1e-4, "atol": 1e-4}
    torch.testing.assert_close(y, want_y, **tolerance)
    for got_one, want_one in zip(got, want, strict=True):
        torch.testing.assert_close(got_one, want_one, **tolerance)
    assert bool((want[0] == 0).any()) and bool((want[0] != 0).any()), "both sides of the range were tried"


def test_by_hand():
    x, scale, zero_point = torch.tensor([0.26, 9.0, -9.0]), torch.tensor(0.1), torch.tensor(5.0)
    _, (dx, ds, dz) = gradients(
        lambda *a: fake_quantize(*a, "uint4"), x, scale, zero_point, torch.tensor([1.0, 10.0, 100.0])
    )
    assert dx.tolist() == [1, 0, 0]
    assert ds.item() == pytest.approx(1 * (3 - 2.6) + 10 * (15 - 5) + 100 * (0 - 5), rel=1e-5)
    assert dz.item() == pytest.approx(0 - 0.1 * 10 - 0.1 * 100, rel=1e-5)


@pytest.mark.parametrize("which", ["scale", "zero_point"])
def test_outside_the_range_gradients_are_true_derivatives(which):
    """There the output is (qmax - z) * s, a smooth function, so that finite differences tell."""
    x = torch.tensor([50.0, -50.0], dtype=torch.float64)
    upstream = torch.tensor([1.0, 3.0], dtype=torch.float64)
    scale, zero_point = torch.tensor(0.1, dtype=torch.float64), torch.tensor(5.0, dtype=torch.float64)
    _, (_, ds, dz) = gradients(lambda *a: fake_quantize(*a, "uint4"), x, scale, zero_point, upstream)

    def output(step):
        s, z = (scale + step, zero_point) if which == "scale" else (scale, zero_point + step)
        return (fake_quantize(x, s, z, "uint4") * upstream).sum()

    slope = (output(1e-4) - output(-1e-4)) / 2e-4
    assert (ds if which == "scale" else dz).item() == pytest.approx(slope.item(), rel=1e-6)


def test_only_what_is_needed():
    x, scale = torch.randn(4), torch.tensor(0.1, requires_grad=True)
    fake_quantize(x, scale, torch.tensor(0.0), "int8").sum().backward()
    assert scale.grad.shape == ()
    x.requires_grad_()
    fake_quantize(x, scale.detach(), torch.tensor(0.0), "int8").sum().backward()
    assert x.grad.tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_gradients_come_back_in_their_dtype(dtype):
    x = torch.tensor([0.5, 100.0], dtype=dtype, requires_grad=True)
    fake_quantize(x, torch.tensor(0.1), torch.tensor(0.0), "int4").sum().backward()
    assert x.grad.dtype == dtype and x.grad.tolist() == [1, 0]
    x.grad = None
    fake_quantize(x, torch.tensor(0.1), torch.tensor(0.0), "int8").sum().backward()
    assert x.grad.tolist() == [1, 0]


@pytest.mark.parametrize("grid", ["fp8_e4m3", "fp8_e5m2", "fp16"])
def test_float_grid_gradients(grid):
    largest = parse_grid(grid).max
    x = torch.tensor([0.3, largest, 3 * largest, -3 * largest])
    _, (dx, ds, dz) = gradients(
        lambda *a: fake_quantize(*a, grid), x, torch.tensor(1.0), torch.tensor(0.0), torch.tensor([1.0, 0, 0, 0])
    )
    assert dx.tolist() == [1, 0, 0, 0] and dz.item() == 0
    assert ds.item() == pytest.approx(torch.tensor(0.3).to(parse_grid(grid).dtype).item() - 0.3, abs=1e-6)
    _, (dx, *_) = gradients(lambda *a: fake_quantize(*a, grid), x, torch.tensor(1.0), torch.tensor(0.0), torch.ones(4))
    assert dx.tolist() == [1, 1, 0, 0]
