"""A bar per quantizer, the most sensitive at the top, with its interval."""

import math
import xml.etree.ElementTree as ET

import pandas as pd
import pytest

from qnb import charts
from qnb.charts.sensitivity import LABEL_LENGTH
from qnb.charts.svg.picture import svg
from qnb.columns import SENSITIVITY
from qnb.errors import InputError

SVG = "{http://www.w3.org/2000/svg}"


def measured(count=6, name="blocks.{}.conv") -> pd.DataFrame:
    rows = [
        (name.format(i), ("weight", "activation", "input")[i % 3], 1 / (i + 1), 0.8 / (i + 1), 1.3 / (i + 1))
        for i in range(count)
    ]
    return pd.DataFrame(rows, columns=list(SENSITIVITY))


def bars(figure) -> dict:
    """Row -> (score, kind)."""
    return {int(y): (x, t.name) for t in figure.data if t.type == "bar" for x, y in zip(t.x, t.y, strict=True)}


def test_rows_are_sorted_and_coloured_by_kind():
    figure = charts.sensitivity(measured().sample(frac=1, random_state=0), estimator="fisher")
    found = bars(figure)
    assert [found[i][0] for i in range(6)] == pytest.approx([1 / (i + 1) for i in range(6)], rel=1e-3)
    assert [found[i][1] for i in range(6)] == ["weight", "activation", "input"] * 2
    assert len({t.marker.color for t in figure.data if t.type == "bar"}) == 3
    assert list(figure.layout.yaxis.range) == [5.5, -0.5], "the first row is at the top"
    assert figure.layout.title.text == "Most sensitive: blocks.0.conv, weight, 1"
    assert "nats" in figure.layout.xaxis.title.text


def test_intervals_are_lines_and_unknown_ones_are_left_out():
    frame = measured(3)
    frame.loc[1, ["low", "high"]] = math.nan
    line = next(t for t in charts.sensitivity(frame).data if t.type == "scatter")
    assert list(line.x) == pytest.approx([0.8, 1.3, None, 0.2667, 0.4333])
    assert list(line.y) == ["0", "0", None, "2", "2"]
    frame[["low", "high"]] = math.nan
    assert all(t.type == "bar" for t in charts.sensitivity(frame).data)


def test_the_axis_says_what_the_frame_measured():
    frame = measured()
    assert charts.sensitivity(frame).layout.xaxis.title.text == "sensitivity"
    frame.attrs["estimator"] = "sqnr"
    assert charts.sensitivity(frame).layout.xaxis.title.text == "noise-to-signal ratio at the outputs"


def test_only_the_most_sensitive_are_shown():
    figure = charts.sensitivity(measured(50), max_rows=10)
    assert len(bars(figure)) == 10
    assert figure.layout.title.subtitle.text == "10 of 50 quantizers, the most sensitive ones"


@pytest.mark.parametrize("name", ["blocks.{}.conv", "encoder.layer.{}.attention.output.dense.very_long_name"])
@pytest.mark.parametrize("count", [1, 6, 80])
def test_the_picture_has_every_label_and_none_is_cut(count, name):
    figure = charts.sensitivity(measured(count, name), max_rows=100)
    root = ET.fromstring(svg(figure))
    texts = [e for e in root.iter(f"{SVG}text") if (e.text or "").endswith((", weight", ", activation", ", input"))]
    assert len(texts) == count and all(len(e.text) <= LABEL_LENGTH + len(", activation") for e in texts)
    down = sorted(float(e.get("y")) for e in texts)
    assert all(b - a >= 12 for a, b in zip(down, down[1:], strict=False)), "lines do not overlap"
    assert all(float(e.get("x")) >= 5 * len(e.text) for e in texts), "room to the left"
    assert len(figure.to_json()) < 30_000


def test_bars_lie_from_zero_to_their_score():
    frame = pd.DataFrame([("a", "weight", 2.0, 2, 2), ("b", "weight", 1.0, 1, 1)], columns=list(SENSITIVITY))
    root = ET.fromstring(svg(charts.sensitivity(frame)))
    path = next(p.get("d") for p in root.iter(f"{SVG}path") if p.get("opacity") and p.get("d").count("M") == 2)
    first, second = (
        [float(v) for v in part.replace("H", " ").replace("V", " ").split()[:3]]
        for part in path.replace("z", "").split("M")[1:]
    )
    assert first[0] == second[0] and first[1] < second[1]
    assert first[2] - first[0] == pytest.approx(2 * (second[2] - second[0]), abs=0.3)


def test_names_are_safe():
    figure = charts.sensitivity(measured(2, "<img src=x{}>"))
    assert "<img" not in figure.to_json().replace("\\u003c", "<")
    assert "<img" not in svg(figure)


def test_without_scores_it_says_what_to_do():
    for frame in (measured(0), measured(2).assign(score=math.nan)):
        assert "qnb.sensitivity" in charts.sensitivity(frame).layout.annotations[0].text


def test_what_is_no_sensitivity_is_said():
    with pytest.raises(InputError, match="without column"):
        charts.sensitivity(measured().drop(columns="score"))
    with pytest.raises(InputError, match="max_rows=0"):
        charts.sensitivity(measured(), max_rows=0)
