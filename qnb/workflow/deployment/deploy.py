"""Write a run's files, run them on real runtimes, and compare with what the simulation predicted."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from qnb import columns
from qnb.export import export_encodings, export_onnx
from qnb.export.onnx.file import default_form
from qnb.progress import Report
from qnb.runtimes import RUNTIMES
from qnb.sim import QuantSim
from qnb.workflow.deployment import commands, device_inputs, on_runtime
from qnb.workflow.deployment.order import Order
from qnb.workflow.deployment.performance import file_bytes, sim_of
from qnb.workflow.deployment.result import Deployment
from qnb.workflow.deployment.staging import staged
from qnb.workflow.jobs.progress import shown

if TYPE_CHECKING:
    from qnb.workflow.workflow import Workflow


def deploy(flow: Workflow, wanted: Order, progress: Report | None) -> Deployment:
    """Files first, into a hidden folder; they are moved to their place when all is done."""
    start = time.perf_counter()
    with shown(f"flow.deploy({wanted.run.name!r})", progress) as report, staged(wanted.folder) as stage:
        files = _write(flow, wanted, stage, report)
        found = tuple(on_runtime.run(flow, wanted, r, stage, files, report) for r in wanted.runtimes)
        table = _table(files, wanted.runtimes)
        text = commands.text(flow, wanted, files)
        (stage / "commands.sh").write_text(text)
    return Deployment(
        wanted.run.name,
        wanted.run.precision,
        flow.target.name,
        wanted.soc.soc,
        str(wanted.folder),
        table,
        found,
        text,
        flow["fp32"].score,
        time.perf_counter() - start,
        {"integer_io": wanted.integer_io, "samples": wanted.samples},
    )


def _write(flow: Workflow, wanted: Order, stage: Path, report: Report) -> dict[str, Path]:
    """Role -> file, see `WHAT`."""
    sim, stem = sim_of(flow, wanted.run), wanted.stem
    quantized = default_form(sim) == "qdq"
    steps = {"model": lambda p: export_onnx(sim, p, integer_io=wanted.integer_io)}
    if any(RUNTIMES[name].file == "static" for name in wanted.runtimes):
        form = "qdq" if quantized else "fp32"  # HTP computes floats in FP16 whatever the file says
        steps["static"] = lambda p: export_onnx(sim, p, form=form, batch=_batch(sim), integer_io=wanted.integer_io)
    if quantized:
        steps["float"] = lambda p: export_onnx(sim, p, form="fp32", batch=_batch(sim))
        steps["encodings"] = lambda p: export_encodings(sim, p)
    names = {
        "model": f"{stem}.onnx",
        "static": f"{stem}-{wanted.soc.soc}.onnx",
        "float": f"{stem}-float.onnx",
        "encodings": f"{stem}.encodings",
    }
    files = {}
    for index, (role, write) in enumerate(steps.items()):
        report(index, len(steps), f"writing {names[role]}")
        files[role] = stage / names[role]
        write(files[role])
    files |= commands.write_settings(wanted, stage)
    report(len(steps), len(steps), "writing samples for the device")
    return files | device_inputs.write(flow, sim, stage, stem, wanted.samples, wanted.integer_io)


def _batch(sim: QuantSim) -> int | None:
    """1 where the capture lets the batch vary."""
    first = next((i.shape[0] for i in sim.captured.inputs if i.shape), None)
    return 1 if isinstance(first, str) else None


WHAT = {
    "model": "ONNX for ONNX Runtime, dynamic batch",
    "static": "ONNX for {}, batch 1",
    "float": "float ONNX for qairt-converter",
    "encodings": "quantization overrides for it",
    "settings": "which SoC to compile for",
    "extensions": "where the SDK finds that",
    "inputs": f"samples for the device, as {device_inputs.LIST} lists them",
    "expected": "what the simulation makes of them",
    "context": "context binary's ONNX wrapper",
    "binary": "context binary: what the device loads",
}


def _table(files: dict[str, Path], runtimes: Iterable[str]) -> pd.DataFrame:
    """A row per file, and one per folder with all that is in it."""
    fixed = ", ".join(r.title for r in map(RUNTIMES.__getitem__, runtimes) if r.file == "static")
    rows = [
        (f"{path.parent.name}/{path.name}/" if path.is_dir() else path.name, WHAT[role].format(fixed), _bytes(path))
        for role, path in files.items()
    ]
    return pd.DataFrame(rows, columns=list(columns.FILES))


def _bytes(path: Path) -> int:
    if path.is_dir():
        return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
    return file_bytes(path)
