"""Ops that a target does not run, or computes less precisely than its bit-widths suggest."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from qnb import schema
from qnb.numerics import FloatGrid, Grid, Precision

CONDITIONS = ("", "dilated", "long", "grouped")
"""Of a convolution: dilated; a side of its kernel longer than 7; of several groups."""


@dataclass(frozen=True)
class Limit:
    """One limit, as measured.

    Args:
        ops: names of the op table (`qnb.graph.ops`).
        what: what the target does instead, as the end of a sentence that begins with its name; ``{op}`` in it is
            the op's name.
        remedy: what to do about it.
        refused: the op does not run, or gives other values; otherwise it is only coarser.
        weights, activations: bits that it holds for; none stands for all.
        where: "", or one of `CONDITIONS`.
    """

    ops: tuple[str, ...]
    what: str
    remedy: str
    refused: bool = True
    weights: tuple[int, ...] = ()
    activations: tuple[int, ...] = ()
    where: str = ""

    def holds(self, precision: Precision) -> bool:
        """Whether it holds at a precision.

        >>> Limit(("log",), "has none", "use another", activations=(16,)).holds(Precision.parse("w8a8"))
        False
        """
        return all(
            not bits or _bits(grid) in bits
            for bits, grid in ((self.weights, precision.weights), (self.activations, precision.activations))
        )

    def said(self, op: str) -> str:
        """What the target does of one op.

        >>> Limit(("log", "log2"), "has no {op}", "use another").said("log2")
        'has no log2'
        """
        return self.what.replace("{op}", op)

    @property
    def when(self) -> str:
        """The bits, in words, at the beginning of a sentence; "" where it holds for all."""
        named = [
            f"{' or '.join(map(str, bits))}-bit {kind}"
            for kind, bits in (("weights", self.weights), ("activations", self.activations))
            if bits
        ]
        return f"at {' and '.join(named)} " if named else ""


_BITS = schema.list_of({"type": "integer", "minimum": 1, "maximum": 32}, 32)
SCHEMA = schema.list_of(
    schema.record(
        {
            "ops": schema.list_of(schema.TEXT, 1000),
            "what": schema.TEXT,
            "remedy": schema.TEXT,
            "refused": schema.FLAG,
            "weights": _BITS,
            "activations": _BITS,
            "where": {"enum": list(CONDITIONS)},
        }
    ),
    1000,
)
"""A target's limits in a file."""


def to_json(limit: Limit) -> dict:
    """A dictionary of `SCHEMA`."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(limit).items()}


def of_json(stored: list[dict]) -> tuple[Limit, ...]:
    """From dictionaries of `SCHEMA`."""
    lists = ("ops", "weights", "activations")
    return tuple(Limit(**row | {name: tuple(row[name]) for name in lists}) for row in stored)  # pyright: ignore[reportArgumentType]


def _bits(grid: Grid | FloatGrid | None) -> int | None:
    return grid.bits if isinstance(grid, Grid) else None
