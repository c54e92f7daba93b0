"""The front: what is predicted, what was measured, what was chosen."""

import math

import numpy as np
import pandas as pd
import pytest

from qnb import charts
from qnb.charts.svg.picture import svg
from qnb.columns import FRONT
from qnb.errors import InputError
from tests.charts.svg.test_picture import SVG, numbers, parsed, paths, texts


def front(count=12, measured=(0, 4, 11), chosen=4, intervals=True, cost_name="bops"):
    cost = np.geomspace(2e6, 2e7, count)
    frame = pd.DataFrame(
        {
            "point": range(count),
            "cost": cost,
            "cost_fraction": cost / 2e7,
            "predicted": np.geomspace(0.1, 1e-6, count),
            "measured": math.nan,
            "low": math.nan,
            "high": math.nan,
            "metric": math.nan,
            "chosen": False,
        }
    )
    for i in measured:
        drop = 0.05 * (1 - i / count) ** 3
        frame.loc[i, ["measured", "metric"]] = drop, 0.97 - drop
        if intervals:
            frame.loc[i, ["low", "high"]] = drop - 0.01, drop + 0.02
    if chosen is not None:
        frame.loc[chosen, "chosen"] = True
    frame = frame[list(FRONT)]
    frame.attrs["cost"] = cost_name
    return frame


def test_the_line_is_the_prediction_and_points_are_the_metric_on_an_axis_of_their_own():
    predicted, measured = charts.pareto(front()).data
    assert list(predicted.y) == pytest.approx(front().predicted, rel=1e-4) and predicted.yaxis is None
    assert list(measured.x) == pytest.approx(front().cost[[0, 4, 11]], rel=1e-4) and measured.yaxis == "y2"
    assert list(measured.y) == pytest.approx(front().measured.dropna(), rel=1e-4)
    assert list(measured.error_y.array) == pytest.approx([0.02] * 3)
    assert list(measured.error_y.arrayminus) == pytest.approx([0.01] * 3)


def test_axes_say_what_they_are():
    layout = charts.pareto(front(), cost="bytes").layout
    assert (layout.xaxis.title.text, layout.yaxis.title.text) == ("bytes", "predicted loss")
    assert layout.yaxis.type == "log" and layout.yaxis2.type is None and layout.yaxis2.overlaying == "y"
    assert layout.yaxis2.title.text == "measured drop of the metric"
    assert layout.xaxis.range[0] == 0


@pytest.mark.parametrize(
    ("name", "unit"), [("bops", "BOPs"), ("weight_bytes", "bytes of weights"), ("energy", "energy"), (None, "units of")]
)
def test_the_cost_is_the_one_that_was_searched(name, unit):
    frame = front(cost_name=name)
    if name is None:
        frame.attrs.clear()
    figure = charts.pareto(frame)
    assert figure.layout.xaxis.title.text.startswith(unit) and f" M {unit}" in figure.layout.title.text
    assert f" M {unit}" in figure.data[0].hovertext[3]


def test_the_chosen_point_is_marked_or_another_that_is_selected():
    chosen = charts.pareto(front())
    (line,) = chosen.layout.shapes
    assert line.x0 == line.x1 == pytest.approx(front().cost[4], rel=1e-4)
    assert chosen.layout.annotations[0].text == "chosen"
    assert chosen.layout.title.text == "Chosen: 4.62 M BOPs (23 % of the most expensive), measured drop 0.0148"
    other = charts.pareto(front(), selected=7)
    assert other.layout.shapes[0].x0 == pytest.approx(front().cost[7], rel=1e-4)
    assert other.layout.title.text == "Point 7: 8.66 M BOPs (43 % of the most expensive), not measured"
    none = charts.pareto(front(chosen=None))
    assert not none.layout.shapes and none.layout.title.text == "12 best mixes of precisions, 3 of them measured"


def test_without_measurements_there_is_one_axis():
    figure = charts.pareto(front(measured=(), chosen=None))
    assert len(figure.data) == 1 and "yaxis2" not in figure.layout.to_plotly_json()
    assert "NaN" not in figure.to_json()


def test_without_intervals_there_are_none():
    measured = charts.pareto(front(intervals=False)).data[1]
    assert set(measured.error_y.array) == set(measured.error_y.arrayminus) == {0.0}
    assert "nan" not in " ".join(measured.hovertext)


def test_hover_says_the_numbers():
    predicted, measured = charts.pareto(front()).data
    assert measured.hovertext[1].startswith("<b>point 4</b>: 4.62 M BOPs (23%)<br>predicted loss 0.00152<br>metric")
    assert "drop 0.015 (0.0048 to 0.035)" in measured.hovertext[1] and "drop" not in predicted.hovertext[1]


def test_a_loss_of_zero_is_no_point_of_a_logarithmic_axis_and_no_error():
    frame = front()
    frame.loc[11, "predicted"] = 0.0
    assert svg(charts.pareto(frame)).count("<svg") == 2


@pytest.mark.parametrize("width", [320, 640, 1280])
def test_as_a_picture_both_axes_have_their_labels_inside(width):
    root = parsed(charts.pareto(front()), width)
    assert {"predicted loss", "measured drop of the metric", "BOPs", "chosen", "10⁻³", "0.02"} <= set(texts(root))
    plot = root.find(f"{SVG}svg")
    right_edge = float(plot.get("x")) + float(plot.get("width"))
    right = [e for e in root.iter(f"{SVG}text") if e.text in ("0.00", "0.02", "0.04")]
    assert len(right) == 3 and all(right_edge < float(e.get("x")) < width - 30 for e in right)
    at = {e.text: float(e.get("y")) for e in right}
    (points,) = [d for d in paths(root, fill="#c77f00") if d.count("M") == 3]
    y = numbers(points.split("M")[1])[1]  # a drop of 0.05
    baseline = 0.35 * 11
    assert at["0.04"] - baseline - y == pytest.approx((at["0.00"] - at["0.04"]) / 4, abs=0.5)


def test_what_is_refused():
    with pytest.raises(InputError, match="without column 'chosen'.*tables\\['front'\\]"):
        charts.pareto(front().drop(columns="chosen"))
    assert "mixed_precision" in charts.pareto(front()[:0]).layout.annotations[0].text
