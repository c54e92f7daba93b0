"""The history of a method's loss."""

import numpy as np
import pandas as pd
import pytest

from qnb import charts
from qnb.charts.svg.picture import svg
from qnb.errors import InputError


def steps(count=50) -> pd.DataFrame:
    return pd.DataFrame({"step": np.arange(count), "loss": np.exp(-0.1 * np.arange(count))})


def test_one_line_falls():
    figure = charts.history(steps(), name="train")
    assert figure.layout.title.text == "train: loss falls from 1 to 0.00745" and figure.layout.yaxis.type == "log"
    assert len(figure.data) == 1 and "<svg" in svg(figure)


def test_layers_stand_one_after_the_other():
    frame = pd.concat([steps(20).assign(layer=f"block.{i}.conv") for i in range(12)], ignore_index=True)
    figure = charts.history(frame, name="adaround")
    assert len(figure.data) == 12 and figure.data[1].x[0] == 20 and figure.layout.yaxis.type is None
    assert figure.layout.title.text == "adaround: loss ends at 0.15 (median of 12 layers)"
    assert figure.data[0].line.color != figure.data[1].line.color


def test_a_long_history_is_thinned_and_keeps_its_end():
    figure = charts.history(steps(50_000).assign(loss=np.linspace(1, 0.5, 50_000)))
    assert len(figure.data[0].x) < 700 and figure.data[0].y[-1] == 0.5


def test_nothing_to_show_is_said():
    assert "No history" in charts.history(pd.DataFrame()).layout.annotations[0].text
    assert "finite" in charts.history(pd.DataFrame({"loss": [np.nan]})).layout.annotations[0].text
    with pytest.raises(InputError, match="loss"):
        charts.history(pd.DataFrame({"step": [1]}))


def test_names_are_plain_text():
    frame = pd.concat([steps(3).assign(layer=name) for name in ("<img src=x>", "b")], ignore_index=True)
    assert "<img" not in charts.history(frame, name="<b>").to_json().replace("\\u003c", "<")
