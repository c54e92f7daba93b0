"""Grids and precisions as plain data, and back through their own validation."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from qnb import schema
from qnb.errors import FileError, QnbError
from qnb.numerics.grid import FloatGrid, Grid
from qnb.numerics.precision import Precision

_GRID = schema.record(
    {
        "kind": {"const": "Grid"},
        "bits": schema.COUNT,
        "symmetric": schema.FLAG,
        "granularity": schema.TEXT,
        "block_size": schema.maybe(schema.COUNT),
    }
)
GRID = schema.maybe({"anyOf": [_GRID, schema.record({"kind": {"const": "FloatGrid"}, "format": schema.TEXT})]})
PRECISION = schema.record({"weights": GRID, "activations": GRID})
_KINDS = {"Grid": Grid, "FloatGrid": FloatGrid}


def grid_to_json(grid: Grid | FloatGrid | None) -> dict[str, Any] | None:
    return None if grid is None else {"kind": type(grid).__name__, **asdict(grid)}


def grid_from_json(stored: dict[str, Any] | None, operation: str, remedy: str) -> Grid | FloatGrid | None:
    """The grid of what `GRID` allows.

    Raises:
        FileError: invalid values, or values that contradict each other.

    >>> grid_from_json(grid_to_json(Grid(4, True)), "read", "write it again")
    Grid(bits=4, symmetric=True, granularity='tensor', block_size=None)
    """
    if stored is None:
        return None
    try:
        return _KINDS[stored["kind"]](**{name: value for name, value in stored.items() if name != "kind"})
    except QnbError as error:
        raise FileError(operation, f"the file is damaged: a grid with {error.received}", remedy) from error


def precision_to_json(precision: Precision) -> dict[str, Any]:
    return {"weights": grid_to_json(precision.weights), "activations": grid_to_json(precision.activations)}


def precision_from_json(stored: dict[str, Any], operation: str, remedy: str) -> Precision:
    """The precision of what `PRECISION` allows.

    Raises:
        FileError: grids that do not exist.
    """
    return Precision(*(grid_from_json(stored[side], operation, remedy) for side in ("weights", "activations")))
