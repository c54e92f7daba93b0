"""DataFrames as JSON, column by column, with their dtypes; and back, with the columns that whoever shows them needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from qnb import schema
from qnb.workflow.storage import values
from qnb.workflow.storage.source import Source

_NATIVE_TEXT = pd.Series(["text"]).dtype
"""Of a column of text: it depends on the version of pandas."""
_NUMBERS = ("float64", "float32", "int64", "int32", "Int64", "bool")
_COLUMN = schema.record(
    {
        "name": schema.TEXT,
        "dtype": {"enum": [*_NUMBERS, "text", "object", "guess"]},
        "values": {"type": "array", "maxItems": schema.MANY},
    }
)
SCHEMA = schema.record({"columns": schema.list_of(_COLUMN, 10_000)}, {"index": _COLUMN, "attrs": values.OPTIONS})
TEXT, NUMBER, KNOWN, COUNT, FLAG = "text", "number", "a number that is known", "a count", "yes or no"
"""What a column must hold; values that are known are not NaN, counts are whole and not negative."""


def pack(frame: pd.DataFrame | None) -> dict[str, Any] | None:
    if frame is None:
        return None
    stored: dict[str, Any] = {"columns": [_column(str(name), frame[name]) for name in frame.columns]}
    if not frame.index.equals(pd.RangeIndex(len(frame))):
        stored["index"] = _column("index", frame.index.to_series())
    return stored | ({"attrs": values.encode(dict(frame.attrs))} if frame.attrs else {})


def _column(name: str, column: pd.Series) -> dict[str, Any]:
    dtype, cells = str(column.dtype), column.tolist()
    if isinstance(column.dtype, pd.StringDtype) or (column.dtype == _NATIVE_TEXT and all(map(_is_text, cells))):
        return {"name": name, "dtype": "text", "values": [c if isinstance(c, str) else None for c in cells]}
    if dtype not in _NUMBERS:
        return {"name": name, "dtype": "object", "values": [values.encode(c) for c in cells]}
    return {"name": name, "dtype": dtype, "values": [_cell(c) for c in cells]}


def _is_text(cell: Any) -> bool:
    return cell is None or isinstance(cell, str)


def _cell(cell: Any) -> Any:
    """JSON has no NaN and no infinity: they travel as text; what is missing as null."""
    if cell is pd.NA:
        return None
    return str(cell) if isinstance(cell, float) and not math.isfinite(cell) else cell


def unpack(stored: Any, source: Source, needed: Mapping[str, str] | None = None, rows: int = 0) -> pd.DataFrame:
    """The frame that `pack` was given.

    Args:
        needed: columns that must be there, to what they hold.
        rows: so many it has at least.

    Raises:
        FileError: no such frame.
    """
    source.check(stored, SCHEMA)
    columns = {c["name"]: _series(c, source) for c in stored["columns"]}
    lengths = {len(column) for column in columns.values()}
    if len(columns) < len(stored["columns"]) or len(lengths) > 1:
        raise source.error("a table with two columns of one name, or of unlike lengths")
    frame = pd.DataFrame(columns)
    if len(frame) < rows:
        raise source.error(f"a table of {len(frame)} rows")
    check(frame, needed or {}, source)
    if "index" in stored:
        index = _series(stored["index"], source)
        if len(index) != len(frame):
            raise source.error("a table with an index of another length")
        frame.index = pd.Index(index)
    frame.attrs = values.decode(stored.get("attrs", {}), source)
    return frame


def check(frame: pd.DataFrame, needed: Mapping[str, str], source: Source) -> None:
    """Whether a frame has columns, with what they must hold; one without rows holds anything."""
    for name, kind in needed.items():
        if name not in frame or (len(frame) and not _HOLDS[kind](frame[name])):
            raise source.error(f"a table whose column {name[:80]!r} is not {kind}")


def maybe(stored: Any, source: Source, needed: Mapping[str, str] | None = None) -> pd.DataFrame | None:
    return None if stored is None else unpack(stored, source, needed)


def numbers(cells: list, source: Source) -> list[float]:
    """Floats of numbers and of what stands for NaN and infinity."""
    if not set(map(type, cells)) <= {int, float, str}:
        raise source.error("a column of numbers with something else in it")
    if any(c not in ("nan", "inf", "-inf") for c in cells if type(c) is str):
        raise source.error("a column of numbers with text in it")
    try:
        return [float(c) for c in cells]
    except OverflowError as error:
        raise source.error("a number that is too large") from error


def _series(column: dict, source: Source) -> pd.Series:
    name, dtype, cells = column["name"], column["dtype"], column["values"]
    if dtype == "guess":  # version 1 did not say
        return pd.Series([float(c) if c in ("nan", "inf", "-inf") else values.decode(c, source) for c in cells])
    if dtype == "object":
        return pd.Series([values.decode(c, source) for c in cells], dtype=object)
    if dtype.startswith("float"):
        return pd.Series(numbers(cells, source), dtype=dtype)
    allowed = {"text": {str, type(None)}, "Int64": {int, type(None)}, "bool": {bool}}.get(dtype, {int})
    if not set(map(type, cells)) <= allowed:
        raise source.error(f"a column {name[:80]!r} of {dtype} with something else in it")
    if dtype == "text":
        if any(len(c) > schema.LONGEST for c in cells if c is not None):
            raise source.error(f"a column {name[:80]!r} with a text that is too long")
        return pd.Series(cells, dtype=_NATIVE_TEXT)
    try:
        return pd.Series(cells, dtype=dtype)
    except (OverflowError, TypeError, ValueError) as error:
        raise source.error(f"a column {name[:80]!r} of {dtype} with a number that is too large") from error


def _is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and column.dtype != bool


_HOLDS = {
    TEXT: lambda column: all(isinstance(c, str) for c in column),
    NUMBER: _is_number,
    KNOWN: lambda column: _is_number(column) and not column.isna().any(),
    COUNT: lambda column: _is_number(column) and bool((column.between(0, 2**62) & (column % 1 == 0)).all()),
    FLAG: lambda column: column.dtype == bool,
}
