"""The arguments of a graph's calls as JSON, and back: a closed set of kinds, and fixed tables of names.

What is no JSON travels as an object of one key: ``{"node": name}``, ``{"float": "inf"}``, ``{"torch": "float32"}``,
``{"device": "cuda:0"}``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import fx

from qnb.errors import FileError
from qnb.schema import IDENTIFIER, list_of, record

REMEDY = "save it again with the version of qnb that wrote it"
TORCH = {
    name: getattr(torch, name)
    for name in """
    float16 float32 float64 bfloat16 float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz
    complex32 complex64 complex128 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool
    strided contiguous_format preserve_format channels_last channels_last_3d
""".split()
}
"""Dtypes, layouts and memory formats that a graph may name."""
DTYPE = record({"torch": {"enum": [name for name, value in TORCH.items() if isinstance(value, torch.dtype)]}})
_LEAF = {
    "type": ["null", "boolean", "integer", "number", "string", "object", "array"],
    # Names of modes and an einsum's equation. fx gives '#' in generated source a meaning, so it is none of these.
    "pattern": r"^[A-Za-z0-9_,.> -]*\Z",
    "maxLength": 256,
    "properties": {
        "node": IDENTIFIER,
        "float": {"enum": ["nan", "inf", "-inf"]},
        "torch": {"enum": [*TORCH]},
        "device": {"type": "string", "pattern": r"^(cpu|cuda|mps|xpu|meta)(:[0-9]{1,3})?\Z"},
    },
    "additionalProperties": False,
    "minProperties": 1,
    "maxProperties": 1,
    "maxItems": 1 << 16,
}
_FLAT = {**_LEAF, "items": {**_LEAF, "type": [t for t in _LEAF["type"] if t != "array"]}}
ARGUMENTS = list_of(_FLAT, 1 << 10)
KEYWORDS = {"type": "object", "additionalProperties": _FLAT, "propertyNames": IDENTIFIER, "maxProperties": 64}


def encode(value: Any) -> Any:
    """An argument as JSON.

    Raises:
        FileError: of a kind that files do not hold.
    """
    if isinstance(value, fx.Node):
        return {"node": value.name}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if isinstance(value, list | tuple):
        return [encode(v) for v in value]
    if isinstance(value, torch.dtype | torch.layout | torch.memory_format):
        return {"torch": str(value).removeprefix("torch.")}
    if isinstance(value, torch.device):
        return {"device": str(value)}
    if not isinstance(value, bool | int | float | str | type(None)):
        raise FileError("save a graph", f"an argument of type {type(value).__name__}", "keep the script instead")
    return value


def decode(value: Any, nodes: Mapping[str, fx.Node]) -> Any:
    """What `encode` made of it; ``nodes`` are those that the graph has so far. The schema has let it through.

    Raises:
        FileError: a node that is not there, or a number of more than 64 bits.
    """
    if isinstance(value, list):
        return [decode(v, nodes) for v in value]
    if isinstance(value, int) and value.bit_length() > 63:
        raise FileError("read a graph", "an argument of more than 64 bits", REMEDY)
    if not isinstance(value, dict):
        return value
    ((kind, text),) = value.items()
    if kind == "node":
        if text not in nodes:
            raise FileError("read a graph", f"the value {text!r}, which is not there where it is used", REMEDY)
        return nodes[text]
    return float(text) if kind == "float" else torch.device(text) if kind == "device" else TORCH[text]
