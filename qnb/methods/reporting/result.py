"""What a recovery method did: per layer before and after, its history, what it left out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from qnb.document import Document, Facts, Shown, Table, Text
from qnb.text import decibel, number


@dataclass(frozen=True)
class Found:
    """What a method's own function gives back; `qnb.methods.method` makes a `Result` of it.

    Args:
        layers: columns ``layer`` and the method's own figures, one row per layer that it worked on.
        history: one row per step, ``layer`` first where it went layer by layer, for plotting.
        notes: what was left out and why, a sentence each.
        tables: further ones by name.
    """

    layers: pd.DataFrame | None = None
    history: pd.DataFrame = field(default_factory=pd.DataFrame)
    notes: tuple[str, ...] = ()
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class Result(Shown):
    """What a method of `qnb.methods` returns.

    Args:
        method: its name.
        table: one row per layer in graph order, `qnb.columns.RECOVERY` where it had batches (SQNR in dB against
            FP32, accumulated and the layer's own, before and after) and the method's own figures.
        history: one row per step.
        options: what it was called with.
        seconds: how long it took.
        notes: what was left out and why.
        tables: further ones by name.
    """

    method: str
    table: pd.DataFrame
    history: pd.DataFrame
    options: dict[str, Any]
    seconds: float
    notes: tuple[str, ...] = ()
    output_before_db: float = float("nan")
    output_after_db: float = float("nan")
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)

    def sentence(self) -> str:
        """What it brought, in one line."""
        if self.output_after_db != self.output_after_db:
            return f"{self.method}: {len(self.table)} layers, {self.seconds:.1f} s"
        return (
            f"{self.method}: output {decibel(self.output_before_db)} → {decibel(self.output_after_db)}, "
            f"{self.seconds:.1f} s"
        )

    def document(self) -> Document:
        forms = {c: decibel for c in self.table.columns if c.endswith("_db")}
        facts = [Facts({k: number(v) if isinstance(v, float) else str(v) for k, v in self.options.items()})]
        worse = self.output_after_db < self.output_before_db
        return Document(
            "recovery",
            self.sentence(),
            (
                *(facts if self.options else ()),
                *(Text(note) for note in self.notes),
                Table(self.table, "Layers before and after", formats=forms),
            ),
            "warn" if worse else "neutral",
        )
