"""A drawn sample of the pairs of ops: each agrees with the simulation, or is known not to."""

import random

import pandas as pd
import pytest

from tools import pairs
from tools.pair_ops import JOINS

DRAWN = 44


def drawn() -> list[pairs.Case]:
    """Some of each kind, and those that were wrong before: fixed outputs, ReLUs and hardswish beside larger values."""
    draw = random.Random(13)
    kinds: dict[str, list[pairs.Case]] = {}
    for case in pairs.cases():
        kinds.setdefault(case.kind, []).append(case)
    plain = [case for found in kinds.values() for case in draw.sample(found, DRAWN // len(kinds))]
    joined = [pairs.Case("concat", first, "conv") for first in ("softmax", "relu", "hardswish")]
    moved = [
        pairs.Case(kind, "tanh", "conv", f"pixel {move}")
        for kind, move in (("concat", "shuffle"), ("behind", "unshuffle"))
    ]
    before = [
        *joined,
        *moved,
        pairs.Case("concat", "relu", "hardsigmoid"),
        pairs.Case("pair", "resize", "batch norm"),
        pairs.Case("pair", "mean", "pad with a number"),
    ]
    return [*plain, *before, *(pairs.Case("pair", "conv", second) for second in ("prelu", "leaky relu", "group norm"))]


@pytest.mark.slow
def test_a_drawn_sample_agrees(htp):
    simple = [case for case in drawn() if len(case.variants) == 2]
    rows = [row for group in pairs.graphs(simple) for row in pairs.measure(group)]
    table = pd.DataFrame(rows)
    assert len(table) == 2 * len(simple) and set(table.kind) == {"pair", "both", "behind", *JOINS}
    off = table[table.state.ne("agree") & table.named.eq("")]
    assert off.empty, off.to_string()


def test_the_document_counts_what_is_wrong():
    rows = [
        {
            "kind": "pair",
            "first": first,
            "second": "conv",
            "move": "nothing",
            "precision": "w16a16",
            "start": "around",
            "htp_db": db,
            "htp_where": "x",
            "ort_db": 90.0,
            "note": "",
            "state": state,
            "named": named,
        }
        for first, db, state, named in (
            ("add", 80.0, "agree", ""),
            ("softplus", 38.0, "wrong", "computes it coarsely"),
            ("mul", 3.0, "wrong", ""),
        )
    ]
    text = pairs.markdown(pd.DataFrame(rows), 60)
    assert "| pair | w16a16 | 1 | 1 | 1 |" in text  # agree, refused by name (softplus), wrong
    assert "| pair | mul | conv |" in text.split("## What does not")[1].split("##")[0]


def test_every_case_is_a_module_that_runs():
    """The ops keep the shape, so that any can follow any."""
    import torch

    from tools import pair_ops

    x = torch.randn(pair_ops.SHAPE)
    for name in (*pair_ops.OPS, *pair_ops.MOVES):
        assert pair_ops.op(name).eval()(x, x).shape == torch.Size(pair_ops.SHAPE), name
