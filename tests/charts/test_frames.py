import json

import numpy as np
import pandas as pd
import pytest

from qnb import charts
from qnb.charts.frames import evenly, numbers, small
from qnb.columns import (
    ATTRIBUTION,
    CALIBRATION_CURVE,
    CALIBRATION_RANGES,
    DISTRIBUTION,
    ERRORS,
    FRONT,
    GAINS,
    HEADS,
    POSITIONS,
    PREDICTIONS,
)
from qnb.errors import InputError

CHARTS = {
    "bits": ("layer", "weight_bits", "activation_bits"),
    "pareto": FRONT,
    "fidelity": ("layer", "op", "sqnr_db"),
    "layer_sqnr": ("layer", "op", "sqnr_db", "own_sqnr_db"),
    "layer_histogram": ("bin_left", "bin_right", "fp32", "quantsim"),
    "layer_scatter": ("fp32", "quantsim"),
    "sensitivity": ("layer", "kind", "score", "low", "high"),
    "weight_ranges": ("layer", "channel", "min", "max", "scale"),
    "summary": ("run", "metric", "low", "high", "n", "drop", "verdict", "size_bytes"),
    "attribution": ATTRIBUTION,
    "calibration_curve": CALIBRATION_CURVE,
    "calibration_range": CALIBRATION_RANGES,
    "diff": GAINS,
    "distribution": DISTRIBUTION,
    "error_histogram": ERRORS,
    "head_sqnr": HEADS,
    "position_kl": PREDICTIONS,
    "position_sqnr": POSITIONS,
}


OWN = {"history", "sample_grid"}
"""Take what each method has, and pictures; their own tests say what."""


def test_every_chart_is_here():
    assert set(CHARTS) | OWN == set(charts.__all__)


@pytest.mark.parametrize("name", CHARTS)
def test_missing_columns_are_named(name):
    draw, needed = getattr(charts, name), CHARTS[name]
    for column in needed:
        with pytest.raises(InputError, match=rf"charts\.{name}: .*without column '{column}'\. To fix: pass "):
            draw(pd.DataFrame({c: [] for c in needed if c != column}))
    with pytest.raises(InputError, match=f"without columns '{needed[0]}', '{needed[1]}'"):
        draw(pd.DataFrame())


@pytest.mark.parametrize("name", CHARTS)
def test_what_is_no_frame_is_refused(name):
    with pytest.raises(InputError, match=r"a list where a DataFrame belongs"):
        getattr(charts, name)([1, 2])


@pytest.mark.parametrize("name", CHARTS)
def test_an_empty_frame_shows_one_sentence(name):
    figure = getattr(charts, name)(pd.DataFrame({c: [] for c in CHARTS[name]}))
    assert not figure.data
    (said,) = figure.layout.annotations
    assert said.text.startswith("No ") and (said.xref, said.x) == ("paper", 0.5)
    assert json.loads(figure.to_json())["layout"]["xaxis"]["visible"] is False


def test_numbers_get_short():
    assert small(np.float32([0.1, 1e-7, 123456])) == [0.1, 1e-7, 123460.0]
    assert small([np.nan, np.inf, -np.inf]) == [None] * 3
    assert numbers(pd.array([1, pd.NA], dtype="Int64")).tolist()[0] == 1.0
    assert np.isnan(numbers(pd.array([1, pd.NA], dtype="Int64"))[1])


def test_even_spacing_is_seen():
    assert evenly(np.linspace(-3, 5, 101)) and not evenly([0, 1, 3]) and not evenly([1.0])
