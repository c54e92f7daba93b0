"""Encodings that differ between two simulations, per tensor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from qnb.columns import DIFF_ENCODINGS, KIND, LAYER, ONLY_A, ONLY_B

ROUNDING = 1e-6
"""Numbers of float32 that differ by no more than this share are the same."""


def changed_encodings(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """The encodings that are not the same in both, columns `qnb.columns.DIFF_ENCODINGS`, in the order of ``a``.

    ``change`` names what differs: ``format`` (integer or floating point), ``bits``, ``symmetric``, ``granularity``
    and ``range``. Where the bits differ, a range that moved by less than a step of the coarser grid is the same: its
    ends have to lie on other steps.

    Args:
        a, b: what `QuantSim.encodings` returns.

    >>> columns = ["tensor", "layer", "kind", "bits", "symmetric", "min", "max", "scale", "zero_point"]
    >>> rows = [("fc", "fc", "activation", 8, False, 0.0, high, high / 255, 0) for high in (4.0, 3.0)]
    >>> found = changed_encodings(*(pd.DataFrame([row], columns=columns) for row in rows))
    >>> found[["tensor", "change", "range_change_percent"]].values.tolist()
    [['fc', 'range', -25.0]]
    """
    left, right = _by_tensor(a), _by_tensor(b)
    rows = []
    for key in dict.fromkeys([*left, *right]):
        one, other = left.get(key), right.get(key)
        change = _change(one, other)
        if change:
            rows.append((*key[:3], change, *_figures(one, other)))
    frame = pd.DataFrame(rows, columns=list(DIFF_ENCODINGS))
    whole = ("bits_a", "bits_b", "channels_a", "channels_b")
    return frame.astype(dict.fromkeys(whole, "Int64") | dict.fromkeys(("symmetric_a", "symmetric_b"), object))


def _by_tensor(frame: pd.DataFrame) -> dict[tuple, dict[str, Any]]:
    """Rows by tensor, layer and kind; a tied tensor that stands there several times is told apart by its number."""
    number = frame.groupby(["tensor", LAYER, KIND]).cumcount()
    keys = zip(frame["tensor"], frame[LAYER], frame[KIND], number, strict=True)
    return dict(zip(keys, map(_read, frame.to_dict("records")), strict=True))


def _read(row: dict[str, Any]) -> dict[str, Any]:
    """One encoding with its numbers as arrays ``[channels or blocks]``."""
    arrays = {name: _flat(row[name]) for name in ("min", "max", "scale", "zero_point")}
    symmetric = None if pd.isna(row["symmetric"]) else bool(row["symmetric"])
    shape = tuple(None if pd.isna(row.get(name)) else int(row[name]) for name in ("axis", "block_size"))
    return {"bits": row["bits"], "symmetric": symmetric, "shape": (*shape, len(arrays["scale"])), **arrays}


def _flat(value: Any) -> np.ndarray:
    return np.asarray(value, dtype=np.float64).reshape(-1)


def _change(a: dict[str, Any] | None, b: dict[str, Any] | None) -> str:
    """What differs, in words; empty where nothing does."""
    if a is None or b is None:
        return ONLY_B if a is None else ONLY_A
    differ = {"format": _floating(a) != _floating(b), "bits": a["bits"] != b["bits"]}
    if not differ["format"]:
        differ["symmetric"] = a["symmetric"] != b["symmetric"]
        differ["granularity"] = a["shape"] != b["shape"]
        differ["range"] = not differ["granularity"] and _moved(a, b, differ["bits"] or differ["symmetric"])
    return ", ".join(name for name, is_so in differ.items() if is_so)


def _floating(row: dict[str, Any]) -> bool:
    """Whether the grid is a floating-point one, which has no scale but an end."""
    return bool(np.isnan(row["scale"]).all() and not np.isnan(row["max"]).any())


def _moved(a: dict[str, Any], b: dict[str, Any], other_grid: bool) -> bool:
    step = np.fmax(a["scale"], b["scale"]) if other_grid and not _floating(a) else 0.0
    for name in ("min", "max", "scale", "zero_point")[: 2 if other_grid else 4]:
        slack = np.fmax(step, ROUNDING * np.fmax(np.abs(a[name]), np.abs(b[name])))
        unknown = np.isnan(a[name]) & np.isnan(b[name])
        if not (unknown | (np.abs(a[name] - b[name]) <= slack)).all():
            return True
    return False


def _figures(a: dict[str, Any] | None, b: dict[str, Any] | None) -> tuple:
    """The row's values from ``bits_a`` on."""
    bits, symmetric = ([r and r[name] for r in (a, b)] for name in ("bits", "symmetric"))
    channels = [pd.NA if r is None else len(r["scale"]) for r in (a, b)]
    low, high = [_one(a, "min", np.min), _one(b, "min", np.min)], [_one(a, "max", np.max), _one(b, "max", np.max)]
    scale, zero_point = ([_one(r, name, np.median) for r in (a, b)] for name in ("scale", "zero_point"))
    bits = [pd.NA if value is None else value for value in bits]
    return *bits, *symmetric, *channels, *low, *high, _range_change(a, b), *scale, *zero_point


def _one(row: dict[str, Any] | None, name: str, of: Any) -> float:
    if row is None:
        return float("nan")
    return float(row[name][0] if len(row[name]) == 1 else of(row[name]))


def _range_change(a: dict[str, Any] | None, b: dict[str, Any] | None) -> float:
    """In percent of the first range, the median over channels; NaN where they have no ranges of the same kind."""
    if a is None or b is None or _floating(a) or _floating(b):
        return float("nan")
    one, other = a["max"] - a["min"], b["max"] - b["min"]
    if len(one) != len(other):
        one, other = (np.array([row["max"].max() - row["min"].min()]) for row in (a, b))
    if not (one > 0).all():
        return float("nan")
    change = 100 * (other / one - 1)
    return float(change[0] if len(change) == 1 else np.median(change))
