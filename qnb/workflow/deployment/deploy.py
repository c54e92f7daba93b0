"""Write a run's files, run them on real runtimes, and compare with what the simulation predicted."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from qnb import columns
from qnb.arguments import flag, one_of, whole
from qnb.errors import FileError, InputError
from qnb.export import export_encodings, export_onnx
from qnb.export.onnx.file import default_form
from qnb.runtimes import RUNTIMES as ALL_RUNTIMES
from qnb.runtimes import soc as socs
from qnb.sim import QuantSim
from qnb.workflow.deployment import commands, device_inputs, on_runtime
from qnb.workflow.deployment.performance import check_threads, file_bytes, sim_of
from qnb.workflow.deployment.result import Deployment
from qnb.workflow.deployment.staging import check_ours, staged
from qnb.workflow.jobs.progress import shown
from qnb.workflow.results import check_has_data

RUNTIMES = ("onnxruntime", "htp")
"""Those that the deploy panel offers; `qnb.runtimes.RUNTIMES` holds all."""


@dataclass(frozen=True)
class Order:
    """What a deployment is asked for, checked before any work.

    Args:
        run: a `Run`.
        samples: how many the layers are compared on.
        evaluate: None lets an emulator evaluate where that takes less than two minutes.
    """

    run: Any
    folder: Path
    runtimes: tuple[str, ...]
    soc: socs.Soc
    samples: int
    evaluate: bool | None
    integer_io: bool
    threads: int | None

    @property
    def stem(self) -> str:
        """The run's name as a file name."""
        return re.sub(r"[^A-Za-z0-9._-]+", "-", self.run.name).strip("-.")[:100] or "model"


def order(
    flow,
    name: str,
    folder,
    runtimes: Iterable[str] | str | None,
    soc: str | None,
    samples: int,
    evaluate: bool | None,
    integer_io: bool,
    threads: int | None,
) -> Order:
    """From what `Workflow.deploy` takes.

    Raises:
        InputError, TargetError, FileError: what is wrong with it.
    """
    operation, run = f"flow.deploy({name!r})", flow[name]
    check_has_data(flow, operation)
    wanted = _runtimes(flow.target, runtimes, operation)
    whole(operation, "samples", samples)
    check_threads(operation, threads)
    for option, value in (("integer_io", integer_io), ("evaluate", evaluate)):
        if value is not None or option == "integer_io":
            flag(operation, option, value)
    chosen = default_soc(flow.target) if soc is None else socs.get(soc)
    form = default_form(sim_of(flow, run))
    if integer_io and form != "qdq":
        raise InputError(operation, f"integer_io=True for {run.precision}", "leave it out: it has no integer codes")
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"{operation} to {folder}", str(error), "choose a folder that can be written") from error
    asked = Order(run, folder, wanted, chosen, samples, evaluate, integer_io, threads)
    replaced = [folder / name / asked.stem for name in (device_inputs.INPUTS, device_inputs.EXPECTED)]
    check_ours(replaced, device_inputs.CONTENTS, operation)
    return asked


def _runtimes(target, wanted: Iterable[str] | str | None, operation: str) -> tuple[str, ...]:
    """Names of the runtimes to run the files on; by default all that suit the target."""
    if wanted is None:
        return tuple(name for name in ALL_RUNTIMES if ALL_RUNTIMES[name].suits(target))
    names = (wanted,) if isinstance(wanted, str) else tuple(wanted)
    if not names:
        raise InputError(operation, "no runtime", f"use some of {', '.join(map(repr, ALL_RUNTIMES))}")
    for name in names:
        if name not in ALL_RUNTIMES:
            one_of(operation, "runtime", name, ALL_RUNTIMES)
    return names


def default_soc(target) -> socs.Soc:
    """The SoC that a target is named after: the first of its architecture in the table."""
    table = socs.socs()
    found = table[table.htp_arch == target.htp_arch].soc.tolist()
    named = [soc for soc in found if soc.startswith("sm8")] or found
    return socs.get(named[0] if named else "sm8650" if target.htp_arch is None else target.name)


def deploy(flow, wanted: Order, progress) -> Deployment:
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


def _write(flow, wanted: Order, stage: Path, report) -> dict[str, Path]:
    """Role -> file, see `WHAT`."""
    sim, stem = sim_of(flow, wanted.run), wanted.stem
    quantized = default_form(sim) == "qdq"
    steps = {"model": lambda p: export_onnx(sim, p, integer_io=wanted.integer_io)}
    if any(ALL_RUNTIMES[name].file == "static" for name in wanted.runtimes):
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
    "model": "ONNX for ONNX Runtime, batch open",
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
    fixed = ", ".join(r.title for r in map(ALL_RUNTIMES.__getitem__, runtimes) if r.file == "static")
    rows = [
        (f"{path.parent.name}/{path.name}/" if path.is_dir() else path.name, WHAT[role].format(fixed), _bytes(path))
        for role, path in files.items()
    ]
    return pd.DataFrame(rows, columns=list(columns.FILES))


def _bytes(path: Path) -> int:
    if path.is_dir():
        return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
    return file_bytes(path)


def samples(flow, count: int) -> list:
    """The first samples of the calibration data, in batches as they come."""
    found, left = [], count
    for batch in islice(iter(flow.batches), count):
        size = _first(batch).shape[0] if _first(batch).dim() else 1
        found.append(batch if size <= left else _cut(batch, left))
        left -= min(size, left)
        if left == 0:
            break
    return found


def _first(batch) -> torch.Tensor:
    while not isinstance(batch, torch.Tensor):
        batch = next(iter(batch.values())) if hasattr(batch, "values") else batch[0]
    return batch


def _cut(batch, count: int):
    if isinstance(batch, torch.Tensor):
        return batch[:count] if batch.dim() else batch
    if hasattr(batch, "items"):
        return {k: _cut(v, count) for k, v in batch.items()}
    return type(batch)(_cut(v, count) for v in batch) if isinstance(batch, tuple | list) else batch
