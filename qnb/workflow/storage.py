"""A workflow as one ``.qnb`` file: a zip with ``workflow.json`` (everything a reader shows) ``document.json``
(the same as a page, see `qnb.document`) and a file per simulation (safetensors). Reading runs no code from the file."""

from __future__ import annotations

import io
import json
import math
import zipfile
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from qnb import targets
from qnb.errors import FileError, InputError, QnbError
from qnb.measures import Score
from qnb.measures.score import Drop
from qnb.sim import storage as sims
from qnb.workflow import documents
from qnb.workflow.run import Run
from qnb.workflow.verdict import Verdict
from qnb.workflow.workflow import Workflow

FORMAT, VERSION = "qnb.workflow", 1


def save(flow: Workflow, path) -> None:
    """Write all runs of ``flow``; the file is replaced as a whole or not at all."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        header = {"format": FORMAT, "version": VERSION, "model": flow.captured.name, "target": flow.target.name,
                  "tolerance": flow.tolerance, "method": flow.method, "seed": flow.seed,
                  "runs": [_pack(run) for run in flow.runs.values()]}  # fmt: skip
        archive.writestr("workflow.json", json.dumps(header, allow_nan=False, indent=1))
        archive.writestr("document.json", json.dumps(documents.dashboard(flow).json(), allow_nan=False))
        for index, run in enumerate(flow.runs.values()):
            if run.sim is not None:
                archive.writestr(f"sims/{index}.safetensors", sims.dumps(run.sim))
    sims.write_atomically(path, buffer.getvalue())


def load(path, *, model=None, calibration=None, evaluate=None) -> Workflow:
    """Read what ``Workflow.save`` wrote: all results, to look at and compare.

    Args:
        path: of the ``.qnb`` file.
        model, calibration, evaluate: to run more steps; without them the workflow is read-only.

    Raises:
        FileError: the file is missing, damaged, or of another kind.
    """
    operation, remedy = f"qnb.load({str(path)!r})", "save the workflow again with flow.save(path)"
    try:
        with zipfile.ZipFile(Path(path)) as archive:
            header = json.loads(archive.read("workflow.json"))
            if header.get("format") != FORMAT or header.get("version", 0) > VERSION:
                raise FileError(operation, "not a workflow of this version of qnb", "update qnb")
            flow = _empty(header, model, calibration, evaluate)
            for index, stored in enumerate(header["runs"]):
                name = f"sims/{index}.safetensors"
                sim = sims.loads(archive.read(name), operation) if name in archive.namelist() else None
                run = _unpack(stored, sim)
                flow.runs[run.name] = run
                if sim is not None and flow._captured is None:
                    flow._captured = sim.captured
    except QnbError:
        raise
    except OSError as error:
        raise FileError(operation, str(error), "check the path") from error
    except Exception as error:
        raise FileError(operation, f"the file is damaged or no .qnb file ({type(error).__name__}: {error})",
                        remedy) from error  # fmt: skip
    return flow


def _empty(header: dict, model, calibration, evaluate) -> Workflow:
    given = (model, calibration, evaluate)
    kept = {"tolerance": header["tolerance"], "target": header["target"], "method": header["method"],
            "seed": header["seed"]}  # fmt: skip
    if all(part is not None for part in given):
        return Workflow(model, calibration, evaluate, **kept)
    if any(part is not None for part in given):
        raise InputError("qnb.load", "only some of model, calibration and evaluate", "pass all three, or none")
    flow = Workflow.__new__(Workflow)
    flow._begin()
    flow.model = flow.example_inputs = flow.dynamic_shapes = flow.evaluate = None
    flow.calibration = ()
    flow.tolerance, flow.method, flow.seed = header["tolerance"], header["method"], header["seed"]
    flow.target = targets.get(header["target"])
    return flow


def _pack(run: Run) -> dict:
    score = asdict(run.score)
    drop = None if run.drop is None else {k: _plain(getattr(run.drop, k)) for k in
                                          ("value", "low", "high", "paired", "p_value")}  # fmt: skip
    return {
        "name": run.name, "precision": run.precision, "score": score, "drop": drop,
        "verdict": {"state": run.verdict.state, "text": run.verdict.text},
        "size_bytes": run.size_bytes, "activation_bytes": run.activation_bytes,
        "output_sqnr_db": _plain(run.output_sqnr_db), "seconds": run.seconds,
        "settings": run.settings, "cost": _frame(run.cost), "comparison": _frame(run.comparison),
        "float16": _frame(run.float16),
    }  # fmt: skip


def _plain(value):
    """JSON has no NaN and no infinity: they travel as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value.item() if hasattr(value, "item") else value


def _number(value):
    return float(value) if value in ("nan", "inf", "-inf") else value


def _frame(frame: pd.DataFrame | None) -> dict | None:
    if frame is None:
        return None
    return {c: [_plain(v) for v in frame[c].tolist()] for c in frame.columns}


def _read_frame(stored: dict | None) -> pd.DataFrame | None:
    if stored is None:
        return None
    return pd.DataFrame({c: [_number(v) for v in values] for c, values in stored.items()})


def _unpack(stored: dict, sim) -> Run:
    drop = stored["drop"] and Drop(**{k: _number(v) for k, v in stored["drop"].items()})
    return Run(
        stored["name"], stored["precision"], Score(**stored["score"]), Verdict(**stored["verdict"]),
        _read_frame(stored["cost"]), stored["size_bytes"], stored.get("activation_bytes", 0), drop=drop,
        comparison=_read_frame(stored["comparison"]),
        sim=sim, output_sqnr_db=_number(stored["output_sqnr_db"]), float16=_read_frame(stored["float16"]),
        settings=stored["settings"], seconds=stored["seconds"],
    )  # fmt: skip
