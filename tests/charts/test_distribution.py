import math

import numpy as np
import pandas as pd
import pytest

from qnb import charts
from qnb.charts.svg.picture import svg
from qnb.charts.theme import FP32, PURPLE, QUANTSIM
from qnb.errors import InputError


def values(fp32=(0, 5, 9, 1), quantsim=(0, 7, 8, 0), error=(1, 9, 5, 0)) -> pd.DataFrame:
    edges = np.linspace(-1, 1, len(fp32) + 1)
    counts = {"fp32": fp32, "quantsim": quantsim, "error": error}
    return pd.DataFrame({"bin_left": edges[:-1], "bin_right": edges[1:], **counts})


def errors(count=(0, 3, 9, 4, 0), low=-1.0, high=1.5) -> pd.DataFrame:
    edges = np.linspace(low, high, len(count) + 1)
    return pd.DataFrame({"bin_left": edges[:-1], "bin_right": edges[1:], "error": count})


def test_values_and_error_are_over_the_same_bins():
    figure = charts.distribution(values(), log_y=False)
    assert [t.name for t in figure.data] == ["FP32", "QuantSim", "error"]
    assert [t.line.color for t in figure.data] == [FP32, QUANTSIM, PURPLE]
    assert {(t.x0, t.dx, len(t.y)) for t in figure.data} == {(-1.0, 0.5, 5)}
    assert list(figure.data[2].y) == [1, 9, 5, 0, 0] and figure.layout.yaxis.type is None


def test_a_logarithmic_axis_puts_empty_bins_below_its_end():
    figure = charts.distribution(values())
    low, high = figure.layout.yaxis.range
    assert figure.layout.yaxis.type == "log" and math.log10(min(figure.data[0].y)) < low < 0 and high > math.log10(9)


def test_the_ends_of_the_grid_are_marked():
    figure = charts.distribution(values(), low=-0.5, high=math.inf)
    assert [(s.x0, s.x1) for s in figure.layout.shapes if s.type == "rect"] == [(-1.0, -0.5)]
    assert [a.text for a in figure.layout.annotations] == ["clips at -0.5"]


@pytest.mark.parametrize(
    ("figures", "title"),
    [
        ({"kurtosis": 3.0, "effective_bits": 5.5}, "fc: kurtosis 3, 5.5 effective bits"),
        ({"kurtosis": math.nan, "effective_bits": math.nan}, "fc: values and error"),
        ({"kurtosis": 3.25}, "fc: kurtosis 3.25"),
    ],
)
def test_the_title_says_what_is_known(figures, title):
    assert charts.distribution(values(), layer="fc", **figures).layout.title.text == title


def test_the_error_in_steps_beside_half_a_step():
    figure = charts.error_histogram(errors(), layer="fc", scale=0.5)
    assert figure.layout.title.text == "fc: errors up to 1, 2 steps"
    assert [s.x0 for s in figure.layout.shapes] == [-0.25, 0.25] and figure.layout.annotations[
        0
    ].text == "± half a step"
    assert tuple(figure.layout.xaxis.range) == (-0.5, 1.0), "empty bins at the ends are left out"


def test_without_a_grid_there_are_no_steps():
    figure = charts.error_histogram(errors(), layer="fc")
    assert figure.layout.title.text == "fc: errors up to 1" and not figure.layout.shapes


@pytest.mark.parametrize("frame", [errors(count=(0, 0)), errors()[:0]], ids=["no counts", "no rows"])
def test_without_errors_it_says_what_to_do(frame):
    assert "flow.layer" in charts.error_histogram(frame).layout.annotations[0].text


@pytest.mark.parametrize("chart", [charts.distribution, charts.error_histogram])
def test_a_frame_without_the_columns_is_refused(chart):
    with pytest.raises(InputError, match="without columns"):
        chart(pd.DataFrame({"bin_left": [0]}))


@pytest.mark.parametrize("log_y", [True, False])
def test_both_are_drawn_without_scripts(log_y):
    for figure in (charts.distribution(values(), low=-0.5, log_y=log_y), charts.error_histogram(errors(), log_y=log_y)):
        text = svg(figure)
        assert text.startswith("<svg") and "<script" not in text and "nan" not in text
