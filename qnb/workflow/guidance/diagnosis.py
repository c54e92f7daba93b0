"""What a run's numbers say about its loss: each finding with its evidence, a technique, and the line of code."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import pandas as pd

from qnb.document import Code, Document, Shown, Text
from qnb.errors import InputError
from qnb.measures.layers.error_sources import halves
from qnb.workflow.jobs.progress import shown
from qnb.workflow.verdict import FAIL, OK, UNDECIDED

KEPT = "Nothing needs to be done: the metric is kept."
NOTHING = "Nothing stands out: no layer saturates, no channel sticks out, both halves alike."
BATCHES = 2
"""The halves are measured on so many batches."""


@dataclass(frozen=True)
class Finding:
    """``what`` was found, its ``evidence`` in numbers, the ``technique`` against it, the ``code`` that applies it."""

    what: str
    evidence: str
    technique: str
    code: str


@dataclass(frozen=True, repr=False)
class Findings(Shown):
    """Of one run, the most telling first.

    Args:
        run: its name.
        verdict: its verdict's text.
        found: may be empty.
    """

    run: str
    state: str
    verdict: str
    found: tuple[Finding, ...]

    @property
    def table(self) -> pd.DataFrame:
        """One row per finding: what, evidence, technique, code."""
        return pd.DataFrame([vars(f) for f in self.found], columns=["what", "evidence", "technique", "code"])

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.found)

    def __len__(self) -> int:
        return len(self.found)

    def document(self) -> Document:
        blocks = [Code(f.code, f"{f.what}: {f.technique}", f.evidence) for f in self.found]
        if not blocks:
            blocks = [Text(KEPT if self.state == OK else NOTHING)]
        tone = {OK: "good", FAIL: "bad", UNDECIDED: "warn"}.get(self.state, "neutral")
        return Document("advice", f"{self.run}: {self.verdict}", tuple(blocks), tone)


def find(flow, name: str | None, progress=None) -> Findings:
    """Findings of a run; see `Workflow.advice`."""
    from qnb.workflow.guidance import rules as diagnosis

    run = flow[name or _default(flow)]
    if run.sim is None or flow.model is None:
        received = "fp32, which has lost nothing" if run.sim is None else "a workflow from a file, without its data"
        remedy = "name another run" if run.sim is None else "load it with its model, calibration and evaluate"
        raise InputError("flow.advice", received, remedy)
    if run.verdict.state == OK and run.drop is not None and run.drop.value <= 0:  # nothing was lost
        return Findings(run.name, run.verdict.state, run.verdict.text, ())
    with shown(f"flow.advice({run.name!r})", progress) as report:
        found, outliers = halves(run.sim, list(islice(iter(flow.batches), BATCHES)), report)
    said = diagnosis.findings(flow, run, found, outliers)
    return Findings(run.name, run.verdict.state, run.verdict.text, tuple(Finding(*parts) for parts in said))


def _default(flow) -> str:
    runs = [r for r in flow.runs.values() if r.sim is not None]
    if not runs:
        raise InputError("flow.advice", "no run yet", f"run a step first: {flow.variable}.run('w8a8')")
    return next((r.name for r in runs if r.verdict.state in (FAIL, UNDECIDED)), runs[-1].name)
