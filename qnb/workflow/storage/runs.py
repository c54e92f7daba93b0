"""A run as JSON, and back; its simulation is a file of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qnb import columns, schema
from qnb.columns import OWN_SQNR_DB as OWN
from qnb.measures import Score
from qnb.measures.clipping import KINDS
from qnb.measures.metrics.score import MEANS, Drop
from qnb.methods import Result
from qnb.workflow.guidance.next_step import NextStep
from qnb.workflow.names import FP32
from qnb.workflow.run import Run
from qnb.workflow.storage import tables, values
from qnb.workflow.storage.code import checked
from qnb.workflow.storage.source import Source
from qnb.workflow.storage.tables import COUNT, FLAG, KNOWN, NUMBER, TEXT
from qnb.workflow.verdict import FAIL, PASS, REFERENCE, UNCLEAR, Verdict

if TYPE_CHECKING:
    import pandas as pd

    from qnb.sim.quantsim import QuantSim

TABLE, CALL = schema.maybe(values.OBJECT), schema.maybe(values.OPTIONS)
SCORE = schema.record(
    {
        "value": schema.FINITE,
        "n": schema.maybe(schema.COUNT),
        "higher_is_better": schema.FLAG,
        "per_sample": schema.maybe({"type": "array", "maxItems": schema.MANY}),
    },
    {"weights": schema.maybe({"type": "array", "maxItems": schema.MANY}), "mean": {"enum": list(MEANS)}},
)
DROP = schema.record(
    {
        "value": schema.FINITE,
        "low": schema.NUMBER,
        "high": schema.NUMBER,
        "paired": schema.FLAG,
        "p_value": schema.maybe(schema.NUMBER),
    }
)
NEXT_STEP = schema.record(
    {"title": schema.TEXT, "reason": schema.TEXT, "code": schema.TEXT, "run": CALL, "deploy": CALL, "recover": CALL}
)
RESULT = schema.record(
    {
        "method": schema.TEXT,
        "table": values.OBJECT,
        "history": values.OBJECT,
        "options": values.OPTIONS,
        "seconds": schema.FINITE,
        "notes": schema.list_of(schema.TEXT),
        "output_before_db": schema.NUMBER,
        "output_after_db": schema.NUMBER,
        "tables": schema.table_of(values.OBJECT),
    }
)
_DONE = schema.record({"method": schema.TEXT, "options": values.OPTIONS})
_AS_THEY_ARE = ("layers", "calibration_methods")
"""Settings by names of layers, which may be any text."""
SETTINGS = values.OPTIONS | {
    "properties": {
        "from": schema.TEXT,
        "layers": schema.table_of(schema.TEXT),
        "calibration_methods": schema.table_of(schema.TEXT),
        "calibration_method": schema.TEXT,
        "options": values.OPTIONS,
        "recover": schema.list_of(_DONE),
        "target": schema.TEXT,
        "data": schema.TEXT,
    }
}
RUN = schema.record(
    {
        "name": schema.TEXT,
        "precision": schema.TEXT,
        "score": SCORE,
        "drop": schema.maybe(DROP),
        "verdict": schema.record({"status": {"enum": [PASS, FAIL, UNCLEAR, REFERENCE]}, "text": schema.TEXT}),
        "size_bytes": schema.COUNT,
        "activation_bytes": schema.COUNT,
        "output_sqnr_db": schema.NUMBER,
        "seconds": schema.FINITE,
        "settings": SETTINGS,
        "cost": values.OBJECT,
        "comparison": TABLE,
        "float16": TABLE,
        "attempts": TABLE,
        "recovery": schema.list_of(RESULT),
        "next_steps": schema.list_of(NEXT_STEP),
        "sim": schema.maybe(schema.COUNT),
    },
    {"clipping": values.OBJECT},
)
"""``sim`` is the number of its simulation's file."""

_TEXTS = {columns.LAYER, columns.MODULE, columns.OP, "tried", "verdict"}
COMPARISON = {c: TEXT if c in _TEXTS else COUNT if c == "numel" else NUMBER for c in columns.COMPARISON}
_COST = {c: TEXT if c in _TEXTS else COUNT if c in ("macs", "bops") else KNOWN for c in columns.COST}
_ATTEMPTS = {c: TEXT if c in _TEXTS else FLAG if c == "kept" else NUMBER for c in columns.ATTEMPTS}
_CLIPPING = {c: TEXT if c in (columns.LAYER, columns.KIND) else NUMBER for c in columns.CLIPPING} | {"numel": COUNT}
_FLOAT16 = {columns.LAYER: TEXT, "overflow_fraction": KNOWN, "underflow_fraction": KNOWN}


def number(value: float) -> float | str:
    """A float as JSON takes it."""
    return values.encode(float(value)) if value == value and abs(value) != float("inf") else str(float(value))


def score(found: Score | None) -> dict | None:
    if found is None:
        return None
    samples, weights = (None if v is None else list(v) for v in (found.per_sample, found.weights))
    kept = {"value": found.value, "n": found.n, "per_sample": samples, "higher_is_better": found.higher_is_better}
    return kept | ({"weights": weights, "mean": found.mean} if found.is_mean else {})


def read_score(stored: dict | None, source: Source) -> Score | None:
    if stored is None:
        return None
    given = {name: stored.get(name) for name in ("per_sample", "weights")}
    known = {name: None if v is None else tables.numbers(v, source) for name, v in given.items()}
    return source.made(Score, **stored | known)


def drop(found: Drop | None) -> dict | None:
    if found is None:
        return None
    p_value = None if found.p_value is None else number(found.p_value)
    return {
        "value": number(found.value),
        "low": number(found.low),
        "high": number(found.high),
        "paired": bool(found.paired),
        "p_value": p_value,
    }


def read_drop(stored: dict | None) -> Drop | None:
    if stored is None:
        return None
    ends = {name: float(stored[name]) for name in ("value", "low", "high")}
    return Drop(**stored | ends | {"p_value": None if stored["p_value"] is None else float(stored["p_value"])})


def next_step(found: NextStep) -> dict:
    return {
        name: values.encode(getattr(found, name)) for name in ("title", "reason", "code", "run", "deploy", "recover")
    }


def read_next_step(stored: dict, source: Source, variable: str) -> NextStep:
    calls = {name: values.decode(stored[name], source) for name in ("run", "deploy", "recover")}
    return NextStep(**stored | calls | {"code": checked(stored["code"], variable)})


def result(found: Result) -> dict:
    """A recovery method's result."""
    return {
        "method": found.method,
        "table": tables.pack(found.table),
        "history": tables.pack(found.history),
        "options": values.encode(found.options),
        "seconds": found.seconds,
        "notes": list(found.notes),
        "output_before_db": number(found.output_before_db),
        "output_after_db": number(found.output_after_db),
        "tables": {name: tables.pack(t) for name, t in found.tables.items()},
    }


def read_result(stored: dict, source: Source) -> Result:
    table = tables.unpack(stored["table"], source)
    tables.check(table, {name: NUMBER for name in table.columns if name.endswith("_db")}, source)
    return Result(
        **stored
        | {
            "table": table,
            "history": tables.unpack(stored["history"], source),
            "options": values.decode(stored["options"], source),
            "notes": tuple(stored["notes"]),
            "output_before_db": float(stored["output_before_db"]),
            "output_after_db": float(stored["output_after_db"]),
            "tables": {name: tables.unpack(t, source) for name, t in stored["tables"].items()},
        }
    )


def settings(found: dict[str, Any]) -> dict[str, Any]:
    return {name: dict(v) if name in _AS_THEY_ARE else values.encode(v) for name, v in found.items()}


def read_settings(stored: dict, source: Source) -> dict[str, Any]:
    if stored.get("from") == FP32:
        raise source.error(f"a run that was recovered from {FP32!r}")
    return {name: v if name in _AS_THEY_ARE else values.decode(v, source) for name, v in stored.items()}


def pack(run: Run, sim: int | None) -> dict[str, Any]:
    return {
        "name": run.name,
        "precision": run.precision,
        "score": score(run.score),
        "drop": drop(run.drop),
        "verdict": {"status": run.verdict.status, "text": run.verdict.text},
        "size_bytes": int(run.size_bytes),
        "activation_bytes": int(run.activation_bytes),
        "output_sqnr_db": number(run.output_sqnr_db),
        "seconds": run.seconds,
        "settings": settings(run.settings),
        "cost": tables.pack(run.cost),
        "comparison": tables.pack(run.comparison),
        "float16": tables.pack(run.float16),
        "attempts": tables.pack(run.attempts),
        "recovery": [result(r) for r in run.recovery],
        "next_steps": [next_step(a) for a in run.next_steps],
        "sim": sim,
        **({} if run.clipping is None else {"clipping": tables.pack(run.clipping)}),
    }


def unpack(stored: dict, sim: QuantSim | None, source: Source, variable: str) -> Run:
    """The run of what `RUN` allows; ``sim`` is what was read of its file.

    Raises:
        FileError: parts that do not match.
    """
    if stored["name"] == FP32 != stored["precision"]:
        raise source.error(f"a run {FP32!r} of precision {stored['precision'][:80]!r}")
    comparison = tables.maybe(stored["comparison"], source, COMPARISON)
    layers = None if sim is None else [group.layer for group in sim.groups]
    if (comparison is None) != (sim is None) or (stored["drop"] is None) != (sim is None):
        raise source.error(f"run {stored['name'][:80]!r}, which lacks a simulation, or figures of it")
    if comparison is not None and (list(comparison.layer) != layers or (layers and comparison[OWN].isna().all())):  # pyright: ignore[reportGeneralTypeIssues]
        raise source.error(f"run {stored['name'][:80]!r} with figures of other layers than its simulation has")
    return Run(
        stored["name"],
        stored["precision"],
        read_score(stored["score"], source),
        Verdict(**stored["verdict"]),
        tables.unpack(stored["cost"], source, _COST),
        stored["size_bytes"],
        stored["activation_bytes"],
        drop=read_drop(stored["drop"]),
        comparison=comparison,
        sim=sim,
        output_sqnr_db=float(stored["output_sqnr_db"]),
        float16=tables.maybe(stored["float16"], source, _FLOAT16),
        clipping=_clipping(stored.get("clipping"), sim, source),
        recovery=tuple(read_result(r, source) for r in stored["recovery"]),
        attempts=tables.maybe(stored["attempts"], source, _ATTEMPTS),
        settings=read_settings(stored["settings"], source),
        seconds=stored["seconds"],
        next_steps=tuple(read_next_step(a, source, variable) for a in stored["next_steps"]),
    )


def _clipping(stored: dict | None, sim: QuantSim | None, source: Source) -> pd.DataFrame | None:
    """What an evaluation clipped, where the file says it: shares, 0 to 1, of layers that the simulation has."""
    found = tables.maybe(stored, source, _CLIPPING)
    if found is None:
        return None
    layers = set() if sim is None else {layer for layer, *_ in sim.sites()}
    if not (found.layer.isin(layers) & found.kind.isin(KINDS) & found.clipped_fraction.between(0, 1)).all():
        raise source.error("shares of clipped values that are none, or of other layers than the simulation has")
    return found
