"""Bits of layers as a strip."""

import numpy as np
import pandas as pd
import pytest

from qnb import charts
from qnb.charts.svg.picture import svg
from qnb.errors import InputError
from tests.charts.svg.test_picture import parsed, paths, texts


def frame(count=6, name="blocks.{}.conv"):
    widths = [16, 8, 4, None]
    return pd.DataFrame(
        {
            "layer": [name.format(i) for i in range(count)],
            "weight_bits": pd.array([widths[i % 4] for i in range(count)], "Int64"),
            "activation_bits": pd.array([16 if i % 2 else 8 for i in range(count)], "Int64"),
        }
    )


def cells(figure) -> set:
    """(layer, what, bits) of everything drawn."""
    return {(x, what, int(t.name.split()[0])) for t in figure.data for x, what in zip(t.x, t.customdata, strict=True)}


def test_a_cell_for_each_layer_that_has_weights_and_for_each_output():
    found = cells(charts.bits(frame(4)))
    names = [f"blocks.{i}.conv" for i in range(4)]
    assert found == {
        *zip(names[:3], ["weights"] * 3, [16, 8, 4], strict=True),
        *zip(names, ["outputs"] * 4, [8, 16, 8, 16], strict=True),
    }


def test_one_colour_and_one_entry_of_the_legend_for_each_width_the_most_first():
    figure = charts.bits(frame())
    assert [t.name for t in figure.data] == ["16 bits", "8 bits", "4 bits"]
    assert len({t.marker.color for t in figure.data}) == 3
    every = frame(16).assign(weight_bits=range(2, 18))
    assert len({t.marker.color for t in charts.bits(every).data}) == 7


def test_weights_stand_above_outputs():
    for trace in charts.bits(frame()).data:
        rows = np.array(trace.customdata)
        base = np.array(trace.base)
        assert (base[rows == "weights"] >= 1.2).all() and (base[rows == "outputs"] == 0).all()


def test_layers_stay_in_graph_order():
    figure = charts.bits(frame(9))
    assert list(figure.layout.xaxis.categoryarray) == frame(9).layer.tolist()
    assert figure.layout.title.text == "Bits (layers): weights 16 (3), 8 (2), 4 (2); outputs 16 (4), 8 (5)"
    assert charts.bits(frame(), title="w4a8 <b>").layout.title.text == "w4a8 &lt;b&gt;"


@pytest.mark.parametrize("count", [1, 12, 60, 500])
def test_as_a_picture(count):
    figure = charts.bits(frame(count))
    root = parsed(figure)
    drawn = sum(d.count("M") for colour in {t.marker.color for t in figure.data} for d in paths(root, fill=colour))
    legend = len(figure.data) if len(figure.data) > 1 else 0
    assert drawn - legend == len(cells(figure))
    assert {"weights", "outputs"} <= set(texts(root))
    assert len(svg(figure)) < 60_000


def test_names_are_text():
    assert "<img" not in charts.bits(frame(3, "<img src=x>{}")).to_json().replace("&lt;img", "")


def test_what_is_refused():
    with pytest.raises(InputError, match="without column 'weight_bits'.*sim.layers"):
        charts.bits(frame().drop(columns="weight_bits"))
    with pytest.raises(InputError, match="layer 'blocks.0.conv' twice.*of several points, one"):
        charts.bits(pd.concat([frame(), frame()]))
    assert "flow.run" in charts.bits(frame(0)).layout.annotations[0].text
