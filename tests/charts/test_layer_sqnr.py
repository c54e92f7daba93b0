import json
import math

import numpy as np
import pandas as pd
import pytest

from qnb import charts, columns
from qnb.errors import InputError

INF = math.inf


def comparison(sqnr_db, own=None, layers=None) -> pd.DataFrame:
    n = len(sqnr_db)
    frame = pd.DataFrame(0.0, index=range(n), columns=list(columns.COMPARISON)).astype(object)
    frame["layer"] = layers or [f"features.{i}.conv" for i in range(n)]
    frame["op"] = "conv2d"
    frame["sqnr_db"] = sqnr_db
    frame["own_sqnr_db"] = sqnr_db if own is None else own
    return frame


def shown(figure) -> dict:
    return json.loads(figure.to_json())


def marked(figure) -> list[str]:
    return [a.text for a in figure.layout.annotations if a.showarrow]


def test_layers_stand_in_graph_order_as_categories():
    names = ["stem", "10", "9", "fc"]  # names that look like numbers, and not sorted
    figure = charts.layer_sqnr({"w8a8": comparison([4.0, 3.0, 2.0, 5.0], layers=names)})
    assert list(figure.data[0].x) == names and list(figure.data[0].y) == [4.0, 3.0, 2.0, 5.0]
    assert figure.layout.xaxis.type == "category" and list(figure.layout.xaxis.tickvals) == names
    assert figure.layout.yaxis.title.text == "SQNR (dB), more is better"


def test_the_worst_is_in_the_title_and_the_worst_three_are_named():
    frame = comparison([30.0, 12.3, 28.0, 15.0, 40.0, 14.0, 33.0, 31.0, 32.0])
    figure = charts.layer_sqnr({"w4a8": frame})
    assert figure.layout.title.text == "w4a8: weakest layer features.1.conv, 12.3 dB"
    assert sorted(marked(figure)) == [
        "features.1.conv, 12.3 dB",
        "features.3.conv, 15.0 dB",
        "features.5.conv, 14.0 dB",
    ]
    assert len(marked(charts.layer_sqnr(frame, worst=1))) == 1 and not marked(charts.layer_sqnr(frame, worst=0))
    assert charts.layer_sqnr(frame).layout.title.text.startswith("Weakest layer features.1.conv")
    assert charts.layer_sqnr(frame, precisions="w4a8").layout.title.text == figure.layout.title.text


def test_own_error_is_marked_and_judged():
    figure = charts.layer_sqnr({"w4a8": comparison([30.0, 12.0, 11.0], own=[30.0, 13.0, 25.0])}, own=True)
    assert [t.type for t in figure.data] == ["bar", "scatter"] and figure.data[1].mode == "markers"
    assert list(figure.data[1].y) == [30.0, 13.0, 25.0] and figure.data[1].x0 == "features.0.conv"
    assert figure.layout.title.text == "w4a8: weakest layer features.1.conv, 13.0 dB on its own"
    assert "%{customdata[0]:.1f} dB" in figure.data[0].hovertemplate
    assert figure.data[0].customdata[1] == [13.0, "conv2d"]


def test_own_error_that_was_not_measured_is_left_out():
    figure = charts.layer_sqnr(comparison([30.0, 12.0], own=[math.nan] * 2), own=True)
    assert len(figure.data) == 1 and "own" not in figure.data[0].hovertemplate
    assert figure.layout.title.text == "Weakest layer features.1.conv, 12.0 dB"


def test_lossless_overflow_and_nan():
    frame = comparison([INF, 20.0, -INF, math.nan, 10.0, 30.0])
    figure = charts.layer_sqnr({"fp16": frame})
    values, lossless, overflow_bar, overflow = figure.data
    assert list(values.y) == [None, 20.0, None, None, 10.0, 30.0]
    assert lossless.name == "lossless" and list(lossless.x) == ["features.0.conv"]
    assert lossless.y[0] > 30 and lossless.marker.pattern.shape == "/" and "fp16 lossless" in lossless.hovertemplate
    assert list(overflow.x) == list(overflow_bar.x) == ["features.2.conv"] and overflow.marker.symbol == "x"
    assert overflow.y[0] == overflow_bar.y[0] == 0 and "fp16 overflow" in overflow_bar.hovertemplate
    assert figure.layout.title.text == "fp16: weakest layer features.2.conv, overflow"
    assert "features.2.conv, overflow" in marked(figure)
    assert "NaN" not in figure.to_json() and "Infinity" not in figure.to_json()


@pytest.mark.parametrize(
    ("values", "title"), [([INF, INF], "w16a16: lossless in every layer"), ([math.nan] * 2, "w16a16: no SQNR measured")]
)
def test_nothing_is_the_worst(values, title):
    figure = charts.layer_sqnr({"w16a16": comparison(values)})
    assert figure.layout.title.text == title and not marked(figure)
    assert all(math.isfinite(v) for v in figure.layout.yaxis.range)


def test_runs_stand_side_by_side_and_say_names_once():
    runs = {n: comparison([d, d - 5.0, d - 2]) for n, d in (("w8a16", 40.0), ("w8a8", 30.0), ("w4a8", 20.0))}
    figure = charts.layer_sqnr(runs, threshold_db=20)
    assert [(t.name, t.type) for t in figure.data] == [("w8a16", "bar"), ("w8a8", "bar"), ("w4a8", "bar")]
    assert figure.data[1].x is None and figure.data[1].x0 == "features.0.conv" and figure.data[1].dx == 1
    assert len({t.offsetgroup for t in figure.data}) == 3 and figure.layout.barmode == "group"
    assert figure.layout.title.text == "w4a8: weakest layer features.1.conv, 15.0 dB"
    assert figure.layout.title.subtitle.text == "2 of 3 layers below 20 dB"
    assert any(a.text == "20 dB" for a in figure.layout.annotations)


def test_four_runs_are_lines():
    runs = {f"w{b}a8": comparison([INF, 5.0 * b, -INF]) for b in (4, 5, 6, 8)}
    figure = charts.layer_sqnr(runs)
    assert {t.type for t in figure.data} == {"scatter"}
    first = figure.data[0]
    assert first.mode == "lines+markers" and list(first.y) == [43.2, 20.0, 0.0]
    assert list(first.hovertext) == ["lossless, drawn at ", "", "overflow, drawn at "]
    assert [t.name for t in figure.data if t.showlegend is not False].count("lossless") == 1


def test_runs_with_other_layers_share_one_order():
    runs = {"a": comparison([1.0, 2.0], layers=["x", "z"]), "b": comparison([1.0, 2.0, 3.0], layers=["x", "y", "z"])}
    figure = charts.layer_sqnr(runs)
    assert list(figure.layout.xaxis.categoryarray) == ["x", "z", "y"]
    assert [list(t.x) for t in figure.data] == [["x", "z"], ["x", "y", "z"]]


def test_choosing_runs():
    runs = {n: comparison([d, 9.0]) for n, d in (("w8a8", 30.0), ("w4a8", 20.0))}
    assert [t.name for t in charts.layer_sqnr(runs, precisions=["w4a8", "w8a8"]).data] == ["w4a8", "w8a8"]
    table = pd.concat([f.assign(run=n) for n, f in runs.items()])
    assert [t.name for t in charts.layer_sqnr(table).data] == ["w8a8", "w4a8"]
    with pytest.raises(InputError, match="no run 'w2a8'. To fix: choose from: w8a8, w4a8"):
        charts.layer_sqnr(runs, precisions=["w2a8"])


def test_a_layer_that_stands_twice_is_refused():
    with pytest.raises(InputError, match="layer 'fc' twice"):
        charts.layer_sqnr(comparison([1.0, 2.0], layers=["fc", "fc"]))


def test_long_names_are_short_on_the_axis_and_whole_in_the_hover():
    names = [f"encoder.layer.{i}.attention.self.query" for i in range(12)]
    figure = charts.layer_sqnr(comparison(list(range(5, 17)), layers=names))
    assert max(map(len, figure.layout.xaxis.ticktext)) <= 24 and len(set(figure.layout.xaxis.ticktext)) == 12
    assert figure.data[0].hovertext[3] == f"{names[3]}<br>" and list(figure.data[0].x) == names


@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("own", [False, True])
def test_a_thousand_layers_stay_small_and_quiet(own, special):
    rng = np.random.default_rng(0)
    db = rng.normal(30, 5, 1000)
    if special:
        db[[3, 500]] = INF, -INF
    names = [f"features.{i // 5}.{('conv1', 'bn', 'add', 'relu', 'conv2')[i % 5]}" for i in range(1000)]
    figure = charts.layer_sqnr({"w8a8": comparison(db, own=db + 1.234567, layers=names)}, own=own)
    assert len(figure.to_json()) < 60_000
    assert figure.data[0].mode == "lines+markers"
    assert list(figure.layout.xaxis.ticktext[:2]) == ["features.0", "features.9"]
    assert figure.layout.xaxis.title.text == "1,000 layers, in graph order"
    assert list(figure.data[0].x) == names and len(marked(figure)) == 3


def test_the_same_frame_gives_the_same_json_without_uid_or_script():
    frame = comparison([INF, 20.0, -INF, 10.0])
    texts = [charts.layer_sqnr({"w8a8": frame}, own=True).to_json() for _ in range(2)]
    assert texts[0] == texts[1] and "uid" not in texts[0] and "<script" not in texts[0]


def test_names_of_neighbours_do_not_cover_each_other():
    frame = comparison([30.0] * 9 + [1.0, 2.0, 3.0] + [30.0] * 9)
    figure = charts.layer_sqnr(frame)
    assert len({a.ay for a in figure.layout.annotations}) > 1
    assert max(a.ay for a in figure.layout.annotations) < figure.layout.yaxis.range[1]


def test_negative_sqnr_is_in_the_plot():
    figure = charts.layer_sqnr(comparison([10.0, -30.0, 5.0]))
    assert figure.layout.yaxis.range[0] < -30 and "-30.0 dB" in figure.layout.title.text
    assert shown(figure)["data"][0]["y"] == [10.0, -30.0, 5.0]
