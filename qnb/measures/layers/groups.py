"""A comparison in which some modules are one row each."""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd

from qnb.columns import LAYER, OP, OWN_SQNR_DB, SQNR_DB
from qnb.modules import module_groups


def fold(comparison: pd.DataFrame, folded: Collection[str]) -> pd.DataFrame:
    """The comparison with one row for each folded module: the lowest own SQNR in it, and the SQNR it leaves with.

    Args:
        comparison: `qnb.columns.COMPARISON`.
        folded: modules, as `module_groups` names them.
    """
    if not folded:
        return comparison
    frame = comparison.reset_index(drop=True)
    groups = module_groups(list(frame[LAYER]))
    keys = [g if g in folded else f"{i}:" for i, g in enumerate(groups)]
    rows = []
    for key in dict.fromkeys(keys):
        inside = frame[[k == key for k in keys]]
        row = inside.iloc[-1].copy()
        if key in folded:
            row[LAYER], row[OP] = key, f"{len(inside)} layers"
            row[OWN_SQNR_DB], row[SQNR_DB] = inside[OWN_SQNR_DB].min(), inside[SQNR_DB].iloc[-1]
        rows.append(row)
    return pd.DataFrame(rows, columns=frame.columns).reset_index(drop=True)
