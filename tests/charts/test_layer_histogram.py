import math

import numpy as np
import pandas as pd
import pytest

from qnb import charts
from qnb.charts import theme


def histogram(fp32, quantsim=None, low=0.0, high=None) -> pd.DataFrame:
    edges = np.linspace(low, len(fp32) if high is None else high, len(fp32) + 1)
    quantsim = fp32 if quantsim is None else quantsim
    return pd.DataFrame({"bin_left": edges[:-1], "bin_right": edges[1:], "fp32": fp32, "quantsim": quantsim})


def test_fp32_is_filled_and_quantsim_a_line_over_the_same_bins():
    figure = charts.layer_histogram(histogram([1, 4, 2, 1], [0, 5, 3, 0]), layer="w8a8, conv1")
    fp32, quantsim = figure.data
    assert (fp32.name, fp32.fill, fp32.line.color) == ("FP32", "tozeroy", theme.FP32)
    assert (quantsim.name, quantsim.fill, quantsim.line.color) == ("QuantSim", None, theme.QUANTSIM)
    assert list(fp32.y) == [1, 4, 2, 1, 0] and list(quantsim.y) == [0, 5, 3, 0, 0]
    assert fp32.line.shape == quantsim.line.shape == "hv"
    assert (fp32.x0, fp32.dx, fp32.x) == (0.0, 1.0, None)
    assert figure.layout.title.text == "w8a8, conv1: FP32 and QuantSim values"


def test_uneven_bins_have_their_edges():
    frame = pd.DataFrame({"bin_left": [0.0, 1.0, 5.0], "bin_right": [1.0, 5.0, 6.0], "fp32": 1, "quantsim": 1})
    assert list(charts.layer_histogram(frame).data[0].x) == [0.0, 1.0, 5.0, 6.0]


@pytest.mark.parametrize(
    ("share", "title"),
    [
        (0.0123, "conv1: 1.23 % of FP32 values clipped"),
        (0.0, "conv1: no FP32 value clipped"),
        (math.nan, "conv1: FP32 and QuantSim values"),
    ],
)
def test_the_title_says_the_clipped_share(share, title):
    assert charts.layer_histogram(histogram([1, 2]), layer="conv1", clipped_fraction=share).layout.title.text == title


def test_what_the_grid_does_not_reach_is_shaded():
    figure = charts.layer_histogram(histogram([1, 2, 3, 4]), low=0.5, high=3.0)
    shaded = [(s.x0, s.x1) for s in figure.layout.shapes if s.type == "rect"]
    assert shaded == [(0.0, 0.5), (3.0, 4.0)]
    assert [a.text for a in figure.layout.annotations] == ["clips at 0.5", "clips at 3"]


@pytest.mark.parametrize(("low", "high"), [(-math.inf, math.inf), (-1.0, 9.0), (None, None)])
def test_a_grid_that_reaches_everything_shades_nothing(low, high):
    assert not charts.layer_histogram(histogram([1, 2, 3]), low=low, high=high).layout.shapes


def test_the_grid_comes_from_its_parameters_and_shows_few_levels():
    figure = charts.layer_histogram(histogram([1, 2, 3, 4]), scale=0.2, zero_point=0, qmin=0, qmax=15)
    assert [(s.x0, s.x1) for s in figure.layout.shapes if s.type == "rect"] == [(3.0, 4.0)]
    levels = figure.data[2]
    assert (levels.x0, levels.dx, len(levels.y)) == (0.0, 0.2, 16)
    assert len(charts.layer_histogram(histogram([1, 2]), scale=0.01, zero_point=3, qmin=0, qmax=255).data) == 2


def test_a_bin_that_dwarfs_the_rest_is_cut_and_named():
    figure = charts.layer_histogram(histogram([1000, 10, 8, 6]))
    assert figure.layout.yaxis.range[1] == pytest.approx(13.5)
    assert figure.layout.annotations[0].text == "bar truncated (1,000 FP32 values)"
    assert charts.layer_histogram(histogram([30, 10, 8, 6])).layout.yaxis.range[1] > 30


def test_a_logarithmic_axis_shows_empty_bins_below_its_end():
    figure = charts.layer_histogram(histogram([100, 0, 1]), log_y=True)
    assert figure.layout.yaxis.type == "log" and figure.layout.yaxis.range[1] > 2
    assert math.log10(min(figure.data[0].y)) < figure.layout.yaxis.range[0] < 0
