"""What was found about a model and its runs, apart from the runs themselves, as JSON and back."""

from __future__ import annotations

from dataclasses import asdict

import pandas as pd

from qnb import columns, schema
from qnb.measures import SequenceErrors
from qnb.measures.layers.worst_samples import DTYPES
from qnb.workflow.calibration_curves import RunCalibrationCurve
from qnb.workflow.check import Check, Issue
from qnb.workflow.diagnosis.finding import Diagnosis, Finding
from qnb.workflow.documents.display import SequenceView
from qnb.workflow.guidance.attributions import RunAttribution
from qnb.workflow.recovery.sensitivities import Sensitivity
from qnb.workflow.storage import tables, values
from qnb.workflow.storage.code import checked
from qnb.workflow.storage.runs import number
from qnb.workflow.storage.source import Source
from qnb.workflow.storage.tables import COUNT, FLAG, KNOWN, NUMBER, TEXT
from qnb.workflow.worst_samples import WorstSamples

_ISSUE = schema.record({"tone": {"enum": ["warn", "bad"]}, "text": schema.TEXT})
CHECK = schema.record(
    {
        "model": schema.TEXT,
        "facts": schema.table_of(schema.TEXT) | {"required": ["layers"]},
        "issues": schema.list_of(_ISSUE),
        "ops": values.OBJECT,
        "capture_sqnr_db": schema.NUMBER,
    }
)
SENSITIVITY = schema.record({"run": schema.TEXT, "estimator": schema.TEXT, "table": values.OBJECT})
ATTRIBUTION = schema.record(
    {
        "run": schema.TEXT,
        "table": values.OBJECT,
        "residual": schema.NUMBER,
        "output_sqnr_db": schema.NUMBER,
        "passes": schema.COUNT,
    }
)
SEQUENCE = schema.record(
    {
        "run": schema.TEXT,
        **dict.fromkeys(("positions", "heads", "predictions"), values.OBJECT),
        **dict.fromkeys(("kl_nats", "kl_p95_nats", "top1_agreement"), schema.NUMBER),
    }
)
WORST = schema.record(
    {
        "run": schema.TEXT,
        "by": schema.TEXT,
        "table": values.OBJECT,
        "seen": schema.COUNT,
        "flipped": schema.maybe(schema.COUNT),
        "other_data": schema.FLAG,
    }
)
CALIBRATION_CURVE = schema.record({"run": schema.TEXT, "table": values.OBJECT, "ranges": values.OBJECT})
_CALL = schema.maybe(values.OPTIONS)
_FINDING = schema.record(
    dict.fromkeys(("cause", "evidence", "remedy", "code"), schema.TEXT),
    {
        "layers": schema.list_of(schema.TEXT),
        **dict.fromkeys(("predicted_gain_db", "measured_gain_db", "followed_gain_db"), schema.NUMBER),
        **dict.fromkeys(("name", "followed"), schema.TEXT),
        "metric": schema.maybe(schema.FINITE),
        **dict.fromkeys(("run", "recover"), _CALL),
    },
)
DIAGNOSIS = schema.record(
    {"run": schema.TEXT, "status": schema.TEXT, "verdict": schema.TEXT, "findings": schema.list_of(_FINDING)},
    {"output_sqnr_db": schema.NUMBER, "seconds": schema.FINITE},
)
_GAINS, _CALLS = ("predicted_gain_db", "measured_gain_db", "followed_gain_db"), ("run", "recover")
_OPS = {"op": TEXT, "layers": COUNT, "weights": COUNT}
_SHARES = {c: TEXT if c in (columns.LAYER, columns.OP) else NUMBER for c in columns.ATTRIBUTION}
_WHOLE = ("position", "last_position", "head", "numel", "n")
_SEQUENCE = {
    name: {c: TEXT if c in (columns.LAYER, columns.OP) else COUNT if c in _WHOLE else NUMBER for c in needed}
    for name, needed in (
        ("positions", columns.POSITIONS),
        ("heads", columns.HEADS),
        ("predictions", columns.PREDICTIONS),
    )
}
_WORST = dict.fromkeys(columns.WORST_SAMPLES, COUNT) | dict.fromkeys(
    (columns.SQNR_DB, "mse", "fp32_margin", "quantsim_margin"), NUMBER
)
del _WORST["flipped"]
_CURVE = dict.fromkeys(columns.CALIBRATION_CURVE, KNOWN) | {
    "samples": COUNT,
    columns.SQNR_DB: NUMBER,
    "least_layer": TEXT,
    "enough": FLAG,
}
_CURVE_RANGES = {"samples": COUNT, columns.LAYER: TEXT, columns.KIND: TEXT, "min": KNOWN, "max": KNOWN}
_SCORES = {c: TEXT if c in (columns.LAYER, columns.KIND) else NUMBER for c in columns.SENSITIVITY}


def check(found: Check | None) -> dict | None:
    if found is None:
        return None
    return {
        "model": found.model,
        "facts": dict(found.facts),
        "issues": [asdict(issue) for issue in found.issues],
        "ops": tables.pack(found.ops),
        "capture_sqnr_db": number(found.capture_sqnr_db),
    }


def read_check(stored: dict | None, source: Source) -> Check | None:
    if stored is None:
        return None
    return Check(
        **stored
        | {
            "issues": tuple(Issue(**issue) for issue in stored["issues"]),
            "ops": tables.unpack(stored["ops"], source, _OPS),
            "capture_sqnr_db": float(stored["capture_sqnr_db"]),
        }
    )


def sensitivity(found: Sensitivity) -> dict:
    return {"run": found.run, "estimator": found.estimator, "table": tables.pack(found.table)}


def read_sensitivity(stored: dict, source: Source) -> Sensitivity:
    return Sensitivity(**stored | {"table": tables.unpack(stored["table"], source, _SCORES)})


def attribution(found: RunAttribution) -> dict:
    return {
        "run": found.run,
        "table": tables.pack(found.table),
        "residual": number(found.residual),
        "output_sqnr_db": number(found.output_sqnr_db),
        "passes": found.passes,
    }


def read_attribution(stored: dict, source: Source) -> RunAttribution:
    figures = {name: float(stored[name]) for name in ("residual", "output_sqnr_db")}
    return RunAttribution(**stored | figures | {"table": tables.unpack(stored["table"], source, _SHARES)})


def sequence(found: SequenceView) -> dict:
    kept = {name: tables.pack(getattr(found.errors, name)) for name in _SEQUENCE}
    figures = {name: number(getattr(found.errors, name)) for name in ("kl_nats", "kl_p95_nats", "top1_agreement")}
    return {"run": found.run, **kept, **figures}


def read_sequence(stored: dict, source: Source) -> SequenceView:
    made = {name: tables.unpack(stored[name], source, needed) for name, needed in _SEQUENCE.items()}
    twice = ((made["positions"], "position"), (made["heads"], "head"))
    if any(frame.duplicated([columns.LAYER, column]).any() for frame, column in twice if len(frame)):
        raise source.error("a layer with two errors of one token position, or of one head")
    figures = {name: float(stored[name]) for name in ("kl_nats", "kl_p95_nats", "top1_agreement")}
    return SequenceView(stored["run"], SequenceErrors(**made, **figures))


def calibration_curve(found: RunCalibrationCurve) -> dict:
    return {"run": found.run, "table": tables.pack(found.table), "ranges": tables.pack(found.ranges)}


def read_calibration_curve(stored: dict, source: Source) -> RunCalibrationCurve:
    table = tables.unpack(stored["table"], source, _CURVE, rows=1)
    ranges = tables.unpack(stored["ranges"], source, _CURVE_RANGES)
    if not table["samples"].is_monotonic_increasing or table["samples"].duplicated().any():
        raise source.error("counts of calibration samples that do not grow")
    if len(ranges) and ranges.duplicated([columns.LAYER, columns.KIND, "samples"]).any():
        raise source.error("a layer with two ranges of one count of calibration samples")
    return RunCalibrationCurve(table, ranges, stored["run"])


def worst(found: WorstSamples) -> dict:
    """The figures and the samples' numbers; the samples, and what shows them, stay with the user."""
    kept = {name: getattr(found, name) for name in ("run", "by", "seen", "flipped", "other_data")}
    return kept | {"table": tables.pack(found.table)}


def read_worst(stored: dict, source: Source, variable: str) -> WorstSamples:
    table = tables.unpack(stored["table"], source, _WORST)
    if "flipped" not in table or not all(v is pd.NA or isinstance(v, bool) for v in table["flipped"]):
        raise source.error("samples whose column 'flipped' is not yes or no")
    if max(len(table), stored["flipped"] or 0) > stored["seen"]:
        raise source.error("more of the worst samples than there were samples")
    table = table[list(columns.WORST_SAMPLES)].astype(DTYPES)
    return WorstSamples(**stored | {"table": table}, inputs=(), views=(), variable=variable)


def diagnosis(found: Diagnosis) -> dict:
    return {
        "run": found.run,
        "status": found.status,
        "verdict": found.verdict,
        "findings": [_finding(f) for f in found.findings],
        "output_sqnr_db": number(found.output_sqnr_db),
        "seconds": found.seconds,
    }


def _finding(found: Finding) -> dict:
    kept = vars(found) | {name: number(getattr(found, name)) for name in _GAINS}
    calls = {name: values.encode(kept[name]) for name in _CALLS}
    return kept | calls | {"layers": list(found.layers)}


def _call(arguments: dict | None, code: str) -> dict | None:
    """Of a step's arguments those that a button may use: with code that passed, and no path to write to."""
    return arguments if code and arguments and "cache" not in arguments else None


def read_diagnosis(stored: dict, source: Source, variable: str) -> Diagnosis:
    """A call that is no plain call of a step of the workflow is left out, as its code is."""
    made = []
    for line in stored["findings"]:
        code = checked(line["code"], variable)
        calls = {name: _call(values.decode(line.get(name), source), code) for name in _CALLS}
        gains = {name: float(line[name]) for name in _GAINS if name in line}
        made.append(Finding(**line | calls | gains | {"code": code, "layers": tuple(line.get("layers", ()))}))
    figures = {"output_sqnr_db": float(stored["output_sqnr_db"])} if "output_sqnr_db" in stored else {}
    return Diagnosis(**stored | figures | {"findings": tuple(made)})
