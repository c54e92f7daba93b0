"""Shares of the output's error as stacked bars."""

import math

import numpy as np
import pandas as pd
import pytest

from qnb import charts
from qnb.columns import ATTRIBUTION
from qnb.errors import InputError
from tests.charts.svg.test_picture import parsed


def frame(count=6, name="blocks.{}.conv"):
    rows = [("x", "input", math.inf, 48.0, 0.0, 0.05, 0.0, 0.05)]
    for i in range(count):
        shares = 0.6 / count, 0.3 / count * (-1) ** i, 0.01 / count
        rows.append((name.format(i), "conv2d", 40.0, 30.0, *shares, sum(shares)))
    return pd.DataFrame(rows, columns=list(ATTRIBUTION))


@pytest.mark.parametrize("count", [1, 12, 60, 1000])
def test_every_share_is_drawn_in_graph_order(count):
    table = frame(count)
    figure = charts.attribution(table)
    assert [t.name for t in figure.data] == ["weights", "activations", "biases"]
    assert list(figure.data[0].x) == table.layer.tolist()
    for trace, kind in zip(figure.data, ("weight", "activation", "bias"), strict=True):
        np.testing.assert_allclose(np.array(trace.y, dtype=float), table[f"{kind}_share"], rtol=1e-3)
    assert len({t.marker.color for t in figure.data}) == 3
    parsed(figure)


def test_the_title_names_the_largest_share_and_the_hover_says_all():
    figure = charts.attribution(frame(3), title="w4a8 <b>")
    assert figure.layout.title.text == "w4a8 &lt;b&gt;: most of the error: blocks.0.conv, 30 %"
    assert figure.data[0].customdata[0] == ["input, 5 % in all, inherited lossless, added 48.0 dB", 0.0]
    assert figure.data[1].customdata[2] == pytest.approx(-0.1)


def test_shares_stand_on_each_other_and_negative_ones_hang_below():
    weights, activations, biases = charts.attribution(frame(2)).data
    np.testing.assert_allclose(np.array(activations.base, dtype=float), [0, 0.3, 0])
    np.testing.assert_allclose(np.array(biases.base, dtype=float), [0.05, 0.45, 0.3], rtol=1e-3)
    assert set(np.array(weights.base, dtype=float)) == {0.0}


def test_an_input_may_have_a_layers_name():
    table = frame(2)
    table.loc[0, "layer"] = table.layer[1]
    assert charts.attribution(table).data[0].x[0] == "blocks.0.conv (input)"


def test_kinds_that_add_nothing_are_left_out_of_the_legend():
    assert [t.name for t in charts.attribution(frame(3).assign(bias_share=0.0)).data] == ["weights", "activations"]


def test_what_cannot_be_drawn_is_said():
    with pytest.raises(InputError, match="twice"):
        charts.attribution(pd.concat([frame(2), frame(2)], ignore_index=True))
    with pytest.raises(InputError, match="output_share"):
        charts.attribution(frame(2).drop(columns="output_share"))
    assert "call qnb.attribute" in charts.attribution(frame(2).iloc[:0]).layout.annotations[0].text
    zero = frame(2).assign(weight_share=0.0, activation_share=0.0, bias_share=0.0, output_share=0.0)
    assert charts.attribution(zero).layout.title.text == "Most of the error: none"


def test_a_thousand_layers_are_small():
    assert len(charts.attribution(frame(1000)).to_json()) < 200_000
