"""Deployment: a run as files, and what real runtimes made of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from qnb.document import Document, Shown
from qnb.measures import Score
from qnb.measures.score import Drop
from qnb.runtimes import Latency

RAN, MISSING, REFUSED = "ran", "not installed", "refused"
GOOD_DB = {True: 45.0, False: 25.0}
"""Agreement to expect between simulation and runtime: with 16-bit activations, and with 8-bit ones, whose last
codes may turn either way."""


@dataclass(frozen=True)
class OnRuntime:
    """One runtime's results for a run's file.

    Args:
        runtime: ``"onnxruntime"`` or ``"htp"``.
        title: in words, the SoC and whether it is emulated included.
        state: ran; not installed; or refused: the runtime does not take the file.
        note: why not, or what a reader must know of the numbers.
        fidelity: the simulation against the runtime, columns `qnb.columns.FIDELITY`; None unless it ran.
        exact: the same for the integer-exact simulation, where there is one.
        score, drop: the user's metric on the runtime, and what is lost against FP32; None where not evaluated.
        placement: how many nodes run where, ``{"CPU": 12}``; ``elsewhere`` names those that fell back.
        latency: measured; None where a number would mislead.
    """

    runtime: str
    title: str
    state: str = RAN
    note: str = ""
    fidelity: pd.DataFrame | None = None
    exact: pd.DataFrame | None = None
    score: Score | None = None
    drop: Drop | None = None
    placement: dict[str, int] = field(default_factory=dict)
    elsewhere: tuple[str, ...] = ()
    latency: Latency | None = None

    @property
    def output(self) -> pd.DataFrame | None:
        """The fidelity table's rows of the model's outputs."""
        return None if self.fidelity is None else self.fidelity[self.fidelity.op == "output"]

    @property
    def output_sqnr_db(self) -> float:
        """Simulation against runtime at the outputs, the lowest of several; NaN unless it ran."""
        return float("nan") if self.fidelity is None else float(self.output.sqnr_db.min())


@dataclass(frozen=True, repr=False)
class Deployment(Shown):
    """The result of ``Workflow.deploy``.

    Args:
        run, precision: what was deployed.
        target, soc: for what.
        folder: where the files are.
        files: columns `qnb.columns.FILES`.
        runtimes: in the order they ran.
        commands: to type on the host and the device, for Qualcomm's SDK.
        reference: FP32's metric.
        seconds: how long it took.
    """

    run: str
    precision: str
    target: str
    soc: str
    folder: str
    files: pd.DataFrame
    runtimes: tuple[OnRuntime, ...]
    commands: str
    reference: Score
    seconds: float = 0.0
    settings: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, runtime: str) -> OnRuntime:
        """``deployment["htp"]``."""
        return next(r for r in self.runtimes if r.runtime == runtime)

    @property
    def ran(self) -> tuple[OnRuntime, ...]:
        """The runtimes that took the file."""
        return tuple(r for r in self.runtimes if r.fidelity is not None)

    @property
    def main(self) -> OnRuntime | None:
        """The runtime that says most of the target: HTP, if it ran."""
        return max(self.ran, key=lambda r: r.runtime == "htp", default=None)

    @property
    def score(self) -> Score | None:
        """The metric on `main`."""
        return self.main.score if self.main else None

    @property
    def drop(self) -> Drop | None:
        """What `main` loses against FP32."""
        return self.main.drop if self.main else None

    @property
    def file_bytes(self) -> int:
        """Of the ONNX file with its weights."""
        return int(self.files.size_bytes.iloc[0])

    @property
    def told(self) -> bool:
        """Whether the simulation foretold every runtime asked for, and all of the model ran there."""
        good = GOOD_DB["a16" in self.precision or self.precision in ("fp16", "bf16", "fp32")]
        return bool(self.ran) and len(self.ran) == len(self.runtimes) and all(
            r.output_sqnr_db >= good and not r.elsewhere for r in self.ran)  # fmt: skip

    @property
    def table(self) -> pd.DataFrame:
        """One row per runtime, columns `qnb.columns.DEPLOYMENT`."""
        from qnb.workflow import deploy_documents

        return deploy_documents.table(self)

    def document(self) -> Document:
        from qnb.workflow import deploy_documents

        return deploy_documents.deployment(self)
