"""What a run's numbers say about its loss: each finding with its evidence, a remedy, and the line of code."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import pandas as pd

from qnb.document import Code, Document, Shown, Text
from qnb.errors import InputError
from qnb.measures.layers.error_sources import halves
from qnb.progress import Report
from qnb.workflow.guidance import rules
from qnb.workflow.jobs.progress import shown
from qnb.workflow.results import check_simulated
from qnb.workflow.run import Run
from qnb.workflow.verdict import FAIL, PASS, UNCLEAR

if TYPE_CHECKING:
    from qnb.workflow.workflow import Workflow

KEPT = "Nothing to do: the metric is within the tolerance."
NOTHING = "No single cause found: no layer saturates, no channel has outliers, and weights and activations cost alike."
BATCHES = 2
"""The halves are measured on so many batches."""


@dataclass(frozen=True)
class Finding:
    """The ``cause`` of a loss, its ``evidence`` in numbers, the ``remedy``, and the ``code`` that applies it."""

    cause: str
    evidence: str
    remedy: str
    code: str


@dataclass(frozen=True, repr=False)
class Diagnosis(Shown):
    """Of one run, the most telling first.

    Args:
        run: its name.
        verdict: its verdict's text.
        status: of that verdict.
        findings: may be empty.
    """

    run: str
    status: str
    verdict: str
    findings: tuple[Finding, ...]

    @property
    def table(self) -> pd.DataFrame:
        """One row per finding: cause, evidence, remedy, code."""
        return pd.DataFrame([vars(f) for f in self.findings], columns=["cause", "evidence", "remedy", "code"])

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def document(self) -> Document:
        blocks = [Code(f.code, f"{f.cause}: {f.remedy}", f.evidence) for f in self.findings]
        if not blocks:
            blocks = [Text(KEPT if self.status == PASS else NOTHING)]
        tone = {PASS: "good", FAIL: "bad", UNCLEAR: "warn"}.get(self.status, "neutral")
        return Document("diagnosis", f"{self.run}: {self.verdict}", tuple(blocks), tone)


def diagnose(flow: Workflow, run: str | None = None, *, progress: Report | None = None) -> Diagnosis:
    """What the numbers of a run say about its loss: causes with their evidence, a remedy, the line of code. It is
    kept under the run's name in ``diagnoses``, until the run is replaced.

    Args:
        run: its name; by default the first run that is not within tolerance, else the last.
        progress: ``progress(done, total, message)``, as for `Workflow.run`.
    """
    name, operation = run or _default(flow), "flow.diagnose"
    if flow[name].sim is None:
        raise InputError(operation, f"{name}, which has lost nothing", "name another run")
    before = check_simulated(flow, name, operation)
    found = _find(flow, before, progress)
    if flow.runs.get(found.run) is before:
        flow.diagnoses = flow.diagnoses | {found.run: found}
        flow.changed.emit()
    return found


def _find(flow: Workflow, run: Run, progress: Report | None) -> Diagnosis:
    if run.verdict.status == PASS and run.drop is not None and run.drop.value <= 0:  # nothing was lost
        return Diagnosis(run.name, run.verdict.status, run.verdict.text, ())
    with shown(f"flow.diagnose({run.name!r})", progress) as report:
        found, outliers = halves(run.sim, list(islice(iter(flow.batches), BATCHES)), report)
    said = rules.findings(flow, run, found, outliers)
    return Diagnosis(run.name, run.verdict.status, run.verdict.text, tuple(Finding(*parts) for parts in said))


def _default(flow: Workflow) -> str:
    runs = [r for r in flow.runs.values() if r.sim is not None]
    if not runs:
        raise InputError("flow.diagnose", "no run yet", f"run a step first: {flow.variable}.run('w8a8')")
    return next((r.name for r in runs if r.verdict.status in (FAIL, UNCLEAR)), runs[-1].name)
