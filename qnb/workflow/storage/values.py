"""Plain values as JSON and back: options, settings, cells of tables.

What JSON has no form for is an object with one key that begins with ``$``. Options come to stand in lines of code that
a person may run, so what is decoded has a written form that is safe there: literals, precisions, and bare names.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import pandas as pd

from qnb import schema
from qnb.numerics import Precision
from qnb.numerics.stored import PRECISION, precision_from_json, precision_to_json
from qnb.workflow.named import Named
from qnb.workflow.storage.source import Source

ANY = {}
"""Schema of an encoded value: `decode` checks it."""
OBJECT = {"type": "object"}
OPTIONS = schema.table_of(ANY, schema.IDENTIFIER)
"""Of values by name, which come to stand in lines of code as ``name=value``."""
_DEEPEST, _LAMBDA = 32, "<lambda>"


def encode(value: Any) -> Any:
    """JSON of a plain value; of anything else its name.

    >>> encode({"x": (1, float("nan")), "cost": len})
    {'x': {'$tuple': [1, {'$float': 'nan'}]}, 'cost': {'$named': 'len'}}
    """
    value = value.item() if hasattr(value, "item") and getattr(value, "ndim", 1) == 0 else value
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": str(value)}
    if isinstance(value, list):
        return [encode(v) for v in value]
    if isinstance(value, tuple):
        return {"$tuple": [encode(v) for v in value]}
    if isinstance(value, dict):
        clear = all(isinstance(k, str) and not k.startswith("$") for k in value)
        pairs = {k: encode(v) for k, v in value.items()} if clear else None
        return pairs if clear else {"$dict": [[encode(k), encode(v)] for k, v in value.items()]}
    if isinstance(value, Precision):
        return {"$precision": precision_to_json(value)}
    return {"$missing": True} if value is pd.NA else {"$named": _name(value)}


def _name(value: Any) -> str:
    """What stands in a line of code for it."""
    name = str(getattr(value, "__name__", type(value).__name__))
    return name if name.isidentifier() and name.isascii() else _LAMBDA


def decode(stored: Any, source: Source, depth: int = 0) -> Any:
    """What `encode` was given; a function is a `Named`.

    Raises:
        FileError: anything else.
    """
    if depth > _DEEPEST:
        raise source.error("values nested too deeply")
    if stored is None or isinstance(stored, bool):
        return stored
    if isinstance(stored, int | float):
        if not -sys.float_info.max <= stored <= sys.float_info.max:
            raise source.error("a number that is too large")
        return stored
    if isinstance(stored, str):
        if len(stored) > schema.LONGEST:
            raise source.error("a text that is too long")
        return stored
    if isinstance(stored, list):
        return [decode(v, source, depth + 1) for v in stored]
    (kind, *more) = stored or ("",)
    if not more and kind.startswith("$"):
        return _coded(kind, stored[kind], source, depth)
    return {decode(k, source): decode(v, source, depth + 1) for k, v in stored.items()}


def _coded(kind: str, content: Any, source: Source, depth: int) -> Any:
    if kind not in _CODED:
        raise source.error(f"a value of kind {kind[:80]!r}")
    source.check(content, _CODED[kind])
    if kind == "$float":
        return float(content)
    if kind == "$tuple":
        return tuple(decode(v, source, depth + 1) for v in content)
    if kind == "$dict":
        pairs = [(decode(k, source, depth + 1), decode(v, source, depth + 1)) for k, v in content]
        try:
            return dict(pairs)
        except TypeError as error:
            raise source.error(f"a key that cannot be one ({error})") from error
    if kind == "$precision":
        return precision_from_json(content, source.operation, source.remedy)
    return pd.NA if kind == "$missing" else Named(content)


_CODED = {
    "$float": {"enum": ["nan", "inf", "-inf"]},
    "$tuple": schema.list_of(ANY),
    "$dict": schema.list_of({"type": "array", "minItems": 2, "maxItems": 2}),
    "$precision": PRECISION,
    "$missing": {"const": True},
    "$named": {"anyOf": [schema.IDENTIFIER, {"const": _LAMBDA}]},
}
