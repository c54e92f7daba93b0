"""What a ``.qnb`` file's JSON is made of: frames, scores, drops; and deployments and performance out of these."""

from __future__ import annotations

import math
from dataclasses import asdict

import pandas as pd

from qnb.measures import Score
from qnb.measures.score import Drop
from qnb.methods import Result
from qnb.runtimes import Latency
from qnb.workflow.deployment import Deployment, OnRuntime
from qnb.workflow.performance import Performance


def plain(value):
    """JSON has no NaN and no infinity: they travel as text; what is missing as null."""
    if value is pd.NA:
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value.item() if hasattr(value, "item") else value


def number(value):
    return float(value) if value in ("nan", "inf", "-inf") else value


def frame(frame: pd.DataFrame | None) -> dict | None:
    if frame is None:
        return None
    return {c: [plain(v) for v in frame[c].tolist()] for c in frame.columns}


def read_frame(stored: dict | None) -> pd.DataFrame | None:
    if stored is None:
        return None
    return pd.DataFrame({c: [number(v) for v in values] for c, values in stored.items()})


def result(found: Result) -> dict:
    """A recovery method's result; options are plain already."""
    return _fields(found) | {"table": frame(found.table), "history": frame(found.history),
                             "tables": {name: frame(t) for name, t in found.tables.items()},
                             "notes": list(found.notes), "output_before_db": plain(found.output_before_db),
                             "output_after_db": plain(found.output_after_db)}  # fmt: skip


def read_result(stored: dict) -> Result:
    return Result(**stored | {"table": read_frame(stored["table"]), "history": read_frame(stored["history"]),
                              "tables": {name: read_frame(t) for name, t in stored.get("tables", {}).items()},
                              "notes": tuple(stored["notes"]), "output_before_db": number(stored["output_before_db"]),
                              "output_after_db": number(stored["output_after_db"])})  # fmt: skip


def drop(drop: Drop | None) -> dict | None:
    if drop is None:
        return None
    return {k: plain(getattr(drop, k)) for k in ("value", "low", "high", "paired", "p_value")}


def read_drop(stored: dict | None) -> Drop | None:
    return stored and Drop(**{k: number(v) for k, v in stored.items()})


def _maybe(what, stored: dict | None):
    return None if stored is None else what(**stored)


def _fields(value) -> dict:
    """A dataclass's fields as they are, not their fields in turn."""
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def deployment(found: Deployment) -> dict:
    return _fields(found) | {"files": frame(found.files), "reference": asdict(found.reference),
                             "runtimes": [_on_runtime(r) for r in found.runtimes]}  # fmt: skip


def _on_runtime(on: OnRuntime) -> dict:
    return _fields(on) | {
        "fidelity": frame(on.fidelity), "exact": frame(on.exact), "score": on.score and asdict(on.score),
        "drop": drop(on.drop), "elsewhere": list(on.elsewhere), "latency": on.latency and asdict(on.latency),
    }  # fmt: skip


def read_deployment(stored: dict) -> Deployment:
    return Deployment(**stored | {"files": read_frame(stored["files"]), "reference": Score(**stored["reference"]),
                                  "runtimes": tuple(_read_on_runtime(r) for r in stored["runtimes"])})  # fmt: skip


def _read_on_runtime(stored: dict) -> OnRuntime:
    return OnRuntime(**stored | {
        "fidelity": read_frame(stored["fidelity"]), "exact": read_frame(stored["exact"]),
        "score": _maybe(Score, stored["score"]), "drop": read_drop(stored["drop"]),
        "elsewhere": tuple(stored["elsewhere"]), "latency": _maybe(Latency, stored["latency"]),
    })  # fmt: skip


def performance(found: Performance) -> dict:
    return asdict(found)


def read_performance(stored: dict) -> Performance:
    return Performance(stored["file_bytes"], _maybe(Latency, stored["latency"]), stored["note"])
