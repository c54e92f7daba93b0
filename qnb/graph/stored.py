"""What a saved graph looks like: a JSON Schema, and the rules for names, which come to stand in generated source.

torch.fx writes a graph down as Python and executes that. Node names, targets of inputs and keys of keyword arguments
stand in it as they are; a tensor's path stands in it as attributes, or in quotes where a part is no identifier. These
rules let nothing but names through.
"""

from __future__ import annotations

import keyword
import re
import unicodedata
from functools import cache

from torch import fx, nn

from qnb.graph.arguments import ARGUMENTS, DTYPE, KEYWORDS
from qnb.graph.structure import STRUCTURE
from qnb.schema import FLAG, IDENTIFIER, NUMBER, TEXT, list_of, maybe, record, table_of

SIZE = {"type": "integer", "minimum": 0, "maximum": 1 << 48}
_RANK = 64
_TENSOR = record({"shape": list_of(SIZE, _RANK), "dtype": DTYPE})
_META = ("layer", "path", "module", "op", "source")
_VALUES = {"val": maybe({"anyOf": [_TENSOR, list_of(maybe({"anyOf": [_TENSOR, list_of(_TENSOR)]}))]})}
_SHAPE = {"shape": list_of(maybe(SIZE), _RANK)}
_NONE = {"args": list_of({}, 0), "kwargs": record({})}


def _row(op: str, required: dict, optional: dict | None = None) -> dict:
    shared = {"name": IDENTIFIER, "op": {"const": op}, "target": TEXT, "meta": record({})}
    return record(shared | _VALUES | required, optional)


ROWS = {
    "placeholder": _row("placeholder", {**_NONE, "meta": record({"layer": TEXT})}, _SHAPE),
    "get_attr": _row("get_attr", {**_NONE, "trained": FLAG}, _SHAPE),
    "call_function": _row(
        "call_function",
        {"args": ARGUMENTS, "kwargs": KEYWORDS, "meta": record(dict.fromkeys(_META, TEXT))},
        {**_SHAPE, "eps": NUMBER},
    ),
    "output": _row(
        "output",
        {
            "args": {**list_of(list_of(record({"node": IDENTIFIER})), 1), "minItems": 1},
            "kwargs": record({}),
            "val": {"type": "null"},
        },
    ),
}
_NODE = {
    "type": "object",
    "properties": {"op": {"enum": [*ROWS]}},
    "required": ["op"],
    "allOf": [{"if": {"properties": {"op": {"const": op}}}, "then": row} for op, row in ROWS.items()],
}
GRAPH = record(
    {
        "name": TEXT,
        "nodes": list_of(_NODE, 1 << 18),
        "inputs": list_of(
            record({"name": TEXT, "shape": list_of({"anyOf": [SIZE, TEXT]}, _RANK), "dtype": DTYPE, "computed": DTYPE})
        ),
        "limits": table_of({**list_of(SIZE, 2), "minItems": 2}),
        "called": STRUCTURE,
        "returned": STRUCTURE,
        "parameters": list_of(TEXT),
        "fixed": list_of(TEXT),
        "notes": list_of(TEXT),
    }
)


def is_name(text: str) -> bool:
    """Whether a node or an input may have this name: Python's own words and the function's ``self`` are taken."""
    return bool(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text)) and not keyword.iskeyword(text) and text != "self"


def is_path(text: str) -> bool:
    """Whether a tensor may stand here: parts that are identifiers, or other text without quotes, such as ``0``.

    What a module has of its own (``forward``, ``__class__``) is no place for a tensor.
    """
    parts = text.split(".")
    if len(text) > 1024 or len(parts) > 64:
        return False
    return all(map(_is_part, parts)) and parts[0] not in _taken(True) and _taken(False).isdisjoint(parts)


def _is_part(text: str) -> bool:
    """An identifier stands in source as it is, where Python reads it in its normal form; the rest stands in quotes."""
    if text.isidentifier():
        plain = unicodedata.normalize("NFKC", text) == text and not keyword.iskeyword(text)
        return plain and not text.startswith("__")
    return bool(text) and text.isprintable() and not re.search(r"[\"'`\\#{}]", text)


@cache
def _taken(graph: bool) -> frozenset[str]:
    if not graph:
        return frozenset(dir(nn.Module()))
    quantizers = {f"{kind}_quantizers" for kind in ("activation", "weight", "bias")}
    return frozenset(dir(fx.GraphModule({}, fx.Graph()))) | quantizers
