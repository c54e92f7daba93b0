"""The form of every number that a person reads: one function for each kind of quantity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

LOSSLESS, OVERFLOW = "lossless", "overflow"
"""What an SQNR of plus or minus infinity is called."""


def number(value: Any) -> str:
    """A value as a person reads it: three significant digits, thousands apart.

    >>> number(0.123456), number(1234567), number(float("nan")), number([1.0, 2.0])
    ('0.123', '1 234 567', '', '2 values')
    """
    if value is None or value != value if not isinstance(value, list | tuple) else False:
        return ""
    if isinstance(value, list | tuple):
        return f"{len(value)} values"
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        return str(value)
    value = float(value)
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}".replace(",", " ")
    if abs(value) >= 1e6 or abs(value) < 1e-3:
        return f"{value:.3g}"
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.3g}" if abs(value) < 1 else f"{value:.3f}"


def size(count: float) -> str:
    """Bytes in kB or MB.

    >>> size(262144), size(3_400_000)
    ('262 kB', '3.40 MB')
    """
    for unit, limit in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= limit:
            return f"{count / limit:.3g} {unit}" if count / limit >= 10 else f"{count / limit:.2f} {unit}"
    return f"{count:.0f} bytes"


def decibel(value: float, digits: int = 1) -> str:
    """An SQNR: the one place for its form.

    >>> decibel(41.234), decibel(float("inf")), decibel(float("-inf")), decibel(float("nan"))
    ('41.2 dB', 'lossless', 'overflow', '')
    """
    if math.isnan(value):
        return ""
    return f"{value:.{digits}f} dB" if math.isfinite(value) else LOSSLESS if value > 0 else OVERFLOW


def percent(value: float) -> str:
    """A share, 0 to 1: two digits, and never rounded to all or nothing.

    >>> percent(0.0123), percent(0.0), percent(1.0), percent(0.998), percent(1e-7)
    ('1.2 %', '0 %', '100 %', '> 99 %', '< 0.01 %')
    """
    if value in (0, 1):
        return f"{100 * value:.0f} %"
    if not 1e-4 <= value < 0.995:
        return "" if math.isnan(value) else "> 99 %" if value > 0.5 else "< 0.01 %"
    return f"{100 * value:.2g} %"


def share(value: float) -> str:
    """As `percent`, of a share that may be negative or more than all.

    >>> share(0.0123), share(-0.21), share(1.12), share(0.0), share(-1e-7)
    ('1.2 %', '-21 %', '112 %', '0 %', '> -0.01 %')
    """
    if math.isnan(value) or value == 0:
        return "" if math.isnan(value) else "0 %"
    if abs(value) < 1e-4:
        return "< 0.01 %" if value > 0 else "> -0.01 %"
    return f"{100 * value:.0f} %" if abs(value) >= 0.095 else f"{100 * value:.2g} %"


def count(value: float) -> str:
    """A count with its thousands as k, M or G.

    >>> count(79232), count(12), count(4.1e9)
    ('79.2 k', '12', '4.1 G')
    """
    for unit, limit in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= limit:
            return f"{value / limit:.3g} {unit}"
    return f"{value:.0f}"


def metric_text(value: float, *, aligned: bool = False) -> str:
    """A metric: four significant digits, or four decimals below each other in a table.

    >>> metric_text(0.96875), metric_text(41.5), metric_text(0.97, aligned=True), metric_text(float("nan"))
    ('0.9688', '41.5', '0.9700', '')
    """
    if value != value:
        return ""
    return f"{value:.4f}" if aligned else f"{value:.4g}"


def amount(value: float) -> str:
    """A drop in the metric's units, without a minus zero.

    >>> amount(0.0123), amount(-0.0)
    ('0.012', '0')
    """
    return f"{value:.2g}" if value else "0"


def interval(low: float, high: float) -> str:
    """The 95 % interval of a drop.

    >>> interval(-0.001, 0.0123)
    '95 % interval -0.001 to 0.012'
    """
    return f"95 % interval {amount(low)} to {amount(high)}"


def listed(names: Sequence[str], count: int = 3) -> str:
    """The first names, and how many more there are.

    >>> listed(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    return ", ".join(names[:count]) + (f" and {len(names) - count} more" if len(names) > count else "")
