"""Compare JSON, Plotly figures in particular: arrays closely, whether plain or base64, the rest exactly."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import numpy as np

from tests.notebook_rules.numbers import FLOOR, RELATIVE, close, compare_text, is_decibel_name

RANDOM_KEYS = frozenset({"uid", "model_id"})
MANY = 100
FEW = 0.01
STEP = 0.1
"""Of an array of at least 100 numbers, 1 % may be off by up to a tenth of the largest: a sum that differs in
its last bit moves a value across a rounding boundary, and that point of a scatter plot by a whole step of a
grid of 4 bits. (Measured on ten 8-bit layers, three instruction sets: 0.24 % of the values, two steps at most.)"""


def compare_json(reference, test, *, path: str = "", decibel: bool = False) -> Iterator[str]:
    """Yield how two JSON values differ; keys that end in ``_db`` hold decibels.

    >>> list(compare_json({"a": [1.0, 2.0], "uid": "x"}, {"a": [1.0, 2.001], "uid": "y"}))
    []
    >>> list(compare_json({"a": [1.0, 2.0]}, {"a": [1.0, 2.1]}))
    ['a: 2.0 at [1] is now 2.1']
    """
    a, b = _array(reference), _array(test)
    if a is not None and b is not None:
        yield from compare_arrays(a, b, path=path, decibel=decibel)
    elif isinstance(reference, dict) and isinstance(test, dict):
        keys, other = reference.keys() - RANDOM_KEYS, test.keys() - RANDOM_KEYS
        for key in sorted(keys ^ other):
            yield f"{path}: {key!r} is {'missing' if key in keys else 'new'}"
        for key in sorted(keys & other):
            inner = f"{path}.{key}".strip(".")
            yield from compare_json(reference[key], test[key], path=inner, decibel=decibel or key.endswith("_db"))
    elif isinstance(reference, list) and isinstance(test, list):
        if len(reference) != len(test):
            yield f"{path}: {len(reference)} entries are now {len(test)}"
        for i, (x, y) in enumerate(zip(reference, test, strict=False)):
            yield from compare_json(x, y, path=f"{path}[{i}]", decibel=decibel)
    elif _is_number(reference) and _is_number(test):
        if not close(reference, test, decibel=decibel):
            yield f"{path}: {reference} is now {test}"
    elif isinstance(reference, str) and isinstance(test, str):
        yield from (f"{path}: {difference}" for difference in compare_text(reference, test, decibel=decibel))
    elif type(reference) is not type(test) or reference != test:
        yield f"{path}: {reference!r:.120} is now {test!r:.120}"


def compare_figures(reference: dict, test: dict) -> Iterator[str]:
    """Yield how two Plotly figures differ; numbers along an axis titled in dB are decibels."""
    mine, theirs = reference.get("data", []), test.get("data", [])
    if len(mine) != len(theirs):
        yield f"data: {len(mine)} traces are now {len(theirs)}"
    for i, (a, b) in enumerate(zip(mine, theirs, strict=False)):
        axes = {key: _axis_decibel(reference, a.get(f"{key}axis", key)) for key in "xy"}
        yield from _compare_parts(a, b, axes, f"data[{i}]")
    layout, other = reference.get("layout", {}), test.get("layout", {})
    axes = {key: True for key in layout if "axis" in key and _titled_decibel(layout[key])}
    yield from _compare_parts(layout, other, axes, "layout")
    rest = [{k: v for k, v in figure.items() if k not in ("data", "layout")} for figure in (reference, test)]
    yield from compare_json(*rest, path="figure")


def compare_arrays(a: np.ndarray, b: np.ndarray, *, path: str, decibel: bool) -> Iterator[str]:
    """Yield how two arrays of numbers differ.

    Small numbers are relative to the largest magnitude (decibels are not): one value more or less in an
    almost empty bin of a histogram says nothing.
    """
    if a.shape != b.shape:
        yield f"{path}: shape {a.shape} is now {b.shape}"
        return
    largest = float(np.abs(a, where=np.isfinite(a), out=np.zeros_like(a)).max(initial=0.0))
    floor = FLOOR if decibel else max(FLOOR, RELATIVE * largest)
    off = [
        i
        for i in np.ndindex(a.shape)
        if a[i] != b[i] and not close(float(a[i]), float(b[i]), decibel=decibel, floor=floor)
    ]
    if a.size >= MANY and len(off) <= FEW * a.size:
        off = [i for i in off if not abs(a[i] - b[i]) <= STEP * largest]
    for i in off[:3]:
        yield f"{path}: {a[i]} at {list(map(int, i))} is now {b[i]}"
    if len(off) > 3:
        yield f"{path}: {len(off)} of {a.size} numbers differ"


def _compare_parts(a: dict, b: dict, decibels: dict[str, bool], path: str) -> Iterator[str]:
    yield from compare_json(dict.fromkeys(a.keys()), dict.fromkeys(b.keys()), path=path)
    for key in sorted((a.keys() & b.keys()) - RANDOM_KEYS):
        yield from compare_json(a[key], b[key], path=f"{path}.{key}", decibel=decibels.get(key, False))


def _axis_decibel(figure: dict, axis: str) -> bool:
    name = f"{axis[0]}axis{axis[1:]}"
    return _titled_decibel(figure.get("layout", {}).get(name, {}))


def _titled_decibel(part: dict) -> bool:
    title = part.get("title", "") if isinstance(part, dict) else ""
    return is_decibel_name(title.get("text", "") if isinstance(title, dict) else str(title))


def _is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _array(value) -> np.ndarray | None:
    """A typed array, or a (nested) list of numbers, as float64; None for anything else."""
    if isinstance(value, dict) and {"bdata", "dtype"} <= value.keys():
        dtype = np.dtype(value["dtype"]).newbyteorder("<")
        array = np.frombuffer(base64.b64decode(value["bdata"]), dtype=dtype)
        shape = [int(n) for n in str(value.get("shape", array.size)).split(",")]
        return array.reshape(shape).astype(np.float64)
    if isinstance(value, list) and value and all(_is_number(v) for v in value):
        return np.array(value, dtype=np.float64)
    return None
