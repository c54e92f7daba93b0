"""Bars up and down: what layers won and lost from one run to another."""

import math
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest

from qnb import charts
from qnb.charts.svg.picture import svg
from qnb.charts.theme import BLUE, GREY, VERMILLION
from qnb.errors import InputError
from qnb.measures.layers.gains import gains

INF, NAN = math.inf, math.nan


def layers(own, accumulated=None, names=None):
    """Gains of layers that had 40 dB before; NaN before means that only the second run has it."""
    frames = []
    for db in (np.full(len(own), 40.0), 40.0 + np.array(own)):
        frame = pd.DataFrame({"layer": names or [f"features.{i}.conv" for i in range(len(own))], "own_sqnr_db": db})
        frames.append(frame.assign(sqnr_db=30.0, op="conv2d", module="Conv2d"))
    frames[1]["sqnr_db"] += 0.0 if accumulated is None else np.array(accumulated)
    return gains(*frames)


def bars(figure):
    """Place of a bar -> (height, colour, whether hatched)."""
    found = {}
    for trace in (t for t in figure.data if t.type == "bar"):
        hatched = trace.marker.pattern.shape is not None
        colour = trace.marker.pattern.fgcolor if hatched else trace.marker.color
        order = list(figure.data[0].x)
        places = range(len(order)) if trace.x is None else map(order.index, trace.x)
        found |= {i: (y, colour, hatched) for i, y in zip(places, trace.y, strict=True) if y is not None}
    return found


def test_won_is_up_lost_is_down_and_little_is_grey():
    figure = charts.diff(layers([3.0, -2.0, 0.2]), names=("w8a8", "w4a8"))
    assert bars(figure) == {0: (3.0, BLUE, False), 1: (-2.0, VERMILLION, False), 2: (0.2, GREY, False)}
    assert figure.layout.title.text == "1 of 3 layers won, 1 lost; most: features.0.conv, +3.0 dB"
    assert figure.layout.title.subtitle.text == "w4a8 against w8a8"
    assert figure.layout.yaxis.title.text == "gain in own SQNR (dB)" and figure.layout.barmode == "overlay"


def test_bars_stand_at_their_layers_in_graph_order():
    names = ["stem", "10", "9", "fc"]  # names that look like numbers, and not sorted
    figure = charts.diff(layers([1.0, -1.0, 2.0, 3.0], names=names))
    assert list(figure.data[0].x) == names and figure.layout.xaxis.type == "category"
    assert all((t.x0, t.dx, len(t.y)) == ("stem", 1, 4) for t in figure.data if t.type == "bar")
    assert list(figure.layout.xaxis.tickvals) == names and list(figure.layout.xaxis.range) == [-0.5, 3.5]


def test_accumulated_gains_are_marks_and_can_be_the_bars():
    frame = layers([3.0, -2.0], accumulated=[1.0, 6.0])
    figure = charts.diff(frame)
    assert list(figure.data[0].y) == [1.0, 6.0] and figure.data[0].mode == "markers"
    figure = charts.diff(frame, own=False)
    assert {i: height for i, (height, *_) in bars(figure).items()} == {0: 1.0, 1: 6.0}
    assert figure.layout.yaxis.title.text == "gain in SQNR (dB)" and not figure.data[0].showlegend
    frame["own_gain_db"] = NAN
    assert charts.diff(frame).layout.yaxis.title.text == "gain in SQNR (dB)", "own errors were not measured"


def test_lossless_and_overflow_stand_hatched_at_the_ends():
    figure = charts.diff(layers([5.0, INF, -INF, 1.0]))
    found = bars(figure)
    assert found[1][1:] == (BLUE, True) and found[2][1:] == (VERMILLION, True)
    assert found[1][0] == -found[2][0] > 5.0
    legend = [t.name for t in figure.data if t.showlegend]
    assert legend == ["accumulated", "lossless or overflow in one"]
    texts = [a.text for a in figure.layout.annotations]
    assert texts == ["features.1.conv, now lossless"], "one of four is named: a third"
    assert "2 of 4" not in figure.layout.title.text and figure.layout.title.text.startswith("3 of 4 layers won, 1 lost")
    assert "NaN" not in figure.to_json() and "Infinity" not in figure.to_json()
    only = charts.diff(layers([INF]))
    assert bars(only)[0][1:] == (BLUE, True) and only.layout.title.text.endswith("features.0.conv, now lossless")
    was = layers([INF])[["own_a_db", "own_b_db"]].to_numpy()[0]
    frame = layers([1.0]).assign(own_a_db=was[1], own_b_db=was[0], own_gain_db=-INF)
    assert charts.diff(frame).layout.title.text.endswith("features.0.conv, was lossless")


def test_layers_of_one_run_are_marked_and_say_whose_they_are():
    a = pd.DataFrame({"layer": ["x", "y"], "sqnr_db": 1.0, "own_sqnr_db": 1.0})
    b = pd.DataFrame({"layer": ["y", "z"], "sqnr_db": 1.0, "own_sqnr_db": 4.0})
    figure = charts.diff(gains(a, b), names=("before", "after"))
    alone = next(t for t in figure.data if t.name == "in one run only")
    assert list(alone.x) == ["x", "z"] and list(alone.customdata) == ["before", "after"]
    assert list(bars(figure)) == [1] and figure.layout.title.text.startswith("1 of 3 layers won")


def test_the_largest_are_named_gains_above_and_losses_below():
    own = [0.0, 9.0, 1.0, -7.0, 1.0, 1.0, 8.0, 0.0, 0.0, 0.0, 0.0, -6.0]
    figure = charts.diff(layers(own))
    named = {a.text: a for a in figure.layout.annotations}
    assert sorted(named) == [
        "features.1.conv, +9.0 dB",
        "features.11.conv, -6.0 dB",
        "features.3.conv, -7.0 dB",
        "features.6.conv, +8.0 dB",
    ]
    low, high = figure.layout.yaxis.range
    assert all(9.0 < a.ay < high if "+" in text else low < a.ay < -7.0 for text, a in named.items())
    assert not charts.diff(layers(own), most_named=0).layout.annotations


def test_nothing_changed_and_nothing_known():
    assert charts.diff(layers([0.1, -0.4])).layout.title.text == "No layer changed by 0.5 dB or more"
    assert charts.diff(layers([0.0])).layout.yaxis.range[0] < 0 < charts.diff(layers([0.0])).layout.yaxis.range[1]
    frame = layers([1.0])
    frame[["own_gain_db", "gain_db"]] = NAN
    assert charts.diff(frame).layout.title.text == "No layer that both runs have was measured"
    assert "No layers to compare" in charts.diff(frame.head(0)).layout.annotations[0].text


def test_wrong_frames_are_refused():
    with pytest.raises(InputError, match=r"charts\.diff: a DataFrame without column.*flow\.diff"):
        charts.diff(layers([1.0]).drop(columns="gain_db"))
    with pytest.raises(InputError, match="layer 'fc' twice"):
        charts.diff(pd.concat([layers([1.0], names=["fc"])] * 2))


def test_names_from_outside_stay_text():
    figure = charts.diff(layers([4.0], names=["<img src=x>"]), names=("<b>", "<script>"))
    assert "<img" not in figure.to_json() and "<script" not in figure.to_json() and "<b>" not in figure.to_json()


@pytest.mark.parametrize("count", [1, 3, 30, 500, 1000])
def test_any_number_of_layers(count):
    rng = np.random.default_rng(0)
    own = rng.normal(0, 5, count)
    if count > 5:
        own[[3, 4]] = INF, -INF
    names = [f"features.{i // 5}.{('conv1', 'bn', 'add', 'relu', 'conv2')[i % 5]}" for i in range(count)]
    figure = charts.diff(layers(own, accumulated=np.ones(count), names=names), names=("w8a8", "w8a8+adaround"))
    assert len(figure.to_json()) < 100_000 and len(bars(figure)) == count
    assert len(figure.layout.title.text) <= 72 and len(figure.layout.annotations) == min(4, max(1, count // 3))
    many = count > 60
    assert (figure.layout.bargap == 0) == many and all(v is None for v in figure.data[0].y) == many
    drawn = ET.fromstring(svg(figure))
    assert drawn.tag.endswith("svg") and len(svg(figure)) < 100_000
