import pytest
import torch

from qnb.errors import InputError, PrecisionError
from qnb.numerics import dequantize, fake_quantize, fake_quantize_, quantize

ONE, ZERO = torch.tensor(1.0), torch.tensor(0.0)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 3


def test_it_is_the_operator():
    x, scale, zero_point = random(5), torch.tensor(0.1), torch.tensor(3.0)
    want = torch.ops.qnb.fake_quantize(x, scale, zero_point, "uint4")
    assert torch.equal(fake_quantize(x, scale, zero_point, "uint4"), want)


def test_rounds_half_to_even_and_saturates():
    x = torch.tensor([-9.0, -1.5, -0.5, 0.5, 1.5, 2.5, 99.0])
    assert fake_quantize(x, ONE, ZERO, "int4").tolist() == [-8, -2, 0, 0, 2, 2, 7]
    assert fake_quantize(x, ONE, torch.tensor(2.0), "uint4").tolist() == [-2, -2, 0, 0, 2, 2, 13]


def test_it_divides_by_the_scale():
    """A product with the reciprocal gives other codes for some of these."""
    scale = torch.tensor(1.41046301e-4)
    x = (torch.arange(65536) + 0.5) * scale
    want = torch.round((x.double() / scale.double()).float()) * scale
    product = torch.round(x * (1 / scale)) * scale
    assert torch.equal(fake_quantize(x, scale, torch.tensor(0.0), "int32"), fake_quantize(x, scale, ZERO, "int32"))
    got = fake_quantize(x[:32768], scale, ZERO, "int16")
    assert torch.equal(got[:32767], torch.round(x[:32767] / scale) * scale)
    assert torch.equal(got[:32767], want[:32767]) and not torch.equal(product, want)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_per_channel_is_per_tensor_on_each_channel(axis):
    x = random(4, 6, 5)
    scale = torch.linspace(0.01, 0.1, x.shape[axis])
    zero_point = torch.arange(x.shape[axis]) * 20.0
    want = torch.stack(
        [fake_quantize(*parts, "uint8") for parts in zip(x.unbind(axis), scale, zero_point, strict=True)], axis
    )
    for got in (
        fake_quantize(x, scale, zero_point, "uint8", axis),
        fake_quantize_(x.clone(), scale, zero_point, "uint8", axis),
        dequantize(quantize(x, scale, zero_point, "uint8", axis), scale, zero_point, "uint8", axis),
    ):
        assert torch.equal(got, want)


@pytest.mark.parametrize("axis", [0, 1, -2])
@pytest.mark.parametrize("shared", [True, False], ids=["shared", "full"])
def test_blocks_are_per_tensor_on_each_block(axis, shared):
    x = random(4, 6, 3)
    dimension = axis % 3
    scale = torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) + 0.1
    scale = scale.narrow(dimension, 0, x.shape[dimension] // 2)
    if shared:
        scale = scale[..., :1]
    zero = torch.zeros_like(scale)
    spread = scale.repeat_interleave(2, dimension).expand_as(x)
    want = torch.clamp(torch.round(x / spread), -8, 7) * spread
    for got in (
        fake_quantize(x, scale, zero, "int4", axis, 2),
        fake_quantize_(x.clone(), scale, zero, "int4", axis, 2),
        dequantize(quantize(x, scale, zero, "int4", axis, 2), scale, zero, "int4", axis, 2),
    ):
        assert torch.equal(got, want)


LAYOUTS = {
    "channels_last": lambda: random(2, 4, 3, 3).to(memory_format=torch.channels_last),
    "transposed": lambda: random(4, 6).t(),
    "strided": lambda: random(4, 8)[:, ::2],
    "expanded": lambda: random(4, 1).expand(4, 4),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_memory_layouts(layout):
    x = LAYOUTS[layout]()
    scale, zero = torch.linspace(0.1, 0.2, x.shape[1]), torch.zeros(x.shape[1])
    assert torch.equal(fake_quantize(x, ONE, ZERO, "int4"), fake_quantize(x.contiguous(), ONE, ZERO, "int4"))
    want = fake_quantize(x.contiguous(), scale, zero, "int4", 1)
    got = fake_quantize(x, scale, zero, "int4", 1)
    assert torch.equal(got, want) and got.stride() == torch.empty_like(x).stride()
    blocks, block_scale = x.shape[1] // 2, torch.linspace(0.1, 0.2, x.shape[1] // 2)
    block_scale = block_scale.view([1, blocks] + [1] * (x.dim() - 2)).contiguous()
    want = fake_quantize(x.contiguous(), block_scale, torch.zeros_like(block_scale), "int4", 1, 2)
    assert torch.equal(fake_quantize(x, block_scale, torch.zeros_like(block_scale), "int4", 1, 2), want)


@pytest.mark.parametrize("grid", ["int8", "uint16", "fp16", "bf16", "fp8_e4m3", "int32"])
def test_the_input_is_untouched_and_never_aliased(grid):
    x = torch.arange(8.0)
    before = x.clone()
    y = fake_quantize(x, ONE, ZERO, grid)
    assert torch.equal(x, before) and y.untyped_storage().data_ptr() != x.untyped_storage().data_ptr()
    half = x.half()
    y = fake_quantize(half, ONE, ZERO, grid)
    assert y.untyped_storage().data_ptr() != half.untyped_storage().data_ptr()


def test_in_place_writes_over_its_input():
    x = random(9)
    want = fake_quantize(x, torch.tensor(0.1), ZERO, "int4")
    y = fake_quantize_(x, torch.tensor(0.1), ZERO, "int4")
    assert y is x and torch.equal(x, want)


def test_in_place_refuses_a_tensor_that_requires_grad():
    with pytest.raises(InputError, match="use fake_quantize"):
        fake_quantize_(random(3).requires_grad_(), ONE, ZERO, "int8")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_halves_are_computed_in_float32(dtype):
    x = random(100).to(dtype)
    scale, zero_point = torch.tensor(0.0123), torch.tensor(100.0)
    want = fake_quantize(x.float(), scale, zero_point, "uint8").to(dtype)
    assert torch.equal(fake_quantize(x, scale, zero_point, "uint8"), want)
    assert torch.equal(fake_quantize_(x.clone(), scale, zero_point, "uint8"), want)


def test_float64_stays_float64():
    x = random(10).double()
    assert fake_quantize(x, torch.tensor(0.1), ZERO, "int8").dtype == torch.float64


@pytest.mark.parametrize("grid", ["int8", "fp16", "fp8_e4m3"])
def test_nan_stays_and_infinity_saturates_where_the_grid_has_an_end(grid):
    x = torch.tensor([float("nan"), float("inf"), -float("inf")])
    y = fake_quantize(x, ONE, ZERO, grid)
    largest = {"int8": (127, -128), "fp16": (float("inf"), -float("inf")), "fp8_e4m3": (448, -448)}[grid]
    assert torch.isnan(y[0]) and tuple(y[1:].tolist()) == largest
    channels = fake_quantize(x, torch.ones(3), torch.zeros(3), grid, 0)
    assert torch.equal(channels.nan_to_num(7), y.nan_to_num(7))


@pytest.mark.parametrize(
    ("grid", "x", "want"),
    [
        ("fp16", 1 + 2**-11, 1.0),  # a tie goes to even
        ("fp16", 70000.0, float("inf")),
        ("fp16", 2**-26, 0.0),
        ("bf16", 1 + 3 * 2**-8, 1 + 2**-6),
        ("fp8_e4m3", 17.0, 16.0),
        ("fp8_e4m3", 500.0, 448.0),
        ("fp8_e5m2", 60000.0, 57344.0),
    ],
)
def test_float_grids(grid, x, want):
    assert fake_quantize(torch.tensor(x), ONE, ZERO, grid).item() == want


def test_float_grids_scale():
    assert fake_quantize(torch.tensor([17.5]), torch.tensor([0.5]), torch.tensor([0.0]), "fp8_e4m3").item() == 18
    assert fake_quantize(torch.tensor(500.0), torch.tensor(2.0), ZERO, "fp8_e4m3").item() == 512


@pytest.mark.parametrize("shape", [(0,), (0, 3), ()])
def test_empty_and_scalar(shape):
    assert fake_quantize(torch.ones(shape), ONE, ZERO, "int8").shape == shape


BAD = {
    "scale per channel without axis": (torch.ones(2), torch.zeros(2), "int8", None, None),
    "wrong number of channels": (torch.ones(2), torch.zeros(2), "int8", 1, None),
    "no such axis": (torch.ones(4), torch.zeros(4), "int8", 2, None),
    "shapes differ": (torch.ones(4), torch.zeros(1), "int8", 1, None),
    "block does not divide": (torch.ones(2, 1), torch.zeros(2, 1), "int8", 1, 3),
    "block scale too large": (torch.ones(2, 4), torch.zeros(2, 4), "int8", 1, 2),
    "block scale of another rank": (torch.ones(2), torch.zeros(2), "int8", 1, 2),
    "block scale 1 at the axis": (torch.ones(2, 1), torch.zeros(2, 1), "int8", 1, 2),
    "block without axis": (ONE, ZERO, "int8", None, 2),
}


@pytest.mark.parametrize("case", BAD)
def test_shapes_that_do_not_fit(case):
    for function in (fake_quantize, fake_quantize_):
        with pytest.raises(InputError, match="fake_quantize"):
            function(torch.ones(2, 4), *BAD[case])


def test_unknown_grid():
    with pytest.raises(PrecisionError, match="int7x"):
        fake_quantize(torch.ones(2), ONE, ZERO, "int7x")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("grid", ["int8", "uint16", "fp16", "fp8_e4m3"])
def test_the_gpu_gives_the_same_numbers(grid):
    x, scale, zero = random(64, 33), torch.tensor(0.0123), ZERO
    want = fake_quantize(x, scale, zero, grid)
    on_gpu = x.cuda()
    assert torch.equal(fake_quantize(on_gpu, scale.cuda(), zero.cuda(), grid).cpu(), want)
    assert torch.equal(fake_quantize(on_gpu, scale, zero, grid).cpu(), want)
    assert torch.equal(fake_quantize_(on_gpu, scale.cuda(), zero.cuda(), grid).cpu(), want)
