"""Each method says when "auto" tries it."""

import pytest
import torch
from torch import nn

import qnb
from qnb.methods import METHODS, auto_order
from qnb.methods.auto import Auto
from qnb.methods.method import Method

CHEAP = ["choose_ranges", "correct_bias"]
COSTLY = ["mixed_precision", "train"]


def sim(precision="w8a8", normed=False):
    model = nn.Sequential(nn.Linear(4, 4), *([nn.LayerNorm(4)] if normed else []), nn.Linear(4, 2)).eval()
    return qnb.QuantSim(model, torch.randn(8, 4), precision)


@pytest.mark.parametrize(
    ("made", "order"),
    [
        (sim(), ["equalize", *CHEAP, "seq_mse", "correct_bias", "adaround", "correct_bias", *COSTLY]),
        (
            sim(normed=True),
            ["equalize", "smooth", *CHEAP, "seq_mse", "correct_bias", "adaround", "correct_bias", *COSTLY],
        ),
        (sim("fp16"), ["equalize", "correct_bias", *COSTLY]),
    ],
    ids=["integers", "with norms", "floats"],
)
def test_the_order(made, order):
    assert auto_order(made) == order
    assert auto_order(made, without=["train"]) == order[:-1]


def test_what_it_has_had_is_left_out():
    made = sim()
    made.applied_methods = ("correct_bias", "seq_mse")
    assert auto_order(made) == ["equalize", "choose_ranges", "adaround", *COSTLY]


@pytest.mark.parametrize(("stage", "times"), [("correct", 4), ("rescale", 1)])
def test_a_new_one_takes_its_place(monkeypatch, stage, times):
    def apply(sim, *, progress=None):
        """New."""

    monkeypatch.setitem(METHODS.rows, "new", Method("new", "New", stage, apply, auto=Auto(35)))
    order = auto_order(sim())
    assert order.count("new") == times and order.index("new") == order.index("correct_bias") + 1
    monkeypatch.setitem(METHODS.rows, "new", Method("new", "New", stage, apply, auto=Auto(35, lambda sim: False)))
    assert "new" not in auto_order(sim())
