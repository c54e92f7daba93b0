"""Simulation against runtime: what is lossless, several runtimes, many layers."""

import math

import numpy as np
import pandas as pd
import pytest

from qnb import charts
from qnb.charts.svg.picture import svg

CPU, HTP = "ONNX Runtime, CPU", "HTP v75 (sm8650, emulated)"


def compared(count=6, equal=()) -> pd.DataFrame:
    db = 35 + 6 * np.sin(np.arange(count))
    db[list(equal)] = math.inf
    rows = [(f"blocks.{i}.conv", "conv2d", v) for i, v in enumerate(db)] + [("logits", "output", 3.0)]
    return pd.DataFrame(rows, columns=["layer", "op", "sqnr_db"])


def test_outputs_are_no_layers():
    figure = charts.fidelity(compared())
    assert list(figure.data[0].x) == [f"blocks.{i}.conv" for i in range(6)]
    assert figure.layout.title.text.startswith("Weakest layer blocks.5.conv, ")
    assert figure.layout.title.subtitle.text == "simulation vs runtime"


def test_two_runtimes_stand_side_by_side_and_what_is_equal_is_said():
    figure = charts.fidelity({CPU: compared(equal=range(6)), HTP: compared(equal=(0, 1))})
    assert [t.name for t in figure.data if t.showlegend is not False] == [CPU, "lossless", HTP]
    assert figure.layout.title.text.startswith(f"{HTP}: weakest layer blocks.5.conv")
    assert "bit for bit" not in figure.to_json() and "Infinity" not in figure.to_json()


def test_all_equal():
    figure = charts.fidelity({CPU: compared(equal=range(6))})
    assert figure.layout.title.text == f"{CPU}: lossless in every layer"


def test_a_threshold_counts_the_layers_below():
    assert "layers below 35 dB" in charts.fidelity(compared(), threshold_db=35).layout.title.subtitle.text


def test_the_layer_where_it_begins_is_marked_and_said():
    figure = charts.fidelity({CPU: compared(), HTP: compared()}, begins={HTP: "blocks.2.conv"})
    assert figure.layout.title.text == f"{HTP} disagrees from layer blocks.2.conv on: 40.5 dB"
    (line,) = figure.layout.shapes
    assert (line.x0, line.x1) == (2, 2) and f"{HTP} disagrees" in svg(figure)
    assert not charts.fidelity(compared(), begins={"": "no such layer"}).layout.shapes
    assert charts.fidelity(compared(), begins={"": "blocks.5.conv"}).layout.title.text.startswith("Disagrees from ")


def test_without_layers_it_says_what_to_do():
    for nothing in ({}, {CPU: compared().iloc[:0]}):
        assert "flow.deploy" in charts.fidelity(nothing).layout.annotations[0].text


@pytest.mark.parametrize("count", [6, 1000])
def test_the_picture(count):
    text = svg(charts.fidelity({CPU: compared(count, range(0, count, 3)), HTP: compared(count)}))
    assert "lossless" in text and HTP in text and len(text) < 200_000
