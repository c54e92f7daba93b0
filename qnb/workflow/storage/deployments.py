"""What was deployed and measured, as JSON and back."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from typing import Any

from qnb import schema
from qnb.columns import LAYER, OP, SQNR_DB
from qnb.runtimes import Latency, differences, wiring
from qnb.runtimes.differences import Difference
from qnb.workflow.deployment.performance import Performance
from qnb.workflow.deployment.result import DISAGREES, Deployment, RuntimeResult
from qnb.workflow.precisions import bits
from qnb.workflow.storage import tables, values
from qnb.workflow.storage.runs import DROP, SCORE, TABLE, drop, number, read_drop, read_score, score
from qnb.workflow.storage.source import Source
from qnb.workflow.storage.tables import COUNT, NUMBER, TEXT

_MS = schema.FINITE | {"minimum": 0}
LATENCY = schema.maybe(
    schema.record(
        {
            "median_ms": _MS,
            "low_ms": _MS,
            "high_ms": _MS,
            "runs": schema.COUNT,
            "threads": schema.maybe(schema.COUNT),
            "runtime": schema.TEXT,
        }
    )
)
_WORDS = ("output", "part", "why", "layer", "op")
_DIFFERENCE = schema.record(
    dict.fromkeys(_WORDS, schema.TEXT)
    | dict.fromkeys(("sqnr_db", "expected_db", "equal_fraction", "layer_db", "input_db"), schema.NUMBER)
)
_RUNTIME = schema.record(
    {
        "runtime": schema.TEXT,
        "title": schema.TEXT,
        "status": schema.TEXT,
        "note": schema.TEXT,
        "fidelity": TABLE,
        "exact": TABLE,
        "score": schema.maybe(SCORE),
        "drop": schema.maybe(DROP),
        "placement": schema.table_of(schema.COUNT),
        "fallback_nodes": schema.list_of(schema.TEXT),
        "latency": LATENCY,
    },
    {"differences": schema.list_of(_DIFFERENCE), "known": schema.list_of(schema.TEXT)},
)
"""Without ``differences`` and ``known``: from a time when neither was looked for."""
DEPLOYMENT = schema.record(
    {
        "run": schema.TEXT,
        "precision": schema.TEXT,
        "target": schema.TEXT,
        "soc": schema.TEXT,
        "folder": schema.TEXT,
        "files": values.OBJECT,
        "runtimes": schema.list_of(_RUNTIME),
        "commands": schema.TEXT,
        "reference": SCORE,
        "seconds": schema.FINITE,
        "settings": values.OPTIONS,
    }
)
PERFORMANCE = schema.record({"file_bytes": schema.COUNT, "latency": LATENCY, "note": schema.TEXT})
_FILES = {"file": TEXT, "what": TEXT, "size_bytes": COUNT}
_EXACT = {LAYER: TEXT, OP: TEXT, "equal_fraction": NUMBER}
_FIDELITY = _EXACT | {SQNR_DB: NUMBER, "top1_agreement": NUMBER}


def _fields(value) -> dict[str, Any]:
    """A dataclass's fields as they are, not their fields in turn."""
    return {field.name: getattr(value, field.name) for field in fields(value)}


def deployment(found: Deployment) -> dict:
    return _fields(found) | {
        "files": tables.pack(found.files),
        "reference": score(found.reference),
        "runtimes": [_on_runtime(r) for r in found.runtimes],
        "settings": values.encode(found.settings),
    }


def _on_runtime(on: RuntimeResult) -> dict:
    return _fields(on) | {
        "fidelity": tables.pack(on.fidelity),
        "exact": tables.pack(on.exact),
        "score": score(on.score),
        "drop": drop(on.drop),
        "fallback_nodes": list(on.fallback_nodes),
        "known": list(on.known),
        "latency": on.latency and asdict(on.latency),
        "differences": [
            {k: number(v) if isinstance(v, float) else v for k, v in vars(d).items()} for d in on.differences
        ],
    }


def read_deployment(stored: dict, source: Source) -> Deployment:
    return Deployment(
        **stored
        | {
            "files": tables.unpack(stored["files"], source, _FILES, rows=1),
            "reference": read_score(stored["reference"], source),
            "runtimes": tuple(_judged(_read_on_runtime(r, source), r, stored["precision"]) for r in stored["runtimes"]),
            "settings": values.decode(stored["settings"], source),
        }
    )


def _read_on_runtime(stored: dict, source: Source) -> RuntimeResult:
    return RuntimeResult(
        **stored
        | {
            "fidelity": tables.maybe(stored["fidelity"], source, _FIDELITY),
            "exact": tables.maybe(stored["exact"], source, _EXACT),
            "score": read_score(stored["score"], source),
            "drop": read_drop(stored["drop"]),
            "fallback_nodes": tuple(stored["fallback_nodes"]),
            "latency": _latency(stored["latency"]),
            "differences": tuple(_difference(d) for d in stored.get("differences", ())),
            "known": tuple(stored.get("known", ())),
        }
    )


def _difference(stored: dict) -> Difference:
    return Difference(**{k: v if k in _WORDS else float(v) for k, v in stored.items()})


def _judged(on: RuntimeResult, stored: dict, precision: str) -> RuntimeResult:
    """A runtime of a file that does not say where it disagrees: judged by its table, layers taken as a row."""
    if on.fidelity is not None and "differences" not in stored:
        layers = on.fidelity.layer[on.fidelity.op != "output"].tolist()
        row = wiring.in_a_row(layers, len(on.output), bits(precision)[1])
        on = replace(on, differences=differences.find(on.fidelity, row))
    return replace(on, status=DISAGREES) if on.disagreement is not None else on


def _latency(stored: dict | None) -> Latency | None:
    return None if stored is None else Latency(**stored)


def performance(found: Performance) -> dict:
    return asdict(found)


def read_performance(stored: dict) -> Performance:
    return Performance(stored["file_bytes"], _latency(stored["latency"]), stored["note"])
