"""What layers won and lost from one run to another: two comparisons with FP32 side by side."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

import numpy as np
import pandas as pd

from qnb.columns import (
    GAINS,
    LAYER,
    LOST,
    MODULE,
    ONLY_A,
    ONLY_B,
    OP,
    OWN_SQNR_DB,
    SAME,
    SAME_DB,
    SQNR_DB,
    UNKNOWN,
    WON,
)


def gains(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """SQNR of the layers of two runs and how much more the second one has, columns `qnb.columns.GAINS`.

    ``change`` goes by the layer's own SQNR, and by the accumulated one where own ones were not measured: what a layer
    before it brings is not the layer's. Differences below `qnb.columns.SAME_DB` are none.

    Args:
        a, b: what `qnb.compare_layers` returns, of each run. Layers that only one has keep their place in its order.

    Returns:
        gains in dB; plus or minus infinity where only one run is lossless or overflows, 0 where both are or do.

    >>> frames = [pd.DataFrame({"layer": ["conv", "fc"], "own_sqnr_db": db, "sqnr_db": db}) for db in ([40., 20.],
    ...                                                                                               [40.1, 31.])]
    >>> gains(*frames)[["layer", "change", "own_gain_db"]].round(1).to_dict("list")
    {'layer': ['conv', 'fc'], 'change': ['same', 'won'], 'own_gain_db': [0.1, 11.0]}
    """
    order = merged(list(a[LAYER]), list(b[LAYER]))
    left, right = (frame.set_index(LAYER).reindex(order) for frame in (a, b))
    found = pd.DataFrame({LAYER: order})
    for column in (MODULE, OP):
        known = [frame[column] if column in frame else pd.Series("", order, dtype=object) for frame in (left, right)]
        found[column] = known[1].fillna(known[0]).fillna("").to_numpy()
    for column, names in ((OWN_SQNR_DB, ("own_a_db", "own_b_db", "own_gain_db")), (SQNR_DB, GAINS[-3:])):
        one, other = (frame[column].to_numpy(dtype=float) for frame in (left, right))
        for name, values in zip(names, (one, other, gain(one, other)), strict=True):
            found[name] = values
    by = found["gain_db"] if found["own_gain_db"].isna().all() else found["own_gain_db"]
    in_a, in_b = (np.array([name in known for name in order], dtype=bool) for known in map(set, (a[LAYER], b[LAYER])))
    found["change"] = _changes(by.to_numpy(), in_a, in_b)
    return found[list(GAINS)]


def gain(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``b - a`` in dB; 0 where both are the same infinity.

    >>> gain(np.array([1.0, np.inf, -np.inf]), np.array([3.0, np.inf, 5.0])).tolist()
    [2.0, 0.0, inf]
    """
    with np.errstate(invalid="ignore"):
        return np.where(a == b, 0.0, b - a)


def merged(a: Sequence[str], b: Sequence[str]) -> list[str]:
    """Names of both in one order; those that only one has stand where they stand there.

    >>> merged(["stem", "act", "fc"], ["stem", "pool", "fc", "softmax"])
    ['stem', 'act', 'pool', 'fc', 'softmax']
    """
    if a == b:
        return list(a)
    found: list[str] = []
    for _, start, end, since, to in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        found += [*a[start:end], *b[since:to]]
    return list(dict.fromkeys(found))


def _changes(gain_db: np.ndarray, in_a: np.ndarray, in_b: np.ndarray) -> np.ndarray:
    rules = {
        ONLY_A: ~in_b,
        ONLY_B: ~in_a,
        UNKNOWN: np.isnan(gain_db),
        WON: gain_db >= SAME_DB,
        LOST: gain_db <= -SAME_DB,
    }
    return np.select(list(rules.values()), list(rules), SAME)
