"""Modules folded into one row."""

import pandas as pd

from qnb import columns
from qnb.measures.layers.groups import fold


def comparison():
    layers = ["stem.conv", "block.0.a", "block.0.b", "block.1.a", "head"]
    frame = pd.DataFrame({c: [1.0] * 5 for c in columns.COMPARISON})
    return frame.assign(
        layer=layers, op="conv2d", sqnr_db=[50.0, 40.0, 30.0, 20.0, 10.0], own_sqnr_db=[50.0, 45.0, 35.0, 60.0, 40.0]
    )


def test_a_module_leaves_with_its_last_error_and_its_weakest_layer():
    folded = fold(comparison(), {"block.0"})
    assert list(folded.layer) == ["stem.conv", "block.0", "block.1.a", "head"]
    row = folded.set_index("layer").loc["block.0"]
    assert (row.sqnr_db, row.own_sqnr_db, row.op) == (30.0, 35.0, "2 layers")
    assert tuple(folded.columns) == columns.COMPARISON


def test_nothing_folded_is_the_same():
    frame = comparison()
    assert fold(frame, ()) is frame and list(fold(frame, {"unknown"}).layer) == list(frame.layer)
