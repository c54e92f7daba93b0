"""Files of version 1: each simulation held the whole model, and there were fewer results."""

from __future__ import annotations

from typing import Any

from qnb import schema
from qnb.graph.serialize import from_json
from qnb.sim import storage as sims
from qnb.targets import TARGETS
from qnb.targets import stored as targets
from qnb.workflow.storage import archive, runs, values
from qnb.workflow.storage.contents import VERSION
from qnb.workflow.storage.simulations import Simulations
from qnb.workflow.storage.source import Source

_FRAME = schema.maybe(schema.table_of({"type": "array", "maxItems": schema.MANY}))
_RESULT = values.OBJECT | {
    "properties": {"table": _FRAME, "history": _FRAME, "tables": schema.table_of(_FRAME)},
    "required": ["table", "history"],
}
_RUN = values.OBJECT | {
    "properties": {
        "cost": _FRAME,
        "comparison": _FRAME,
        "float16": _FRAME,
        "attempts": _FRAME,
        "recovery": schema.list_of(_RESULT),
        "settings": values.OBJECT | {"properties": {"layers": values.OBJECT, "methods": values.OBJECT}},
    },
    "required": ["cost", "comparison", "float16", "settings"],
}
_RUNTIME = values.OBJECT | {"properties": {"fidelity": _FRAME, "exact": _FRAME}, "required": ["fidelity", "exact"]}
_DEPLOYMENT = values.OBJECT | {
    "properties": {"files": _FRAME, "runtimes": schema.list_of(_RUNTIME)},
    "required": ["files", "runtimes", "settings"],
}
SCHEMA = schema.record(
    {
        "format": schema.TEXT,
        "version": schema.COUNT,
        "model": schema.TEXT,
        "target": schema.TEXT,
        "tolerance": schema.FINITE,
        "method": schema.TEXT,
        "seed": schema.WHOLE,
        "runs": schema.list_of(_RUN, 10_000),
    },
    {"deployments": schema.list_of(_DEPLOYMENT), "performance": values.OBJECT},
)
"""As far as it is read here; what comes of it is checked as content of today's version."""


def upgraded(content: dict[str, Any], reader: archive.Reader, source: Source) -> dict[str, Any]:
    """Content in the form of today's version; it is checked as such by whoever asks."""
    source.check(content, SCHEMA)
    if content["target"] not in TARGETS:
        raise source.error(f"a workflow for target {content['target'][:80]!r}, which this qnb does not have")
    unknown = {"date": "", "qnb": "", "torch": "", "python": ""}
    return (
        {"performance": {}}
        | content
        | {
            "version": VERSION,
            "written": unknown,
            "target": targets.to_json(TARGETS[content["target"]]),
            "forwards": None,
            "check": None,
            "proposal": None,
            "sensitivities": [],
            "fronts": [],
            "diagnoses": [],
            "runs": [_run(r, number, reader) for number, r in enumerate(content["runs"])],
            "deployments": [_deployment(d) for d in content.get("deployments", ())],
        }
    )


def _run(stored: dict, number: int, reader: archive.Reader) -> dict:
    frames = {name: _frame(stored.get(name)) for name in ("cost", "comparison", "float16", "attempts")}
    recovery = [_result(r) for r in stored.get("recovery", ())]
    return (
        {"activation_bytes": 0}
        | stored
        | frames
        | {
            "recovery": recovery,
            "next": [],
            "settings": runs.settings(stored["settings"]),
            "sim": number if archive.SIM.format(number) in reader else None,
        }
    )


def _result(stored: dict) -> dict:
    tables = {name: _frame(table) for name, table in stored.get("tables", {}).items()}
    return stored | {
        "table": _frame(stored["table"]),
        "history": _frame(stored["history"]),
        "tables": tables,
        "options": values.encode(stored.get("options")),
    }


def _deployment(stored: dict) -> dict:
    runtimes = [r | {name: _frame(r[name]) for name in ("fidelity", "exact")} for r in stored["runtimes"]]
    settings = values.encode(stored["settings"])
    return stored | {"files": _frame(stored["files"]), "runtimes": runtimes, "settings": settings}


def _frame(stored: dict | None) -> dict | None:
    """Columns by name, whose dtypes have to be guessed."""
    if stored is None:
        return None
    return {"columns": [{"name": n, "dtype": "guess", "values": cells} for n, cells in stored.items()]}


class Simulations1(Simulations):
    """Each held the whole model. That of the first which no method has changed is kept, once."""

    def __init__(self, reader: archive.Reader, source: Source, numbers: list[int]):
        super().__init__(reader, source, None)
        self._graph, self._tensors = None, {}
        parts = (self._parts(number) for number in numbers)
        first = next((p for p in parts if not p[0]["applied"]), None) or (self._parts(numbers[0]) if numbers else None)
        if first is not None:
            header, tensors = first
            reference = {n: t for n, t in tensors.items() if n.startswith("reference/")}
            captured = from_json(header.get("graph"), {n.removeprefix("reference/"): t for n, t in reference.items()})
            self._graph, self._tensors = header["graph"], reference
            self._stand_on(captured)

    def _parts(self, number: int) -> tuple[dict, sims.Tensors]:
        data = self.reader.tensors(archive.SIM.format(number), packed=True)
        header, tensors = sims.read(data, self.source.operation, self.source.remedy)
        if self._graph is not None and header.get("graph") == self._graph:
            header = {name: value for name, value in header.items() if name != "graph"}
            known = self._tensors
            tensors = {n: t for n, t in tensors.items() if n not in known or not sims.same(t, known[n])}
        return header, tensors
