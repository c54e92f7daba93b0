"""Layers of two runs side by side: one order, gains in dB, and what they are called."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnb.columns import GAINS, SAME_DB
from qnb.measures.layers.gains import gain, gains, merged

INF, NAN = math.inf, math.nan


def comparison(**layers):
    """Layer to (own, accumulated) dB."""
    rows = [(name, "m", "linear", *db) for name, db in layers.items()]
    return pd.DataFrame(rows, columns=["layer", "module", "op", "own_sqnr_db", "sqnr_db"])


def test_gains_are_differences_and_the_own_one_decides():
    a = comparison(stem=(40.0, 38.0), body=(30.0, 28.0), head=(20.0, 15.0))
    b = comparison(stem=(40.25, 30.0), body=(37.0, 28.0), head=(12.5, 25.0))
    found = gains(a, b)
    assert tuple(found.columns) == GAINS and list(found.layer) == ["stem", "body", "head"]
    assert list(found.own_gain_db) == [0.25, 7.0, -7.5] and list(found.gain_db) == [-8.0, 0.0, 10.0]
    assert list(found.change) == ["same", "won", "lost"] and list(found.own_b_db) == [40.25, 37.0, 12.5]
    assert list(found.op) == ["linear"] * 3


def test_without_own_errors_the_accumulated_one_decides():
    found = gains(comparison(a=(NAN, 10.0), b=(NAN, 20.0)), comparison(a=(NAN, 12.0), b=(NAN, 19.9)))
    assert list(found.change) == ["won", "same"]


@pytest.mark.parametrize(
    ("a", "b", "own_gain_db", "change"),
    [
        (INF, INF, 0.0, "same"),
        (-INF, -INF, 0.0, "same"),
        (40.0, INF, INF, "won"),
        (INF, 40.0, -INF, "lost"),
        (-INF, 40.0, INF, "won"),
        (40.0, 40.0 + SAME_DB, SAME_DB, "won"),
        (40.0, 40.0 - SAME_DB / 2, -SAME_DB / 2, "same"),
    ],
)
def test_lossless_and_overflow(a, b, own_gain_db, change):
    row = gains(comparison(x=(a, 1.0)), comparison(x=(b, 1.0))).iloc[0]
    assert row.own_gain_db == own_gain_db and row.change == change


def test_what_one_run_did_not_measure_is_not_called_the_same():
    found = gains(comparison(x=(NAN, 10.0), y=(3.0, 3.0)), comparison(x=(12.0, 10.0), y=(3.0, 3.0)))
    assert list(found.change) == ["not measured", "same"] and math.isnan(found.own_gain_db[0])


def test_layers_of_one_run_stand_in_their_place():
    a = comparison(stem=(1.0, 1.0), act=(2.0, 2.0), fc=(3.0, 3.0))
    b = comparison(stem=(1.0, 1.0), pool=(2.0, 2.0), fc=(9.0, 3.0), out=(1.0, 1.0))
    found = gains(a, b)
    assert list(found.layer) == ["stem", "act", "pool", "fc", "out"]
    assert list(found.change) == ["same", "only a", "only b", "won", "only b"]
    assert math.isnan(found.own_b_db[1]) and math.isnan(found.own_a_db[2]) and found.op[2] == "linear"
    empty = comparison()
    assert list(gains(empty, b).change) == ["only b"] * 4 and gains(empty, empty).empty


def test_the_second_run_the_other_way_round_is_minus_the_gain():
    rng = np.random.default_rng(0)
    a, b = (comparison(**{f"l{i}": tuple(rng.normal(30, 5, 2)) for i in range(20)}) for _ in range(2))
    there, back = gains(a, b), gains(b, a)
    np.testing.assert_array_equal(there.own_gain_db, -back.own_gain_db)
    assert (there.change == "won").tolist() == (back.change == "lost").tolist()


@given(st.lists(st.sampled_from("abcdefgh"), unique=True), st.lists(st.sampled_from("abcdefgh"), unique=True))
def test_the_merged_order_has_every_name_once(a, b):
    found = merged(a, b)
    assert sorted(found) == sorted({*a, *b})
    shared = [n for n in a if n in b]
    if shared == [n for n in b if n in a]:  # no contradiction: both orders are kept
        assert [n for n in found if n in a] == a and [n for n in found if n in b] == b


@given(st.lists(st.tuples(*[st.floats(allow_nan=False, min_value=-200) | st.just(-INF)] * 2), min_size=1))
def test_a_gain_is_nan_for_no_pair(pairs):
    a, b = map(np.array, zip(*pairs, strict=True))
    assert not np.isnan(gain(a, b)).any() and (np.sign(gain(a, b)) == np.sign((b > a) * 1.0 - (b < a))).all()
