"""Deployment: a run as files, and what real runtimes made of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from qnb.document import Document, Shown
from qnb.measures import Score
from qnb.measures.metrics.score import Drop
from qnb.runtimes import RUNTIMES, Latency
from qnb.runtimes.differences import Difference

COMPLETED, DISAGREES, MISSING, REFUSED = "completed", "disagrees", "not installed", "refused"
"""Of a runtime: it ran as the simulation says; it computes something else; it is not there; it does not take the
file."""


@dataclass(frozen=True)
class RuntimeResult:
    """One runtime's results for a run's file.

    Args:
        runtime: a name in `qnb.runtimes.RUNTIMES`.
        title: in words, the SoC and whether it is emulated included.
        status: completed; disagrees: it ran, and computes something else than the simulation says; not installed; or
            refused: the runtime does not take the file.
        note: why not, or what a reader must know of the numbers.
        fidelity: the simulation against the runtime, columns `qnb.columns.FIDELITY`; None unless it ran.
        exact: the same for the integer-exact simulation, where there is one.
        score, drop: the user's metric on the runtime, and what is lost against FP32; None where not evaluated.
        placement: how many nodes run where, ``{"CPU": 12}``; ``fallback_nodes`` names those that fell back.
        latency: measured; None where a number would mislead.
        differences: outputs, and layers joined in them, that are further from the simulation than expected.
        known: what the target is known not to run of this model at these bits, or to compute differently, and what to
            do about it; sentences.
    """

    runtime: str
    title: str
    status: str = COMPLETED
    note: str = ""
    fidelity: pd.DataFrame | None = None
    exact: pd.DataFrame | None = None
    score: Score | None = None
    drop: Drop | None = None
    placement: dict[str, int] = field(default_factory=dict)
    fallback_nodes: tuple[str, ...] = ()
    latency: Latency | None = None
    differences: tuple[Difference, ...] = ()
    known: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Its title without what stands in brackets."""
        return self.title.split(" (")[0]

    @property
    def agrees(self) -> bool:
        """Whether it ran, and rounding explains all differences from the simulation."""
        return self.status == COMPLETED and self.fidelity is not None

    @property
    def disagreement(self) -> Difference | None:
        """The difference that rounding explains least; None where it explains all."""
        unexplained = [d for d in self.differences if not d.why]
        return min(unexplained, key=lambda d: (-bool(d.layer), d.sqnr_db - d.expected_db), default=None)

    @property
    def output(self) -> pd.DataFrame | None:
        """The fidelity table's rows of the model's outputs."""
        return None if self.fidelity is None else self.fidelity[self.fidelity.op == "output"]  # pyright: ignore[reportReturnType]

    @property
    def output_sqnr_db(self) -> float:
        """Simulation against runtime at the outputs, the lowest of several; NaN unless it ran. Those that depend on a
        choice between nearly equal values, class numbers for example, count only where there is no other."""
        if self.fidelity is None:
            return float("nan")
        explained = {d.output for d in self.differences if d.why and not d.part}
        judged = self.output[~self.output.layer.isin(explained)]
        return float((judged if len(judged) else self.output).sqnr_db.min())


def _rank(result: RuntimeResult) -> int:
    """How close a runtime is to the target; one that is not known here comes last."""
    return RUNTIMES[result.runtime].rank if result.runtime in RUNTIMES else -1


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
    runtimes: tuple[RuntimeResult, ...]
    commands: str
    reference: Score
    seconds: float = 0.0
    settings: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, runtime: str) -> RuntimeResult:
        """``deployment["htp"]``."""
        return next(r for r in self.runtimes if r.runtime == runtime)

    @property
    def completed(self) -> tuple[RuntimeResult, ...]:
        """The runtimes that took the file and ran it."""
        return tuple(r for r in self.runtimes if r.fidelity is not None)

    @property
    def primary_runtime(self) -> RuntimeResult | None:
        """The runtime closest to the target, of those that ran."""
        return max(self.completed, key=_rank, default=None)

    @property
    def score(self) -> Score | None:
        """The metric on `primary_runtime`."""
        return self.primary_runtime.score if self.primary_runtime else None

    @property
    def drop(self) -> Drop | None:
        """What `primary_runtime` loses against FP32."""
        return self.primary_runtime.drop if self.primary_runtime else None

    @property
    def file_bytes(self) -> int:
        """Of the ONNX file with its weights."""
        return int(self.files.size_bytes.iloc[0])

    @property
    def disagreeing(self) -> RuntimeResult | None:
        """A runtime that computes something else than the simulation says, `primary_runtime` if it is one."""
        found = [r for r in self.runtimes if r.status == DISAGREES]
        return max(found, key=_rank, default=None)

    @property
    def refused(self) -> tuple[RuntimeResult, ...]:
        """The runtimes that do not take the file."""
        return tuple(r for r in self.runtimes if r.status == REFUSED)

    @property
    def failure(self) -> str:
        """What happened where a runtime refuses the file, or computes something else than the simulation says; empty
        where neither is so."""
        if (on := self.disagreeing) is not None:
            found = on.disagreement
            named, said = (found.name, f" ({found.figures}); {found.begins}") if found else ("it", "")
            return f"on {on.name} {named} disagrees with the simulation{said}"
        return f"{' and '.join(r.name for r in self.refused)} refuses its file" if self.refused else ""

    @property
    def agrees(self) -> bool:
        """Whether every runtime that was asked for ran, as the simulation says."""
        return bool(self.runtimes) and all(r.agrees for r in self.runtimes)

    @property
    def simulation_confirmed(self) -> bool:
        """Whether the simulation predicted every runtime asked for, and all of the model ran there."""
        return self.agrees and not any(r.fallback_nodes for r in self.completed)

    @property
    def table(self) -> pd.DataFrame:
        """One row per runtime, columns `qnb.columns.DEPLOYMENT`."""
        from qnb.workflow.documents import deployment as deploy_documents

        return deploy_documents.table(self)

    def document(self) -> Document:
        from qnb.workflow.documents import deployment as deploy_documents

        return deploy_documents.deployment(self)
