"""A diagnosis as a value: findings, ranked by what their remedies were measured to bring."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from qnb.columns import DIAGNOSIS
from qnb.document import Code, Document, Shown, Text
from qnb.text import decibel, metric_text
from qnb.workflow.verdict import FAIL, PASS, UNCLEAR

if TYPE_CHECKING:
    from qnb.workflow.run import Run

NOTHING = "Nothing stands out: no known cause has a remedy that was measured to help."
TONES = {PASS: "good", FAIL: "bad", UNCLEAR: "warn"}


@dataclass(frozen=True)
class Finding:
    """One cause at work.

    Args:
        cause: a sentence that names the layer.
        layers: inputs or layers that it is about.
        evidence: the numbers that speak for it.
        remedy: what to do.
        code: the line that does it.
        predicted_gain_db: what the remedy should bring at the output, from the attribution of the error.
        measured_gain_db: what it brought on a copy, on calibration data; NaN where nothing could be tried.
        name: of the cause, in `qnb.workflow.diagnosis.cause.CAUSES`.
        metric: with the remedy, where it was evaluated (``measure=True``).
        run, recover: arguments of `Workflow.run` or `Workflow.recover`, where the code is such a call.
        followed: name of the run that was made so.
        followed_gain_db: what the output's SQNR gained in that run.
    """

    cause: str
    layers: tuple[str, ...]
    evidence: str
    remedy: str
    code: str
    predicted_gain_db: float = math.nan
    measured_gain_db: float = math.nan
    name: str = ""
    metric: float | None = None
    run: dict[str, Any] | None = None
    recover: dict[str, Any] | None = None
    followed: str = ""
    followed_gain_db: float = math.nan

    @property
    def gain(self) -> str:
        """Both gains, and what following it brought, in words; empty where nothing was tried."""
        if math.isnan(self.measured_gain_db):
            return ""
        said = f"measured gain {decibel(self.measured_gain_db)}, predicted {decibel(self.predicted_gain_db)}"
        if self.metric is not None:
            said += f", metric {metric_text(self.metric)}"
        if self.followed:
            said += f"; {self.followed} gained {decibel(self.followed_gain_db)}"
        return said

    def made(self, run: Run) -> bool:
        """Whether a run is what the code makes."""
        kept = run.settings
        if self.recover is not None:
            steps = [step["method"] for step in kept.get("recover", ())]
            return kept.get("from") == self.recover["run"] and steps[-1:] == [self.recover["methods"]]
        if self.run is None or kept.get("recover"):
            return False
        wanted = self.run.get("calibration_method")
        by_layer = {k: v for k, v in wanted.items() if k != "*"} if isinstance(wanted, dict) else {}
        rule = wanted.get("*") if isinstance(wanted, dict) else wanted
        same = run.precision == self.run["precision"] and kept.get("layers", {}) == self.run.get("layers", {})
        same &= list(kept.get("leave_out", ())) == list(self.run.get("leave_out", ()))
        rules = kept.get("calibration_methods", {}) == by_layer
        return same and rules and rule in (None, kept.get("calibration_method"))


@dataclass(frozen=True, repr=False)
class Diagnosis(Shown):
    """Of one run, the finding that brings most first.

    Args:
        run: its name.
        status: of its verdict.
        verdict: its verdict's text.
        findings: may be empty.
        output_sqnr_db: at the outputs, on the batches that were measured: the mean over their parts.
        seconds: how long it took.
    """

    run: str
    status: str
    verdict: str
    findings: tuple[Finding, ...]
    output_sqnr_db: float = math.nan
    seconds: float = 0.0

    @property
    def table(self) -> pd.DataFrame:
        """One row per finding, columns `qnb.columns.DIAGNOSIS`."""
        rows = [[getattr(f, column) for column in DIAGNOSIS] for f in self.findings]
        frame = pd.DataFrame(rows, columns=list(DIAGNOSIS))
        return frame.assign(layers=[", ".join(f.layers) for f in self.findings])

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def followed_by(self, run: Run, gain_db: float) -> Diagnosis:
        """With the run noted at the findings whose code makes it."""
        marked = (replace(f, followed=run.name, followed_gain_db=gain_db) if f.made(run) else f for f in self.findings)
        return replace(self, findings=tuple(marked))

    def document(self) -> Document:
        blocks = [_block(finding) for finding in self.findings] or [Text(NOTHING)]
        title = f"{self.run}: {self.verdict}"
        return Document("diagnosis", title, tuple(blocks), TONES.get(self.status, "neutral"))


def _block(finding: Finding) -> Code:
    remedy = f"Remedy: {finding.remedy}" if finding.gain else f"To do: {finding.remedy}"
    why = "; ".join(part for part in (f"{finding.evidence}. {remedy}", finding.gain) if part)
    return Code(finding.code, finding.cause, why)
