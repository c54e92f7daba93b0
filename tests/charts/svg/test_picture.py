"""The static picture says what the figure says, in well-formed, script-free, short SVG."""

import json
import math
import re
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from qnb import charts
from qnb.charts.svg.axes import Axis, below
from qnb.charts.svg.picture import svg
from qnb.charts.svg.tags import wide, wrap
from qnb.charts.theme import TEMPLATE, empty
from qnb.errors import InputError

SVG = "{http://www.w3.org/2000/svg}"


def comparison(count: int, name="layer.{}.conv", lossless=()) -> pd.DataFrame:
    db = 30 + 10 * np.sin(np.arange(count))
    db[list(lossless)] = math.inf
    names = [name.format(i) for i in range(count)]
    return pd.DataFrame({"layer": names, "op": "conv2d", "sqnr_db": db, "own_sqnr_db": db + 5})


def histogram(log_y=False) -> go.Figure:
    left = np.linspace(-2, 2, 33)
    counts = np.round(5000 * np.exp(-(left[:-1] ** 2) * 3))
    frame = pd.DataFrame({"bin_left": left[:-1], "bin_right": left[1:], "fp32": counts, "quantsim": counts[::-1]})
    return charts.layer_histogram(frame, layer="fc", scale=0.25, zero_point=8, qmin=0, qmax=15, log_y=log_y)


def channels(count: int, widest=None) -> pd.DataFrame:
    high = np.full(count, 1.0)
    if widest is not None:
        high[widest] = 9.0
    return pd.DataFrame({"layer": "fc", "channel": range(count), "min": -1.0, "max": high, "scale": 0.1})


def runs() -> pd.DataFrame:
    rows = [
        ("fp32", 0.97, 0.96, 0.98, 500, 0.0, "reference", 4000),
        ("w8a8", 0.96, 0.95, 0.97, 500, 0.01, "pass", 1000),
        ("w4a8", 0.9, 0.88, 0.92, 500, 0.07, "fail", 500),
    ]
    return pd.DataFrame(rows, columns=["run", "metric", "low", "high", "n", "drop", "verdict", "size_bytes"])


def scatter(count=50) -> go.Figure:
    values = np.linspace(0, 3, count)
    return charts.layer_scatter(pd.DataFrame({"fp32": values, "quantsim": values.round(1)}), layer="fc")


FIGURES = {
    "layer_sqnr": lambda: charts.layer_sqnr({"w4a8": comparison(20)}, own=True, threshold_db=25),
    "three runs": lambda: charts.layer_sqnr({n: comparison(9, lossless=(2,)) for n in "abc"}),
    "five runs": lambda: charts.layer_sqnr({n: comparison(9, lossless=(2,)) for n in "abcde"}),
    "summary": lambda: charts.summary(runs(), tolerance=0.02),
    "layer_histogram": histogram,
    "logarithmic": lambda: histogram(log_y=True),
    "layer_scatter": scatter,
    "weight_ranges": lambda: charts.weight_ranges(channels(32, widest=7)),
    "empty": lambda: empty("No layers to show."),
}


def parsed(figure, width=640) -> ET.Element:
    return ET.fromstring(svg(figure, width))


def texts(root: ET.Element) -> list[str]:
    return [e.text for e in root.iter(f"{SVG}text")]


def paths(root: ET.Element, **attributes) -> list[str]:
    """The ``d`` of paths that have these attributes."""
    return [p.get("d") for p in root.iter(f"{SVG}path") if attributes.items() <= p.attrib.items()]


def numbers(text: str) -> list[float]:
    return [float(v) for v in re.findall(r"-?\d+\.?\d*", text)]


@pytest.mark.parametrize("width", [320, 640, 1280])
@pytest.mark.parametrize("name", FIGURES)
def test_well_formed_named_without_scripts_and_inside_its_frame(name, width):
    figure = FIGURES[name]()
    text = svg(figure, width)
    root = ET.fromstring(text)
    assert root.tag == f"{SVG}svg" and root.get("role") == "img"
    title = figure.layout.title.text or figure.layout.annotations[0].text
    assert root[0].tag == f"{SVG}title" and root[0].text == title
    assert numbers(root.get("viewBox"))[:3] == [0, 0, width]
    assert not re.search(r"<script|\bon\w+=|href|\bid=|url\(|nan|None|inf\b", text)
    height = numbers(root.get("viewBox"))[3]
    for e in root.iter(f"{SVG}text"):
        size, x, y = float(e.get("font-size")), float(e.get("x")), float(e.get("y"))
        if not e.get("transform"):
            before = {"end": 1, "middle": 0.5}.get(e.get("text-anchor"), 0)
            left = x - before * wide(e.text, size)
            assert left >= -1 and left + wide(e.text, size) <= width + 8, (e.text, left)
        assert 0 <= y <= height


@pytest.mark.parametrize("name", FIGURES)
def test_the_same_figure_is_the_same_text_also_as_dict_and_json(name):
    figure = FIGURES[name]()
    text = svg(figure)
    assert text == svg(FIGURES[name]()) == svg(figure.to_dict()) == svg(json.loads(figure.to_json()))
    assert text == svg(figure.to_plotly_json()) == svg(figure.to_json())


@pytest.mark.parametrize("count", [1, 5, 40, 60])
def test_a_bar_per_layer_as_high_as_its_value(count):
    frame = comparison(count)
    root = parsed(charts.layer_sqnr({"w4a8": frame}, worst=0))
    (bars,) = [d for d in paths(root, fill="#0072b2") if d.count("M") == count]
    boxes = [numbers(part) for part in bars.split("M")[1:]]  # left bottom right top left
    bottom = boxes[0][1]
    heights = [bottom - b[3] for b in boxes]
    assert heights == pytest.approx(np.array(frame.sqnr_db) * heights[0] / frame.sqnr_db[0], abs=0.3)
    assert all(a[2] <= b[0] for a, b in zip(boxes, boxes[1:], strict=False))


def test_bars_of_several_runs_stand_side_by_side():
    root = parsed(charts.layer_sqnr({n: comparison(6) for n in "ab"}, worst=0))
    bars = [[numbers(p) for p in paths(root, fill=c)[0].split("M")[1:]] for c in ("#0072b2", "#c77f00")]
    assert [len(b) for b in bars] == [6, 6]
    assert all(a[2] == pytest.approx(b[0], abs=0.1) for a, b in zip(*bars, strict=True))


def test_what_is_lossless_is_striped():
    root = parsed(charts.layer_sqnr({"a": comparison(6, lossless=(1, 4))}))
    (stripes,) = [
        p for p in root.iter(f"{SVG}path") if p.get("stroke-dasharray") == "1.6 3.4" and p.get("d").count("M") == 2
    ]
    assert stripes.get("stroke") == "#0072b2" and "lossless" in texts(root)


def test_bars_between_base_and_end():
    root = parsed(charts.weight_ranges(channels(5, widest=3)))
    boxes = [numbers(p) for p in paths(root, fill="#0072b2")[0].split("M")[1:]]
    heights = [b[1] - b[3] for b in boxes]
    assert len(boxes) == 5 and heights[3] == pytest.approx(5 * heights[0], abs=0.5)
    assert "channel 3" in texts(root)


def test_every_text_is_text():
    name = "<img src=x onerror=alert(1)>\"'&"
    layout = {"template": TEMPLATE, "title": {"text": name}, "xaxis": {"title": {"text": name}}}
    figure = go.Figure([go.Bar(x=[name], y=[1], name=name), go.Bar(x=[name], y=[2], name="b")], layout)
    figure.add_annotation(text=name, x=name, y=1)
    text = svg(figure)
    assert "<img" not in text
    root = ET.fromstring(text)
    assert texts(root).count(name) == 5 and root[0].text == name


def test_names_of_layers_and_runs_are_text_in_every_chart():
    frame = comparison(3, "<img src=x>{}")
    text = svg(charts.layer_sqnr({"<script>": frame, "b": frame}, own=True))
    assert "<img" not in text and "<script" not in text
    assert {"<img src=x>0", "<img src=x>2", "<script>"} <= set(texts(ET.fromstring(text)))


@pytest.mark.parametrize("bad", ["\x00", "\x1b", "\ud800", "\ufffe"])
def test_what_xml_cannot_hold_is_replaced(bad):
    assert "�" in "".join(texts(parsed(empty(f"a{bad}b"))))


def test_attributes_are_escaped():
    figure = go.Figure(layout={"template": TEMPLATE}).to_dict()
    colour = '"/><script>alert(1)</script>'
    figure["data"] = [{"type": "scatter", "y": [1, 2], "mode": "lines", "line": {"color": colour}}]
    text = svg(figure)
    assert "<script" not in text
    ET.fromstring(text)


def test_markup_of_plotly_becomes_lines():
    assert texts(parsed(empty("<b>No layers</b><br>Run a step."))) == ["No layers", "Run a step."]


@pytest.mark.parametrize("own", [False, True])
def test_a_thousand_layers_are_small(own):
    assert len(svg(charts.layer_sqnr({"w4a8": comparison(1000)}, own=own), 1280)) < 60_000


def test_a_thousand_bars_are_small_and_all_there():
    text = svg(charts.weight_ranges(channels(1000)), 1280)
    assert len(text) < 60_000
    assert max(d.count("M") for d in paths(ET.fromstring(text))) == 1000


def test_three_thousand_points_are_small_and_all_there():
    text = svg(scatter(3000))
    points = paths(ET.fromstring(text), **{"stroke-linecap": "round"})
    assert len(text) < 60_000 and sum(d.count("M") for d in points) == 3000


def test_an_empty_chart_is_its_sentence():
    root = parsed(empty("No layers to show."))
    assert texts(root) == ["No layers to show."] and not paths(root)
    assert numbers(root.get("viewBox"))[3] == 160


def test_a_logarithmic_axis():
    root = parsed(histogram(log_y=True))
    ticks = {e.text: float(e.get("y")) for e in root.iter(f"{SVG}text") if e.text.startswith("10")}
    assert list(ticks) == ["10⁰", "10¹", "10²", "10³", "10⁴"]
    steps = np.diff(list(ticks.values()))
    assert np.ptp(steps) <= 0.21 and steps[0] < 0


def test_what_a_logarithmic_axis_cannot_show_is_left_out():
    layout = {"template": TEMPLATE, "yaxis": {"type": "log"}}
    root = parsed(go.Figure(go.Scatter(y=[10, 0, -1, 1000, 100], mode="lines", line_color="#123456"), layout))
    (line,) = paths(root, stroke="#123456")
    assert line.count("M") == 2 and line.count("L") == 1


def test_missing_values_part_a_line():
    root = parsed(go.Figure(go.Scatter(y=[1, None, 2, 3], mode="lines", line_color="#123456"), {"template": TEMPLATE}))
    assert paths(root, stroke="#123456")[0].count("M") == 2


def test_intervals_labels_and_symbols_of_runs():
    root = parsed(charts.summary(runs(), tolerance=0.02))
    assert {"fp32", "w8a8", "w4a8", "FP32", "pass", "fail", "tolerance 0.02"} <= set(texts(root))
    band = paths(root, fill="#009e73", opacity="0.13")
    assert len(band) == 1
    (interval,) = [d for d in paths(root, stroke="#009e73") if "V" in d]
    assert interval.count("M") == 3  # the interval and its two ends


def test_both_axes_of_the_scatter_have_one_scale():
    root = parsed(scatter())
    box = root.find(f"{SVG}svg")
    assert float(box.get("width")) == pytest.approx(float(box.get("height")), abs=0.2)


@pytest.mark.parametrize("count", [5, 12, 30, 60])
@pytest.mark.parametrize("width", [320, 640, 1280])
def test_labels_below_the_axis_do_not_overlap(count, width):
    names = {f"blocks.{i}.conv": i for i in range(count)}
    axis = Axis("x", {}, "category", names, -0.5, count - 0.5, 60.0, width - 20.0)
    labels = below(axis, axis.ticks())
    pixels = [axis.pixel(p) for p, _ in labels.shown]
    needed = {0: max(wide(t, 11) for _, t in labels.shown), -45: 11 * 1.41, -90: 11}[labels.turn]
    assert all(b - a >= needed for a, b in zip(pixels, pixels[1:], strict=False))
    assert len(labels.shown) >= min(count, 15)


def test_a_legend_where_there_are_several_traces():
    assert {"a", "b"} <= set(texts(parsed(charts.layer_sqnr({n: comparison(5) for n in "ab"}))))
    assert "w4a8" not in texts(parsed(charts.layer_sqnr({"w4a8": comparison(5)})))


def test_a_leader_does_not_cross_another_text():
    layout = {"template": TEMPLATE, "xaxis": {"range": [0, 4]}, "yaxis": {"range": [0, 10]}}
    figure = go.Figure(go.Scatter(x=[1, 2], y=[1, 1], mode="markers"), layout)
    for x, up in ((1, 6), (2, 9)):
        figure.add_annotation(
            x=x,
            y=1,
            ax=0,
            ay=up,
            ayref="y",
            text="a text that is long enough to reach",
            xanchor="left",
            arrowcolor="#123456",
            font_color="#654321",
        )
    leaders = paths(parsed(figure), stroke="#123456")
    assert [d.count("M") for d in leaders] == [1, 2]


def test_long_titles_are_wrapped():
    assert len(wrap("a title of some words", 14, 80)) > 1 and wrap("word", 14, 5) == ["word"]


@pytest.mark.parametrize("bad", [None, 3, {}, "figure", [1]])
def test_what_is_no_figure(bad):
    with pytest.raises(InputError, match="charts.svg.*pass a figure of qnb.charts"):
        svg(bad)


@pytest.mark.parametrize("trace", [go.Heatmap(z=[[1]]), go.Bar(x=[1], y=["a"], orientation="h", xaxis="x2")])
def test_a_trace_that_cannot_be_drawn(trace):
    with pytest.raises(InputError, match="cannot be drawn"):
        svg(go.Figure(trace))


@pytest.mark.parametrize("width", [0, 100, float("nan"), "640"])
def test_a_width_that_does_not_fit(width):
    with pytest.raises(InputError, match="width"):
        svg(empty("a"), width)
