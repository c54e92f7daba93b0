import numpy as np
import pandas as pd

from qnb import charts


def test_points_over_the_line_of_equality_with_equal_axes():
    frame = pd.DataFrame({"fp32": [0.0, 1.0, -2.0], "quantsim": [0.0, 0.75, -2.0]})
    figure = charts.layer_scatter(frame, layer="conv1")
    line, points = figure.data
    assert list(line.x) == list(line.y) == list(figure.layout.xaxis.range) == list(figure.layout.yaxis.range)
    assert list(points.x) == [0.0, 1.0, -2.0] and list(points.y) == [0.0, 0.75, -2.0]
    assert points.type == "scatter" and points.mode == "markers" and figure.layout.yaxis.scaleanchor == "x"
    assert figure.layout.title.text == "conv1: largest difference 0.25 (3 values)"


def test_equal_values_have_no_difference():
    figure = charts.layer_scatter(pd.DataFrame({"fp32": [3.0, 3.0], "quantsim": [3.0, 3.0]}))
    assert figure.layout.title.text == "No difference (2 values)"
    assert figure.layout.xaxis.range[0] < 3 < figure.layout.xaxis.range[1]


def test_of_many_values_evenly_spaced_ones_are_drawn():
    x = np.random.default_rng(0).normal(size=10_000)
    figure = charts.layer_scatter(pd.DataFrame({"fp32": x, "quantsim": np.round(x, 1)}))
    assert 2000 <= len(figure.data[1].x) <= 3000 and len(figure.to_json()) < 60_000
    assert "10,000 values" in figure.layout.title.text


def test_what_is_not_finite_is_left_out_and_counted():
    frame = pd.DataFrame({"fp32": [1.0, np.inf, 2.0, np.nan], "quantsim": [1.0, 1.0, 2.5, 0.0]})
    figure = charts.layer_scatter(frame)
    assert list(figure.data[1].x) == [1.0, 2.0]
    assert figure.layout.title.text == "Largest difference 0.5 (2 values, 2 not finite)"
    assert charts.layer_scatter(frame[frame.fp32 > 5]).layout.annotations[0].text.startswith("No finite values")
