"""Nested inputs and outputs as a flat list of tensors, and back: tuples, dicts, dataclasses, named tuples."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from qnb.errors import CaptureError, FileError
from qnb.schema import TEXT, list_of, record

TENSOR, CONSTANT, TUPLE, LIST, DICT, RECORD = "tensor", "constant", "tuple", "list", "dict", "record"
DEEPEST = 16
_KEY = {"type": ["null", "boolean", "integer", "number", "string"], "maxLength": TEXT["maxLength"]}
_CONSTANT = {"anyOf": [_KEY, record({"float": {"enum": ["nan", "inf", "-inf"]}})]}


def _schema(depth: int) -> dict:
    children = list_of(_schema(depth - 1), 1 << 16) if depth else list_of({}, 0)
    return record(
        {
            "kind": {"enum": [TENSOR, CONSTANT, TUPLE, LIST, DICT, RECORD]},
            "children": children,
            "keys": list_of(_KEY, 1 << 16),
            "value": _CONSTANT,
        }
    )


STRUCTURE = _schema(DEEPEST)
"""What `Structure.to_json` gives, as a JSON Schema."""


class Record(dict):
    """Stands in for a dataclass of the user's in a model that was read from a file: keys are attributes too.

    >>> Record(logits=1).logits
    1
    """

    def __getattr__(self, name: str):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


@dataclass(frozen=True)
class Structure:
    """The shape of a nest, without its tensors.

    Args:
        kind: tensor, constant, tuple, list, dict or record (a class with named fields).
        children: parts in order; empty for tensors and constants.
        keys: of a dict or record.
        value: of a constant: None, bool, int, float or str.
        cls: the class of a record, a named tuple or a Mapping; None where it was read from a file.

    >>> leaves, shape = flatten({"a": torch.zeros(1), "b": (torch.ones(1), None)})
    >>> [float(t) for t in leaves], shape.build([1, 2])
    ([0.0, 1.0], {'a': 1, 'b': (2, None)})
    """

    kind: str
    children: tuple[Structure, ...] = ()
    keys: tuple[str, ...] = ()
    value: Any = None
    cls: type | None = field(default=None, compare=False)

    def build(self, leaves: Iterable) -> Any:
        """The nest with these leaves in place of its tensors."""
        return self._build(iter(leaves))

    def _build(self, leaves) -> Any:
        if self.kind == TENSOR:
            return next(leaves)
        if self.kind == CONSTANT:
            return self.value
        parts = [child._build(leaves) for child in self.children]
        if self.kind in (TUPLE, LIST):
            return tuple(parts) if self.kind == TUPLE else parts
        named = dict(zip(self.keys, parts, strict=True))
        if self.cls is None:
            return named if self.kind == DICT else Record(named)
        return self.cls(**named) if self.kind == RECORD else self.cls(named)

    def tensors(self) -> int:
        return 1 if self.kind == TENSOR else sum(child.tensors() for child in self.children)

    def names(self, prefix: str = "") -> list[str]:
        """A readable name per tensor: ``"pixels"``, ``"past.0"``."""
        if self.kind == TENSOR:
            return [prefix or "output"]
        keys = self.keys or [str(i) for i in range(len(self.children))]
        parts = zip(keys, self.children, strict=True)
        return [name for k, c in parts for name in c.names(f"{prefix}.{k}" if prefix else str(k))]

    def to_json(self) -> dict:
        value = self.value
        if isinstance(value, float) and not math.isfinite(value):
            value = {"float": str(value)}
        return {
            "kind": self.kind,
            "children": [c.to_json() for c in self.children],
            "keys": list(self.keys),
            "value": value,
        }

    @staticmethod
    def from_json(stored: dict) -> Structure:
        """What `to_json` gave and `STRUCTURE` has let through.

        Raises:
            FileError: its parts do not match.
        """
        kind, keys, value = stored["kind"], tuple(stored["keys"]), stored["value"]
        children = tuple(Structure.from_json(c) for c in stored["children"])
        named = kind in (DICT, RECORD)
        fits = (
            len(keys) == len(children) == len(set(keys)) if named else not keys,
            kind not in (TENSOR, CONSTANT) or not children,
            kind == CONSTANT or value is None,
            kind != RECORD or all(isinstance(k, str) and k.isidentifier() for k in keys),
            not isinstance(value, int) or value.bit_length() < 64,
        )
        if not all(fits):
            raise FileError("read a graph", f"a {kind} whose parts do not match", "save it again")
        return Structure(kind, children, keys, float(value["float"]) if isinstance(value, dict) else value)


def flatten(nest: Any, what: str = "output") -> tuple[list[torch.Tensor], Structure]:
    """Tensors of a nest in order, and its structure.

    Raises:
        CaptureError: it holds something that is neither a tensor, a container, nor a plain constant.
    """
    leaves: list[torch.Tensor] = []
    return leaves, _flatten(nest, leaves, what)


def _flatten(nest: Any, leaves: list, what: str) -> Structure:
    def parts(values):
        return tuple(_flatten(v, leaves, what) for v in values)

    if isinstance(nest, torch.Tensor):
        leaves.append(nest)
        return Structure(TENSOR)
    if nest is None or isinstance(nest, bool | int | float | str):
        return Structure(CONSTANT, value=nest)
    if dataclasses.is_dataclass(nest) and not isinstance(nest, type | Mapping):
        named = {f.name: getattr(nest, f.name) for f in dataclasses.fields(nest)}
        return Structure(RECORD, parts(named.values()), tuple(named), cls=type(nest))
    if isinstance(nest, tuple) and hasattr(nest, "_fields"):
        return Structure(RECORD, parts(nest), tuple(nest._fields), cls=type(nest))
    if isinstance(nest, Mapping):
        record = dataclasses.is_dataclass(nest)  # transformers' outputs are both
        cls = None if type(nest) is dict else type(nest)
        return Structure(RECORD if record else DICT, parts(nest.values()), tuple(nest), cls=cls)
    if isinstance(nest, tuple | list):
        return Structure(TUPLE if isinstance(nest, tuple) else LIST, parts(nest))
    raise CaptureError(
        "capture",
        f"the model's {what} holds a {type(nest).__name__}",
        "use tensors in tuples, lists, dicts or dataclasses",
    )
