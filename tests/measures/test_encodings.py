"""Which encodings differ, in which words, and by how much their ranges do."""

import math

import pandas as pd
import pytest
import torch

import qnb
from qnb.columns import DIFF_ENCODINGS, ENCODINGS
from qnb.measures.encodings import changed_encodings


def encoding(tensor="fc", kind="activation", bits=8, symmetric=False, low=0.0, high=255 / 64, **more):
    """One with a scale that fits its range; lists are channels."""
    lists = isinstance(high, list)
    lows, highs = (low, high) if lists else ([low], [high])
    scale = [(b - a) / (2**bits - 1) for a, b in zip(lows, highs, strict=True)]
    zero = [round(-a / s) for a, s in zip(lows, scale, strict=True)]
    row = {"tensor": tensor, "layer": tensor, "kind": kind, "bits": bits, "symmetric": symmetric, "axis": None}
    row |= {"block_size": None, "min": low, "max": high}
    return row | {"scale": scale if lists else scale[0], "zero_point": zero if lists else zero[0]} | more


def table(*rows):
    return pd.DataFrame(rows, columns=list(ENCODINGS))


def change(a, b):
    found = changed_encodings(table(a), table(b))
    return "" if found.empty else found.change[0]


def test_what_is_the_same_is_left_out_and_what_is_not_has_both_values():
    a = table(encoding("conv"), encoding("fc"))
    b = table(encoding("conv"), encoding("fc", low=-1.0, high=2.0))
    found = changed_encodings(a, b)
    assert tuple(found.columns) == DIFF_ENCODINGS and list(found.tensor) == ["fc"]
    row = found.iloc[0]
    assert (row.change, row.bits_a, row.bits_b, row.channels_a) == ("range", 8, 8, 1)
    assert (row.min_a, row.max_a, row.min_b, row.max_b) == (0.0, 255 / 64, -1.0, 2.0)
    assert row.range_change_percent == pytest.approx(100 * (3 / (255 / 64) - 1))
    assert row.scale_a == 1 / 64 and row.scale_b == 3 / 255 and (row.zero_point_a, row.zero_point_b) == (0, 85)


def test_words():
    one = encoding()
    assert change(one, encoding()) == ""
    assert change(one, encoding(high=255 / 64 * (1 + 1e-9))) == "", "float32 says no more"
    assert change(one, encoding(high=255 / 64 * 1.001)) == "range"
    assert change(one, encoding(symmetric=True)) == "symmetric"
    assert change(one, encoding(bits=16)) == "bits"
    assert change(one, encoding(bits=16, high=255 / 64 + 0.01)) == "bits", "less than a step of 8 bits"
    assert change(one, encoding(bits=16, high=255 / 64 + 0.02)) == "bits, range"
    floating = encoding(bits=16, symmetric=None) | {"min": -65504.0, "max": 65504.0, "scale": math.nan}
    floating["zero_point"] = math.nan
    assert change(one, floating) == "format, bits" and change(floating, floating) == ""
    assert change(floating, floating | {"max": 3e38}) == "range", "BF16 reaches farther"


def test_channels_are_summed_up():
    a = encoding(kind="weight", low=[-1.0, -2.0, -4.0], high=[1.0, 2.0, 4.0], axis=0)
    b = encoding(kind="weight", low=[-1.0, -1.0, -1.0], high=[1.0, 1.0, 1.0], axis=0)
    row = changed_encodings(table(a), table(b)).iloc[0]
    assert (row.change, row.channels_a, row.min_a, row.max_a, row.min_b) == ("range", 3, -4.0, 4.0, -1.0)
    assert row.range_change_percent == -50.0, "the median of 0, -50 and -75 %"
    assert row.scale_a == 4 / 255, "the median channel's"
    whole = encoding(kind="weight", low=-4.0, high=4.0)
    row = changed_encodings(table(a), table(whole)).iloc[0]
    assert row.change == "granularity" and row.range_change_percent == 0.0 and row.channels_b == 1
    assert change(a, a | {"axis": None, "block_size": 1}) == "granularity"


def test_tensors_of_one_only_and_tied_ones():
    a, b = table(encoding("x"), encoding("tied")), table(encoding("y"), encoding("tied"), encoding("tied"))
    found = changed_encodings(a, b)
    assert found[["tensor", "change"]].values.tolist() == [["x", "only a"], ["y", "only b"], ["tied", "only b"]]
    assert found.bits_b.isna().tolist() == [True, False, False] and math.isnan(found.range_change_percent[0])
    assert changed_encodings(table(), table()).empty


@pytest.mark.parametrize("target", ["htp-v75", "generic"])
def test_of_real_simulations(target):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 2, 3)).eval()
    batches = [torch.randn(8, 1, 8, 8)]
    found = {}
    for name, (precision, method) in {"a": ("w8a8", "minmax"), "b": ("w8a8", "mse"), "c": ("w8a16", "minmax")}.items():
        sim = qnb.QuantSim(model, batches[0], precision, target=target)
        sim.calibrate(batches, method)
        found[name] = sim.encodings()
    assert changed_encodings(found["a"], found["a"]).empty
    other = changed_encodings(found["a"], found["b"])
    assert set(other[other.kind == "activation"].change) == {"range"} and "weight" not in set(other.kind)
    wider = changed_encodings(found["a"], found["c"])
    wider = wider[wider.kind.isin(["activation", "input"])]
    assert len(wider) and set(wider.change) == {"bits"}, "the same ranges on a finer grid"
    assert wider.range_change_percent.abs().max() < 1.0
