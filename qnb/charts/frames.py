"""What charts ask of a DataFrame, and how its numbers get small enough for a notebook."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from qnb.errors import InputError


def require(frame: pd.DataFrame, columns: Sequence[str], chart: str, source: str) -> pd.DataFrame:
    """The frame, or an `InputError` that names the missing columns and ``source``, which makes such a frame."""
    operation = f"charts.{chart}"
    if not isinstance(frame, pd.DataFrame):
        raise InputError(operation, f"a {type(frame).__name__} where a DataFrame belongs", f"pass {source}")
    missing = [c for c in columns if c not in frame.columns]
    if missing:
        names = ", ".join(repr(c) for c in missing)
        raise InputError(operation, f"a DataFrame without column{'s' * (len(missing) > 1)} {names}", f"pass {source}")
    return frame


def numbers(values: Iterable) -> np.ndarray:
    """A column as float64, ``pd.NA`` and None as NaN."""
    return pd.to_numeric(pd.Series(values), errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)  # pyright: ignore[reportCallIssue]


def small(values: Iterable, digits: int = 5) -> list[float | None]:
    """So many significant digits, what is not finite as None: shorter JSON, nothing that can be seen is lost.

    >>> small([1234567.0, 0.1 + 0.2, float("inf")])
    [1234600.0, 0.3, None]
    """
    found = np.asarray(values, dtype=np.float64).tolist()
    return [float(f"{v:.{digits}g}") if math.isfinite(v) else None for v in found]


def value(number: float, digits: int = 3) -> str:
    """A number in a title: a few significant digits, thousands apart.

    >>> value(0.01234), value(12345.6), value(0.0), value(7.79, 2)
    ('0.0123', '12,346', '0', '7.8')
    """
    return f"{number:,.0f}" if 10**digits <= abs(number) < 1e9 else f"{number:.{digits}g}"


def evenly(values: Sequence[float], tolerance: float = 1e-3) -> bool:
    """Whether numbers are evenly spaced, so that a first one and a step say them all.

    >>> evenly([0.0, 0.5, 1.0]), evenly([0.0, 0.5, 2.0])
    (True, False)
    """
    steps = np.diff(values)
    return bool(steps.size and np.ptp(steps) <= tolerance * abs(steps.mean()))
