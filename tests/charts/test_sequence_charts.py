"""Charts of sequences: errors by token position and by head, KL by token position."""

import math

import numpy as np
import pandas as pd
import pytest

from qnb import charts
from qnb.charts.position_sqnr import CLASSES, COLUMNS, ROWS
from qnb.errors import InputError
from tests.charts.svg.test_picture import parsed, texts


def positions(layers=4, tokens=6, name="blocks.{}.fc", low=(2, 3)):
    """40 dB everywhere, 5 dB at one layer and position."""
    rows = [
        (name.format(i), "linear", p, p, 5.0 if (i, p) == low else 45.0, 15.0 if (i, p) == low else 60.0, 0.1, 8)
        for i in range(layers)
        for p in range(tokens)
    ]
    names = ["layer", "op", "position", "last_position", "sqnr_db", "own_sqnr_db", "mse", "numel"]
    return pd.DataFrame(rows, columns=names)


def heads(layers=3, count=4):
    frame = positions(layers, count, "blocks.{}.softmax").rename(columns={"position": "head"})
    return frame.drop(columns="last_position")


def predictions(tokens=5, kl=0.01):
    at = np.arange(tokens)
    grown = kl * (1 + at)
    return pd.DataFrame(
        {
            "position": at,
            "last_position": at,
            "kl_nats": grown,
            "kl_p95_nats": 2 * grown,
            "top1_agreement": 1 - 0.01 * at,
            "n": 16,
        }
    )


def covered(figure) -> dict:
    """(layer, position) -> what the legend says, of all cells."""
    return {
        (x, p): trace.name
        for trace in figure.data
        for x, base, height in zip(trace.x, trace.base, trace.y, strict=True)
        for p in range(int(base + 0.5), int(base + 0.5 + height))
    }


def test_every_layer_and_position_has_its_cell_once():
    frame = positions()
    found = covered(charts.position_sqnr(frame))
    assert set(found) == set(zip(frame.layer, frame.position, strict=True))
    assert found.pop(("blocks.2.fc", 3)) == "below 10 dB" and set(found.values()) == {"40 to 50 dB"}
    assert covered(charts.position_sqnr(frame, own=True))["blocks.2.fc", 3] == "10 to 20 dB"


def test_neighbours_of_one_class_are_one_bar():
    figure = charts.position_sqnr(positions())
    assert sum(len(t.x) for t in figure.data) == 4 + 2


@pytest.mark.parametrize("db", [-math.inf, -3.0, 9.999, 10.0, 35.0, 50.0, math.inf])
def test_classes(db):
    frame = positions(2, 2).assign(sqnr_db=db)
    least = max(c[0] for c in CLASSES if db >= c[0])
    assert {t.name for t in charts.position_sqnr(frame).data} == {said for c, said, _ in CLASSES if c == least}


def test_the_title_names_the_weakest():
    assert charts.position_sqnr(positions()).layout.title.text == "Weakest at token position 3: blocks.2.fc, 5.0 dB"
    named = charts.position_sqnr(positions(), title="w4a8", own=True).layout.title
    assert named.text == "w4a8: weakest at token position 3: blocks.2.fc, 15.0 dB" and "own SQNR" in named.subtitle.text
    lossless = positions().assign(sqnr_db=math.inf)
    assert charts.position_sqnr(lossless).layout.title.text == "Lossless at every token position"


@pytest.mark.parametrize(("layers", "tokens"), [(2, 1), (60, 16), (1000, 40), (300, 513)])
def test_any_number_of_layers_and_positions(layers, tokens):
    low = (layers - 1, tokens - 1)
    figure = charts.position_sqnr(positions(layers, tokens, "encoder.layer.{}.attention.output.dense", low))
    places = {x for t in figure.data for x in t.x}
    assert len(places) <= COLUMNS and len(figure.to_json()) < 60_000
    worst = next(t for t in figure.data if t.name == "below 10 dB")
    assert len(worst.x) == 1 and worst.base[0] + worst.y[0] == tokens - 0.5 and worst.y[0] <= -(-tokens // ROWS)
    joined = layers > COLUMNS or tokens > ROWS
    assert bool(figure.layout.title.subtitle.text) == joined
    parsed(figure)


def test_random_errors_stay_small():
    frame = positions(1000, 64)
    frame["sqnr_db"] = np.random.default_rng(0).uniform(0, 60, len(frame))
    assert len(charts.position_sqnr(frame).to_json()) < 250_000


def test_one_layer_is_lines():
    figure = charts.position_sqnr(positions(1, 9, low=(0, 4)))
    assert [t.name for t in figure.data] == ["accumulated", "own"] and figure.data[0].y[4] == 5.0
    lossless = positions(1).assign(sqnr_db=math.inf, own_sqnr_db=math.inf)
    assert "loses nothing" in charts.position_sqnr(lossless).layout.annotations[0].text


def test_the_weakest_heads_come_first_with_their_layers_median():
    figure = charts.head_sqnr(heads(), max_rows=5)
    bars, medians = figure.data
    assert bars.x[0] == 15.0 and "blocks.2.softmax, head 3" in bars.customdata[0] and list(medians.x) == [60.0] * 5
    assert figure.layout.title.text == "Weakest head: 3 of blocks.2.softmax, 15.0 dB on its own"
    assert "5 of 12 heads" in figure.layout.title.subtitle.text
    assert "blocks.2.softmax, head 3" in texts(parsed(figure))
    assert charts.head_sqnr(heads(), own=False).data[0].x[0] == 5.0


def test_heads_that_overflow_or_are_lossless():
    frame = heads().assign(own_sqnr_db=[-math.inf, *[math.inf] * 10, 30.0])
    figure = charts.head_sqnr(frame)
    assert list(figure.data[0].x) == [0.0, 30.0]
    assert "lossless" in charts.head_sqnr(heads().assign(own_sqnr_db=math.inf)).layout.annotations[0].text


def test_kl_by_position_and_agreement_at_the_right():
    figure = charts.position_kl(predictions(), title="w8a8")
    p95, mean, agreement = figure.data
    assert list(mean.y) == pytest.approx([0.01, 0.02, 0.03, 0.04, 0.05]) and p95.y[0] == pytest.approx(0.02)
    assert agreement.yaxis == "y2" and list(agreement.y) == pytest.approx([100, 99, 98, 97, 96])
    assert figure.layout.title.text == "w8a8: KL from FP32 0.03 nats, 98 % of predictions agree"
    assert figure.layout.yaxis.type != "log"
    wide = predictions(200, 1e-9).assign(kl_nats=np.logspace(-9, 2, 200))
    assert charts.position_kl(wide).layout.yaxis.type == "log" and charts.position_kl(wide).layout.yaxis2.type is None
    assert "agree (%)" in texts(parsed(figure))


def test_kl_of_one_prediction_and_of_none_that_moved():
    assert "one prediction for each sample" in charts.position_kl(predictions(1)).layout.annotations[0].text
    same = predictions().assign(kl_nats=0.0, kl_p95_nats=0.0, top1_agreement=1.0)
    assert "same at every token position" in charts.position_kl(same).layout.annotations[0].text


CASES = {
    "position_sqnr": (charts.position_sqnr, positions),
    "head_sqnr": (charts.head_sqnr, heads),
    "position_kl": (charts.position_kl, predictions),
}


@pytest.mark.parametrize("name", CASES)
def test_frames_that_are_empty_or_of_another_kind(name):
    chart, frame = CASES[name]
    assert len(chart(frame().head(0)).layout.annotations) == 1
    with pytest.raises(InputError, match=name):
        chart(frame().drop(columns=frame().columns[0]))
    if name != "position_kl":
        assert "<img" not in chart(frame().assign(layer="<img src=x>").head(1)).to_json()


def test_wrong_calls():
    with pytest.raises(InputError, match="twice"):
        charts.position_sqnr(pd.concat([positions(), positions()]))
    with pytest.raises(InputError, match="max_rows"):
        charts.head_sqnr(heads(), max_rows=0)
