"""Charts of calibration samples: the curve of a model, the range of a layer."""

import math

import pandas as pd
import pytest

from qnb import charts
from qnb.columns import CALIBRATION_CURVE, CALIBRATION_RANGES
from qnb.errors import InputError
from tests.charts.svg.test_picture import parsed


def curve(count=6, level=30.0, enough=True) -> pd.DataFrame:
    rows = [(2**i, level - 1 / (i + 1), 1 - 0.5 / 2**i, 0.5, "conv", enough and i >= count - 2) for i in range(count)]
    return pd.DataFrame(rows, columns=list(CALIBRATION_CURVE))


def ranges(count=6, layer="conv") -> pd.DataFrame:
    rows = [(layer, "activation", 2**i, -0.1 * i, 1.0 + i) for i in range(count)]
    return pd.DataFrame(rows, columns=list(CALIBRATION_RANGES))


def test_the_curve_marks_what_is_enough():
    figure = charts.calibration_curve(curve(), title="w8a8")
    assert figure.layout.title.text == "w8a8: 16 of 32 calibration samples are enough"
    assert list(figure.data[0].x) == ["1", "2", "4", "8", "16", "32"] and figure.data[1].yaxis == "y2"
    assert figure.data[1].y[0] == 50 and "50 % at conv" in figure.data[2].hovertext
    (line,) = figure.layout.shapes
    assert line.x0 == line.x1 == list(figure.data[0].x).index("16") and figure.layout.annotations[0].text == "enough"
    parsed(figure)


def test_a_curve_that_is_not_enough_marks_nothing():
    figure = charts.calibration_curve(curve(enough=False))
    assert figure.layout.title.text == "32 calibration samples are not enough yet" and not figure.layout.shapes


@pytest.mark.parametrize("level", [30.0, math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("count", [1, 2, 10])
def test_any_count_and_any_level_can_be_drawn(count, level):
    figure = charts.calibration_curve(curve(count, level))
    assert len(figure.data[0].x) == count
    assert all((y is None) == (not math.isfinite(level)) for y in figure.data[0].y)
    parsed(figure)


def test_the_range_of_a_layer():
    figure = charts.calibration_range(ranges(), enough=8, title="w8a8")
    assert figure.layout.title.text == "w8a8: conv: range 83 % as wide after half of the 32 samples"
    assert [t.name for t in figure.data] == ["largest value", "smallest value"]
    assert list(figure.data[0].y) == [1, 2, 3, 4, 5, 6] and figure.layout.annotations[0].text == "enough"
    parsed(figure)
    assert not charts.calibration_range(ranges(), enough=None).layout.annotations
    one = charts.calibration_range(ranges(1))
    assert one.layout.title.text == "conv: range by number of samples, 1 in all"
    parsed(one)


CASES = {
    "calibration_curve": (charts.calibration_curve, curve, "least_layer"),
    "calibration_range": (charts.calibration_range, ranges, "layer"),
}


@pytest.mark.parametrize("name", CASES)
def test_frames_that_are_empty_or_of_another_kind(name):
    chart, frame, text = CASES[name]
    assert len(chart(frame().head(0)).layout.annotations) == 1
    with pytest.raises(InputError, match=name):
        chart(frame().drop(columns=frame().columns[0]))
    assert "<img" not in chart(frame().assign(**{text: "<img src=x>"})).to_json()


def test_ranges_of_two_layers_are_refused():
    with pytest.raises(InputError, match="twice"):
        charts.calibration_range(pd.concat([ranges(), ranges(layer="fc")]))
