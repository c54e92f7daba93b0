import pytest

from qnb.errors import PrecisionError
from qnb.numerics import FloatGrid, Grid, Precision

NAMES = ["fp32", "fp16", "bf16", "fp8_e4m3", "fp8_e5m2"]
NAMES += [f"w{w}a{a}" for w in (2, 3, 4, 8, 16) for a in (4, 7, 8, 16)]


@pytest.mark.parametrize("name", NAMES)
def test_names_round_trip(name):
    precision = Precision.parse(name)
    assert precision.name == str(precision) == name
    assert Precision.parse(precision) is precision
    assert Precision.parse(f" {name.upper()} ") == precision


def test_integer_precisions_follow_the_convention():
    precision = Precision.parse("w4a16")
    assert precision.weights == Grid(4, symmetric=True, granularity="channel")
    assert precision.activations == Grid(16, symmetric=False, granularity="tensor")


def test_fp32_leaves_everything_alone():
    assert Precision.parse("fp32") == Precision(None, None)


@pytest.mark.parametrize("name", ["w8", "a8", "w1a8", "w8a3", "w17a8", "w8a17", "int8", "fp64", "", None, 8])
def test_unknown_precisions(name):
    with pytest.raises(PrecisionError, match="w8a16"):
        Precision.parse(name)


@pytest.mark.parametrize(
    ("precision", "name"),
    [
        (Precision(Grid(4, True, "block", 32), Grid(16)), "custom(weights=int4 block 32, activations=uint16)"),
        (Precision(Grid(8, True, "channel"), None), "custom(weights=int8 channel, activations=fp32)"),
        (Precision(Grid(8, True), Grid(8)), "custom(weights=int8, activations=uint8)"),
        (Precision(FloatGrid("fp16"), Grid(8)), "custom(weights=fp16, activations=uint8)"),
        (Precision(Grid(32, True, "channel"), Grid(8)), "custom(weights=int32 channel, activations=uint8)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_precisions_describe_themselves(precision, name):
    assert precision.name == name
    with pytest.raises(PrecisionError):
        Precision.parse(precision.name)


def test_grids_are_required():
    with pytest.raises(PrecisionError, match="weights=8"):
        Precision(8, 16)
