import math

import pandas as pd
import pytest

from qnb import charts, columns
from qnb.charts.labels import positions
from qnb.errors import InputError

ROWS = [
    ("fp32", 0.97, 0.96, 0.98, 500, 0.0, "reference", 400_000),
    ("w8a16", 0.968, 0.955, 0.98, 500, 0.002, "pass", 100_000),
    ("w8a8", 0.964, 0.95, 0.978, 500, 0.006, "unclear", 100_000),
    ("w4a8", 0.90, 0.87, 0.92, 500, 0.07, "fail", 50_000),
]


def table(rows=ROWS) -> pd.DataFrame:
    names = ["run", "metric", "low", "high", "n", "drop", "verdict", "size_bytes"]
    frame = pd.DataFrame(rows, columns=names).astype({"n": "Int64"})
    rest = {
        "precision": frame.run,
        "weakest_layer": "",
        "weakest_own_sqnr_db": math.nan,
        "activation_bytes": 1,
        "macs": 1,
        "bops": 1,
        "file_bytes": pd.NA,
        "latency_ms": math.nan,
    }
    return frame.assign(**rest)[list(columns.SUMMARY)].astype({"file_bytes": "Int64"})


def measured() -> pd.DataFrame:
    """W8A16 is not timed, W4A8 not measured at all."""
    return table().assign(
        file_bytes=pd.array([420_000, 120_000, 120_010, pd.NA], "Int64"), latency_ms=[0.9, math.nan, 0.3, math.nan]
    )


def by_name(figure) -> dict:
    return {t.name: t for t in figure.data}


def test_a_point_per_run_and_the_verdict_by_symbol_and_colour():
    found = by_name(charts.summary(table(), tolerance=0.01))
    assert {n: (t.marker.symbol, list(t.text)) for n, t in found.items()} == {
        "FP32": ("square", ["fp32"]),
        "pass": ("circle", ["w8a16"]),
        "unclear": ("diamond", ["w8a8"]),
        "fail": ("x", ["w4a8"]),
    }
    assert len({t.marker.color for t in found.values()}) == 4
    assert list(found["fail"].x) == [50.0] and list(found["fail"].y) == [0.9]


def test_intervals_run_from_low_to_high():
    error = by_name(charts.summary(table()))["fail"].error_y
    assert (list(error.array), list(error.arrayminus)) == ([0.02], [0.03])


def test_fp32_is_a_line_and_the_tolerance_a_band_below_it():
    band, line = charts.summary(table(), tolerance=0.01).layout.shapes
    assert (band.type, band.name) == ("rect", "tolerance 0.01")
    assert (band.y0, band.y1) == pytest.approx((0.96, 0.97))
    assert line.y0 == line.y1 == 0.97 and line.line.dash == "dot"
    assert len(charts.summary(table()).layout.shapes) == 1
    assert not charts.summary(table(ROWS[1:]), tolerance=0.01).layout.shapes


def test_where_less_is_better_the_band_is_above():
    rows = [("fp32", 1.0, 0.9, 1.1, 10, 0.0, "reference", 40), ("w8a8", 1.5, 1.4, 1.6, 10, 0.5, "fail", 10)]
    band = charts.summary(table(rows), tolerance=0.1).layout.shapes[0]
    assert (band.y0, band.y1) == pytest.approx((1.0, 1.1))


def test_runs_of_the_same_size_stand_apart_around_it_and_say_it():
    found = by_name(charts.summary(table()))
    a, b = found["pass"].x[0], found["unclear"].x[0]
    assert a < 100 < b and b - 100 == pytest.approx(100 - a) and b - a < 12
    assert found["pass"].textposition[0] != found["unclear"].textposition[0]
    assert all("100 kB" in found[n].hovertext[0] for n in ("pass", "unclear"))


@pytest.mark.parametrize(
    ("rows", "title"),
    [
        (ROWS, "Smallest within tolerance: w8a16, 100 kB, drop 0.002"),
        (ROWS[:1], "Only FP32 so far: run a step to compare"),
        (ROWS[:1] + ROWS[2:], "No run is clearly within tolerance: too close to call"),
        (ROWS[:1] + ROWS[3:], "No run is within tolerance"),
    ],
)
def test_the_title(rows, title):
    assert charts.summary(table(rows)).layout.title.text == title


def test_large_models_are_in_megabytes():
    figure = charts.summary(table([("fp32", 0.9, 0.8, 1.0, 5, 0.0, "reference", 44_000_000)]))
    assert figure.layout.xaxis.title.text == "model size (MB)" and figure.data[0].x[0] == 44.0


def test_without_n_and_interval_there_is_neither():
    rows = [("fp32", 0.9, math.nan, math.nan, pd.NA, 0.0, "reference", 4000)]
    trace = charts.summary(table(rows)).data[0]
    assert list(trace.error_y.array) == [0.0] and "n =" not in trace.hovertext[0] and "nan" not in trace.hovertext[0]


def test_a_run_without_a_metric_is_left_out():
    rows = [*ROWS, ("w2a8", math.nan, math.nan, math.nan, 500, math.nan, "fail", 30_000)]
    figure = charts.summary(table(rows))
    assert "w2a8" not in figure.to_json() and "NaN" not in figure.to_json()


def test_labels_avoid_each_other_the_line_and_the_edge():
    assert positions([5], [5], ["run"], (0, 10), (0, 10)) == ["middle right"]
    assert positions([9.9], [5], ["a long name"], (0, 10), (0, 10)) == ["middle left"]
    assert positions([5], [5], ["run"], (0, 10), (0, 10), line=5.0)[0] in ("top right", "bottom right")
    assert len(set(positions([5] * 4, [5] * 4, ["w8a8"] * 4, (0, 10), (0, 10)))) == 4


def test_against_latency():
    figure = charts.summary(measured(), tolerance=0.01, x="latency_ms")
    assert figure.layout.xaxis.title.text == "latency on ONNX Runtime's CPU (ms)"
    assert figure.layout.title.subtitle.text == "not timed: w8a16, w4a8"
    found = by_name(figure)
    assert set(found) == {"FP32", "unclear"} and list(found["unclear"].x) == [0.3]
    assert "0.3 ms" in found["unclear"].hovertext[0] and "w4a8" not in str(figure.data)
    fast = measured().assign(verdict=["reference", "pass", "pass", "fail"])
    slow = charts.summary(fast.assign(latency_ms=[0.1, 0.2, 0.3, 0.4]), x="latency_ms")
    assert slow.layout.title.text == "No run within tolerance is faster than FP32: w8a16, 0.2 ms"
    title = charts.summary(fast, x="latency_ms").layout.title.text
    assert title == "Fastest within tolerance: w8a8, 0.3 ms, drop 0.006"


def test_against_the_size_of_files():
    figure = charts.summary(measured(), x="file_bytes")
    assert figure.layout.xaxis.title.text == "file size (kB)"
    assert figure.layout.title.text == "Smallest file within tolerance: w8a16, 120 kB, drop 0.002"
    assert figure.layout.title.subtitle.text == "no file measured: w4a8"
    a, b = (by_name(figure)[n].x[0] for n in ("pass", "unclear"))
    assert b - a > 1, "sizes that are nearly the same stand apart"


def test_nothing_measured_and_no_such_axis():
    assert "flow.measure()" in charts.summary(table(), x="latency_ms").layout.annotations[0].text
    with pytest.raises(InputError, match="x='bops'. To fix: use one of 'size_bytes', 'file_bytes', 'latency_ms'"):
        charts.summary(table(), x="bops")
