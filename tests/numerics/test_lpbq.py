import pytest
import torch

from qnb.errors import PrecisionError
from qnb.numerics.lpbq import lpbq


def test_scale_is_an_integer_times_the_channels():
    scale = torch.rand(5, 8, 1, 1, generator=torch.Generator().manual_seed(0)) + 1e-3
    blocks = lpbq(scale, 4, 8)
    assert blocks.integers.dtype == torch.int32 and blocks.channel.shape == (5, 1, 1, 1)
    assert blocks.integers.min() >= 1 and blocks.integers.amax(1).tolist() == [[[16]]] * 5
    assert torch.equal(blocks.scale, blocks.integers * blocks.channel)
    assert bool(((blocks.scale - scale).abs() <= blocks.channel * 0.5001).logical_or(blocks.integers == 1).all())


def test_blocks_along_another_axis():
    scale = torch.tensor([[0.16, 0.5], [0.04, 0.25]])
    assert lpbq(scale, 4, 8, axis=0).integers.tolist() == [[16, 16], [4, 8]]


@pytest.mark.parametrize(("bits", "decompressed_bits"), [(4, 4), (8, 4), (1, 8), (8, 64)])
def test_bits_that_do_not_go_together(bits, decompressed_bits):
    with pytest.raises(PrecisionError):
        lpbq(torch.ones(2, 2), bits, decompressed_bits)
