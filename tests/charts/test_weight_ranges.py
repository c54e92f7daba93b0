import numpy as np
import pandas as pd
import pytest

from qnb import charts
from qnb.errors import InputError


def channels(low, high, scale=np.nan, layer="conv1") -> pd.DataFrame:
    return pd.DataFrame({"layer": layer, "channel": range(len(low)), "min": low, "max": high, "scale": scale})


def test_a_bar_from_the_smallest_to_the_largest_weight():
    bar = charts.weight_ranges(channels([-1.0, -0.5], [0.5, 0.25], [0.01, 0.005])).data[0]
    assert list(bar.base) == [-1.0, -0.5] and list(bar.y) == [1.5, 0.75]
    assert (bar.x, bar.x0, bar.dx) == (None, 0, 1)
    assert list(bar.customdata) == [0.01, 0.005] and "scale %{customdata" in bar.hovertemplate


def test_without_a_scale_there_is_none_in_the_hover():
    bar = charts.weight_ranges(channels([-1.0], [1.0])).data[0]
    assert bar.customdata is None and "scale" not in bar.hovertemplate


@pytest.mark.parametrize(("low", "high"), [([-1, -1, -1], [1, 8, 1]), ([-1, -8, -1], [1, 1, 1])])
def test_a_channel_that_stands_out_is_named(low, high):
    figure = charts.weight_ranges(channels(low, high))
    assert figure.layout.title.text == "conv1: channel 1 reaches 8 times as far as the median"
    (said,) = figure.layout.annotations
    assert (said.text, said.x, abs(said.y)) == ("channel 1", 1, 8) and (said.ay < 0) == (said.y > 0)


def test_where_none_stands_out_the_title_says_so():
    assert charts.weight_ranges(channels([-1, -1], [1, 1.5])).layout.title.text == (
        "conv1: weights within ±1.5, no channel stands out"
    )
    assert charts.weight_ranges(channels([0, 0], [0, 0])).layout.title.text == "conv1: all weights are zero"


def test_of_several_layers_one_is_chosen():
    frame = pd.concat([channels([-1], [1]), channels([-2, -2], [3, 3], layer="fc")])
    assert list(charts.weight_ranges(frame, layer="fc").data[0].base) == [-2.0, -2.0]
    with pytest.raises(InputError, match="weights of 2 layers, not 'conv2'. To fix: pass layer='conv1'"):
        charts.weight_ranges(frame, layer="conv2")
    assert charts.weight_ranges(channels([-1], [1]), layer="w8a8, conv1").layout.title.text.startswith("w8a8, conv1: ")


def test_channels_keep_their_numbers():
    frame = channels([-1, -1, -1], [1, 1, 1])
    frame["channel"] = [4, 8, 9]
    assert list(charts.weight_ranges(frame).data[0].x) == [4, 8, 9]


def test_neighbours_of_many_channels_share_a_bar():
    low, high = -np.ones(3000), np.ones(3000)
    high[1501] = 9.0
    low[17] = -0.1
    figure = charts.weight_ranges(channels(low, high, 0.5))
    bar = figure.data[0]
    assert len(bar.y) == 1000 and bar.dx == 3 and "and the next 2" in bar.hovertemplate
    assert bar.y[500] == 10.0 and set(bar.base) == {-1.0} and figure.layout.bargap == 0
    assert figure.layout.title.text.startswith("conv1: channel 1501 reaches 9 times")
    assert len(figure.to_json()) < 60_000
