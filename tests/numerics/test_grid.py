import dataclasses

import pytest
import torch

from qnb.errors import PrecisionError
from qnb.numerics import FloatGrid, Grid, parse_grid


@pytest.mark.parametrize(
    ("bits", "symmetric", "qmin", "qmax", "name"),
    [
        (8, False, 0, 255, "uint8"),
        (8, True, -128, 127, "int8"),
        (4, True, -8, 7, "int4"),
        (2, False, 0, 3, "uint2"),
        (16, True, -32768, 32767, "int16"),
        (32, True, -(2**31), 2**31 - 1, "int32"),
    ],
)
def test_codes_and_name(bits, symmetric, qmin, qmax, name):
    grid = Grid(bits, symmetric)
    assert (grid.qmin, grid.qmax, grid.name) == (qmin, qmax, name)
    assert parse_grid(name) == grid


@pytest.mark.parametrize(
    "arguments",
    [
        {"bits": 1},
        {"bits": 17},
        {"bits": 8.0},
        {"bits": True},
        {"symmetric": 1},
        {"granularity": "row"},
        {"granularity": "block"},
        {"granularity": "block", "block_size": 0},
        {"granularity": "block", "block_size": True},
        {"granularity": "channel", "block_size": 4},
    ],
    ids=str,
)
def test_what_does_not_exist_is_refused(arguments):
    with pytest.raises(PrecisionError):
        Grid(**arguments)


def test_grids_are_frozen_values():
    assert Grid(8, True, "block", 32) == Grid(8, True, "block", 32)
    assert len({Grid(8), Grid(8), FloatGrid("fp16"), FloatGrid("fp16")}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        Grid(8).bits = 4


@pytest.mark.parametrize(
    ("name", "bits", "largest", "smallest_normal"),
    [
        ("fp16", 16, 65504.0, 2.0**-14),
        ("bf16", 16, 3.3895313892515355e38, 2.0**-126),
        ("fp8_e4m3", 8, 448.0, 2.0**-6),
        ("fp8_e5m2", 8, 57344.0, 2.0**-14),
    ],
)
def test_float_formats(name, bits, largest, smallest_normal):
    grid = FloatGrid(name)
    assert (grid.bits, grid.max, grid.smallest_normal, grid.name) == (bits, largest, smallest_normal, name)
    assert parse_grid(name) == grid
    assert (grid.granularity, grid.symmetric, grid.block_size) == ("tensor", True, None)
    assert torch.tensor(largest).to(grid.dtype).float() == largest


@pytest.mark.parametrize("name", ["", "int", "int1", "uint64", "sint8", "fp64", "Int8", "int8 "])
def test_unknown_grid_names(name):
    with pytest.raises(PrecisionError):
        parse_grid(name)


def test_unknown_float_format():
    with pytest.raises(PrecisionError, match="fp8_e4m3"):
        FloatGrid("fp8")
