"""A workflow as one ``.qnb`` file: a zip with ``workflow.json`` (everything a reader shows) ``document.json``
(the same as a page, see `qnb.document`) and a file per simulation (safetensors). Reading runs no code from the file."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import asdict
from pathlib import Path

from qnb import targets
from qnb.errors import FileError, InputError, QnbError
from qnb.measures import Score
from qnb.sim import storage as sims
from qnb.workflow import documents, packing
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
                  "runs": [_pack(run) for run in flow.runs.values()],
                  "deployments": [packing.deployment(d) for d in flow.deployments.values()],
                  "performance": {n: packing.performance(p) for n, p in flow.performance.items()}}  # fmt: skip
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
            flow.deployments |= {d["run"]: packing.read_deployment(d) for d in header.get("deployments", ())}
            flow.performance |= {n: packing.read_performance(p) for n, p in header.get("performance", {}).items()}
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
    return {
        "name": run.name, "precision": run.precision, "score": asdict(run.score), "drop": packing.drop(run.drop),
        "verdict": {"state": run.verdict.state, "text": run.verdict.text},
        "size_bytes": run.size_bytes, "activation_bytes": run.activation_bytes,
        "output_sqnr_db": packing.plain(run.output_sqnr_db), "seconds": run.seconds,
        "settings": run.settings, "cost": packing.frame(run.cost), "comparison": packing.frame(run.comparison),
        "float16": packing.frame(run.float16), "attempts": packing.frame(run.attempts),
        "recovery": [packing.result(r) for r in run.recovery],
    }  # fmt: skip


def _unpack(stored: dict, sim) -> Run:
    return Run(
        stored["name"], stored["precision"], Score(**stored["score"]), Verdict(**stored["verdict"]),
        packing.read_frame(stored["cost"]), stored["size_bytes"], stored.get("activation_bytes", 0),
        drop=packing.read_drop(stored["drop"]), comparison=packing.read_frame(stored["comparison"]),
        sim=sim, output_sqnr_db=packing.number(stored["output_sqnr_db"]), float16=packing.read_frame(stored["float16"]),
        recovery=tuple(packing.read_result(r) for r in stored.get("recovery", ())),
        attempts=packing.read_frame(stored.get("attempts")), settings=stored["settings"], seconds=stored["seconds"],
    )  # fmt: skip
