"""What rounding explains of the difference between a simulation and a runtime, and where the rest begins."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from qnb.columns import LAYER, OP, SQNR_DB
from qnb.runtimes.wiring import Source, Wiring
from qnb.text import decibel

EXPECTED_DB = {16: 45.0, 8: 22.0}
"""SQNR between simulation and runtime that rounding leaves, with so many bits in the activations. Measured on HTP: an
op alone has 65 to 90 dB at 16 bits (LSTM apart) and 40 to 50 at 8, and whole nets 52 to 70 and 24 to 35. At 8 bits some
percent of the codes turn in every layer, and that adds up."""
LEAST_DB = 15.0
"""At 8 bits a net may lose more than `EXPECTED_DB` to the rounding of its own simulation; rounding otherwise costs it
as much once more. Below this nothing is put down to rounding."""
DB_PER_BIT = 6.0
STEPS = 2
"""Codes this close differ by rounding, however small the signal: one that uses few codes has a low SQNR at once."""
EQUAL = 0.9
"""Share of integers or booleans that are the same; the rest are choices between values that are nearly the same."""
CLOSE_CALLS = 0.5
"""The same where the values that are chosen between are known to agree."""
ALONE_DB = 20.0
"""A layer whose inputs agree is so far above `EXPECTED_DB` if it only rounds."""
FALL_DB = 6.0
"""A layer that loses this against its inputs does more than hand on their difference: it has doubled."""
CHOICE = "it depends on a choice between values that are nearly the same"
CODES = f"no code differs by more than {STEPS} steps"


@dataclass(frozen=True)
class Difference:
    """An output, or a part of one, that is further from the simulation than expected.

    Args:
        output: its name.
        part: the layer that is joined into the output; empty where the output is meant as a whole.
        sqnr_db, expected_db: simulation against runtime.
        equal_fraction: of integers and booleans the share that is the same; NaN of values.
        why: what explains it; empty where rounding does not.
        layer, op: where it begins; empty where every layer agrees.
        layer_db, input_db: SQNR of that layer, and of the worst of its inputs.
    """

    output: str
    part: str
    sqnr_db: float
    expected_db: float
    equal_fraction: float = math.nan
    why: str = ""
    layer: str = ""
    op: str = ""
    layer_db: float = math.nan
    input_db: float = math.nan

    @property
    def name(self) -> str:
        """What a sentence calls it.

        >>> Difference("output", "head", 3.0, 22.0).name
        "the part of output 'output' from layer 'head'"
        """
        output = f"output {self.output!r}"
        return f"the part of {output} from layer {self.part!r}" if self.part else output

    @property
    def figures(self) -> str:
        """How far it is from the simulation, and how far it may be."""
        if not math.isnan(self.equal_fraction):
            return f"{self.equal_fraction:.0%} of its values the same, {EQUAL:.0%} expected"
        return f"{_level(self.sqnr_db)}, {self.expected_db:.0f} expected"

    @property
    def begins(self) -> str:
        """Where, as the end of a sentence."""
        if not self.layer:
            return "no layer shows it when layers are read: the runtime computes differently only in the whole file"
        inputs = "is the same" if self.input_db == math.inf else f"has {_level(self.input_db)}"
        at = f"layer {self.layer!r} ({self.op}: {_level(self.layer_db)}, its input {inputs})"
        if min(self.input_db, self.expected_db + ALONE_DB) - self.layer_db >= FALL_DB:
            return f"it begins at {at}"
        return f"it grows from layer to layer, and is first too large at {at}"


def _level(db: float) -> str:
    return "all of it zero or infinite" if db == -math.inf else decibel(db)


def expected_db(bits: int, own_db: float = math.inf) -> float:
    """SQNR to expect between simulation and runtime.

    Args:
        bits: the fewest of any activation on the way.
        own_db: the simulation against FP32, which counts below 16 bits.

    >>> [expected_db(bits) for bits in (32, 16, 12, 10, 8, 4)], expected_db(8, 18.5), expected_db(8, 3.0)
    ([45.0, 45.0, 45.0, 34.0, 22.0, 15.0], 18.5, 15.0)
    """
    usual = min(EXPECTED_DB[16], max(LEAST_DB, EXPECTED_DB[8] + DB_PER_BIT * (bits - 8)))
    return usual if bits >= 16 else min(usual, max(LEAST_DB, own_db))


def find(table: pd.DataFrame, wiring: Wiring, own_db: Mapping[str, float] | None = None) -> tuple[Difference, ...]:
    """Outputs and their parts that are further from the simulation than expected.

    Args:
        table: what `qnb.fidelity` returns.
        wiring: of the same simulation.
        own_db: of layers, the simulation against FP32.
    """
    judge = _Judge(table, wiring, own_db or {})
    outputs = table[table[OP] == "output"].to_dict("records")  # pyright: ignore[reportCallIssue]
    found = []
    for row, source in zip(outputs, wiring.outputs, strict=True):
        found.append(judge.difference(row, source, row[LAYER], ""))
        wrong = [part for part in source.parts if judge.why[part] == UNEXPLAINED]
        found += [judge.difference(judge.rows[part], wiring.layers[part], row[LAYER], part) for part in wrong]
    return tuple(difference for difference in found if difference is not None)


AGREES, UNEXPLAINED = "", "unexplained"


class _Judge:
    """Every layer of a table: why it differs more than expected, `AGREES` or `UNEXPLAINED`."""

    def __init__(self, table: pd.DataFrame, wiring: Wiring, own_db: Mapping[str, float]):
        rows = table[table[OP] != "output"].to_dict("records")  # pyright: ignore[reportCallIssue]
        self.rows, self.wiring, self.own_db = {row[LAYER]: row for row in rows}, wiring, own_db
        self.why: dict[str, str] = {}
        for layer, row in self.rows.items():
            self.why[layer] = self.reason(row, wiring.layers[layer], own_db.get(layer, math.inf))

    def reason(self, row: dict, source: Source, own_db: float) -> str:
        equal, steps = row.get("equal_fraction", math.nan), row.get("max_steps", math.nan)
        whole = _of_integers(row)
        if equal >= EQUAL if whole else not row[SQNR_DB] < expected_db(source.bits, own_db):
            return AGREES
        if steps <= STEPS:
            return CODES
        settled = all(self.why.get(layer) != UNEXPLAINED for layer in source.layers)
        inherited = any(self.why.get(layer) == CHOICE for layer in source.layers)
        close = equal if whole else row.get("within_one_fraction", math.nan)
        turned = source.ordered or inherited or (source.chosen and close >= CLOSE_CALLS)
        return CHOICE if settled and turned else UNEXPLAINED

    def difference(self, row: dict, source: Source, output: str, part: str) -> Difference | None:
        meant = (part,) if part else source.layers
        own_db = min((self.own_db.get(layer, math.inf) for layer in meant), default=math.inf)
        why = self.why[part] if part else self.reason(row, source, own_db)
        if why == AGREES:
            return None
        equal = row["equal_fraction"] if _of_integers(row) else math.nan
        made = Difference(output, part, row[SQNR_DB], expected_db(source.bits, own_db), equal)
        if why != UNEXPLAINED:
            return Difference(**vars(made) | {"why": why})  # pyright: ignore[reportArgumentType]
        before = self.wiring.before(source)
        return Difference(**vars(made) | self.beginning([*before, part] if part else before))

    def beginning(self, layers: list[str]) -> dict:
        """Of these layers in graph order the one where the difference begins: the first unexplained one that differs
        more than its inputs do; else the one that loses most; else the first that is unexplained."""
        unexplained = [layer for layer in layers if self.why[layer] == UNEXPLAINED]
        falls = [layer for layer in layers if self.fall(layer) >= FALL_DB]
        first = next((layer for layer in unexplained if layer in falls), None)
        if first is None and falls and unexplained:
            first = max(falls, key=self.fall)
        first = first or next(iter(unexplained), None)
        if first is None:
            return {}
        row = self.rows[first]
        return {"layer": first, "op": row[OP], "layer_db": row[SQNR_DB], "input_db": self.input_db(first)}

    def fall(self, layer: str) -> float:
        clean = expected_db(self.wiring.layers[layer].bits) + ALONE_DB
        fall = min(clean, self.input_db(layer)) - self.rows[layer][SQNR_DB]
        return 0.0 if math.isnan(fall) else fall

    def input_db(self, layer: str) -> float:
        return min((self.rows[name][SQNR_DB] for name in self.wiring.layers[layer].layers), default=math.inf)


def _of_integers(row: dict) -> bool:
    """Whether a row is of integers or booleans that stand for no values: equal ones are counted, and no steps."""
    return row.get("equal_fraction", math.nan) >= 0 and math.isnan(row.get("max_steps", math.nan))
