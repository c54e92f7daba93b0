"""A target's fields as plain data, and back: a file holds them all, so that a target of one's own is there again."""

from __future__ import annotations

import dataclasses
from typing import Any

from qnb import schema
from qnb.errors import FileError, QnbError
from qnb.numerics import Precision
from qnb.targets import limits
from qnb.targets.target import TARGETS, Supergroup, Target

_OPS = schema.list_of(schema.TEXT, 1000)
_RANGE = {"type": "array", "items": schema.FINITE, "minItems": 2, "maxItems": 2}
_GRIDS = {"enum": ["weights", "activations"]}
SCHEMA = schema.record(
    {
        "name": schema.TEXT,
        "description": schema.TEXT,
        "supergroups": schema.list_of(schema.record({"first": _OPS, "then": _OPS}), 1000),
        "fuse_depthwise": schema.FLAG,
        "fixed_ranges": schema.table_of(_RANGE),
        "resize_shares_encoding": schema.FLAG,
        "tied_concat": schema.FLAG,
        "unconverted_at_16": _OPS,
        "written_out": _OPS,
        "limits": limits.SCHEMA,
        "norm_weights": _GRIDS,
        "embedding_weights": _GRIDS,
        "symmetric_matmul_rhs_16bit": schema.FLAG,
        "min_softmax_input_range_16bit": schema.FINITE | {"minimum": 0},
        "max_weight_code_16bit": {"type": "integer", "minimum": 1, "maximum": 32767},
        "grouped_conv_transpose_granularity": {"enum": ["channel", "tensor"]},
        "simulate_bias": schema.FLAG,
        "mask_encoding": schema.FLAG,
        "one_activation_width": schema.FLAG,
        "precisions": _OPS,
        "accepts_any_precision": schema.FLAG,
        "notes": schema.table_of(schema.TEXT),
        "verified_by": schema.TEXT,
        "htp_arch": schema.maybe({"type": "integer", "minimum": 0, "maximum": 1000}),
    }
)
"""Every field, by its name."""
BEFORE = {"tied_concat": True, "unconverted_at_16": [], "written_out": [], "limits": []}
"""What targets did by themselves while files had no such field."""


def to_json(target: Target) -> dict[str, Any]:
    """All fields of a target.

    >>> from_json(to_json(TARGETS["htp-v75"]), "read", "write it again") is TARGETS["htp-v75"]
    True
    """
    fields = {field.name: getattr(target, field.name) for field in dataclasses.fields(Target)}
    return fields | {
        "supergroups": [{"first": list(s.first), "then": list(s.then)} for s in target.supergroups],
        "fixed_ranges": {op: [float(end) for end in ends] for op, ends in target.fixed_ranges.items()},
        "precisions": list(target.precisions),
        "notes": dict(target.notes),
        "written_out": list(target.written_out),
        "unconverted_at_16": list(target.unconverted_at_16),
        "limits": [limits.to_json(limit) for limit in target.limits],
    }


def from_json(stored: Any, operation: str, remedy: str) -> Target:
    """The registered target where it is the same, else one of the stored fields; that one is not registered.

    Raises:
        FileError: fields that are missing or that no target can have.
    """
    stored = BEFORE | stored if isinstance(stored, dict) else stored
    schema.check(stored, SCHEMA, operation, remedy)
    try:
        for name in stored["precisions"]:
            Precision.parse(name)
    except QnbError as error:
        raise FileError(operation, f"a target that runs {error.received}", remedy) from error
    if backward := [op for op, (low, high) in stored["fixed_ranges"].items() if not low < high]:
        raise FileError(operation, f"a target with a range that is none for {backward[0]!r}", remedy)
    target = Target(
        **stored
        | {
            "supergroups": tuple(Supergroup(tuple(s["first"]), tuple(s["then"])) for s in stored["supergroups"]),
            "fixed_ranges": {op: tuple(ends) for op, ends in stored["fixed_ranges"].items()},
            "precisions": tuple(stored["precisions"]),
            "written_out": tuple(stored["written_out"]),
            "unconverted_at_16": tuple(stored["unconverted_at_16"]),
            "limits": limits.of_json(stored["limits"]),
        }
    )
    known = TARGETS[target.name] if target.name in TARGETS else None
    return target if known is None or known != target else known
