"""Size and speed of runs as files: measured where the number says something about a device, refused elsewhere."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from qnb import columns
from qnb.arguments import whole
from qnb.export import export_onnx
from qnb.progress import Report
from qnb.runtimes import Latency, OnnxRuntime, interleaved
from qnb.sim import QuantSim

if TYPE_CHECKING:
    from qnb.workflow.run import Run
    from qnb.workflow.workflow import Workflow


@dataclass(frozen=True)
class Performance:
    """A run as a file.

    Args:
        file_bytes: of the ONNX file.
        latency: of one sample on ONNX Runtime's CPU kernels; None where they would compute in floating point what a
            device computes in integers.
        note: why there is no latency.
    """

    file_bytes: int
    latency: Latency | None = None
    note: str = ""


def sim_of(flow: Workflow, run: Run) -> QuantSim:
    """The run's simulation; FP32's is one without quantizers."""
    return run.sim or QuantSim(flow.captured, precision="fp32", target=flow.target)


def check_threads(operation: str, threads: object) -> None:
    """Whether ONNX Runtime can have so many threads; None leaves the number to it."""
    if threads is not None:
        whole(operation, "threads", threads)


def measure(
    flow: Workflow, names: Iterable[str], threads: int | None, runs: int, report: Report
) -> dict[str, Performance]:
    """Write each run's file, measure its size, and time those that can be: their runs take turns."""
    found, timers = {}, {}
    names = list(dict.fromkeys(names))
    with tempfile.TemporaryDirectory(prefix="qnb-") as folder:
        for index, name in enumerate(names):
            report(index, len(names) + 1, f"writing {name}")
            sim = sim_of(flow, flow[name])
            path = export_onnx(sim, Path(folder) / f"{index}.onnx")
            note = OnnxRuntime.untimed(sim)
            found[name] = Performance(file_bytes(path), note=note)
            if not note:
                timers[name] = OnnxRuntime(path, threads=threads)
        report(len(names), len(names) + 1, "timing on ONNX Runtime")
        for name, latency in (interleaved(timers, runs=runs) if timers else {}).items():
            found[name] = Performance(found[name].file_bytes, latency)
    return found


def file_bytes(path: Path) -> int:
    """Of a model with its data file."""
    data = path.with_name(path.name + ".data")
    return path.stat().st_size + (data.stat().st_size if data.exists() else 0)


def table(found: dict[str, Performance]) -> pd.DataFrame:
    """Columns `qnb.columns.PERFORMANCE`, one row per run."""
    nan = float("nan")
    rows = [
        (
            name,
            p.file_bytes,
            *((p.latency.median_ms, p.latency.low_ms, p.latency.high_ms) if p.latency else (nan, nan, nan)),
            p.note,
        )
        for name, p in found.items()
    ]
    return pd.DataFrame(rows, columns=list(columns.PERFORMANCE))
