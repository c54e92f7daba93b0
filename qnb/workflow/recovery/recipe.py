"""The recipe "auto": follows the diagnosis until the metric is within the tolerance.

Remedies that the diagnosis measured to help come first. Then the attribution of the error, to weights or activations,
decides what is worth trying; of that, what brings most per second: PTQ without more bits, then more bits for the
outputs that cost most, then rounding and mixed precision, training last (the order of AIMET's quantization workflow).
Each method starts from the best of what there is
that it may follow (`qnb.methods.check_order`). What brings the metric up is kept, or at the same metric the output
closer to FP32; so the result is never worse than the start. Where the calibration data is to blame, the recipe says so
and stops: no method makes up for it.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from qnb.columns import ATTEMPTS, GUIDED
from qnb.errors import Cancelled, InputError, QnbError
from qnb.graph.batches import length
from qnb.measures.attribution.attribute import attribute
from qnb.measures.layers.output_parts import OutputNoise
from qnb.methods import METHODS, check_order
from qnb.progress import Report
from qnb.text import decibel, size
from qnb.workflow.diagnosis.cause import DATA
from qnb.workflow.diagnosis.diagnose import case_of, suspicions
from qnb.workflow.diagnosis.proof import Proof, Proven
from qnb.workflow.diagnosis.samples import first_batches
from qnb.workflow.jobs.job import JobProgress
from qnb.workflow.measured_run import measured
from qnb.workflow.recovery import recover
from qnb.workflow.recovery.candidates import LAST, MIX, TRAIN, Blame, Candidate, candidates, proven
from qnb.workflow.run import Run
from qnb.workflow.verdict import PASS

if TYPE_CHECKING:
    from qnb.workflow.recovery.recover import Recovery
    from qnb.workflow.workflow import Workflow

FROM_FLOAT = ("precision", "train")
"""Stages that start from weights that are not rounded yet."""
ROUNDING = ("round", "correct")
LEAST_DB = 0.3
"""What should bring less is not tried."""
_COSTLY = (MIX, TRAIN)
"""Methods that an option of the same name leaves out."""


@dataclass(frozen=True)
class Attempt:
    """One method on top of earlier ones; ``better`` than all before it, it is the best so far."""

    methods: tuple[str, ...]
    run: Run
    seconds: float
    better: bool
    predicted_gain_db: float = math.nan
    gain_db: float = math.nan
    why: str = ""


def auto(flow: Workflow, wanted: Recovery, report: Report) -> Run:
    """The best run that was found, with its ``attempts``."""
    return Recipe(flow, flow[wanted.base], wanted.options[recover.AUTO], report).run(wanted.name)


class Recipe:
    """Args:
    flow, base: the workflow, and the run to start from; both stay as they are.
    options: ``mixed_precision``, ``train``, ``loader``, ``max_seconds``, ``max_bytes``, ``max_bops``.
    """

    def __init__(self, flow: Workflow, base: Run, options: dict[str, Any], report: Report):
        self.flow, self.base, self.options, self.report = flow, base, options, report
        self.best, self.made = base, [base]
        self.attempts: list[Attempt] = []
        self.notes: list[tuple[str, str]] = []
        self.started = time.perf_counter()
        self.pass_seconds = math.nan
        self.without = [name for name in _COSTLY if not options.get(name, True)]
        self.tried: set[tuple[tuple[str, ...], str]] = set()
        self.blamed: tuple[Run | None, Blame] = (None, Blame(0.5, 0.5))
        self.proven: list[Candidate] = []
        self.others: list[Proven] = []

    def run(self, name: str) -> Run:
        """Go on until the metric is within the tolerance, or nothing is left that should help."""
        blamed = None if self.best.verdict.status == PASS else self._diagnose()
        while self.best.verdict.status != PASS and blamed is None:
            found = self._next()
            if found is None:
                self._offer()
                break
            self._try(*found)
        return replace(
            self.best,
            name=name,
            attempts=table(self.base, self.attempts, self.notes, self.best),
            seconds=time.perf_counter() - self.started if self.attempts else 0.0,
        )

    def _diagnose(self) -> str | None:
        """Why the base loses: its remedies that are recovery methods come first. What the diagnosis says of the
        calibration data is returned, where that is to blame."""
        batches, begun = first_batches(self.flow.batches), time.perf_counter()
        noise = OutputNoise(self.base.sim, batches, self.report)
        self.pass_seconds = (time.perf_counter() - begun) * self._times_more(batches)
        case = case_of(self.flow, self.base, noise, self.report)
        self.blamed = self.base, Blame.of(case.attribution)
        found = Proof(case, noise, self.report).of(suspicions(case))
        self.base.sim.drop_cache()
        for one in (one for one in found if one.remedy is not None):
            if one.cause.kind == DATA and one.suspicion.layers:
                self._note(f"{one.remedy.title} first", f"the calibration data is to blame: {one.suspicion.says}")
                return one.suspicion.says
        self.proven, self.others = proven(found), [p for p in found if p.remedy is None or p.remedy.method is None]
        return None

    def _next(self) -> tuple[Run, Candidate] | None:
        """The best candidate that may follow something and fits what is left of the time."""
        blame = self._blame()
        cheaper = self._most_bytes() <= self.base.size_bytes
        for candidate in (*self.proven, *candidates(self.best, blame, self.without, cheaper)):
            if candidate.tier == 0 and candidate.key in {key for _, key in self.tried}:
                continue
            start = max((r for r in self.made if may_follow(r, candidate.name)), key=rank, default=None)
            if start is None or (start.sim.applied_methods, candidate.key) in self.tried:
                continue
            if candidate.predicted_gain_db < LEAST_DB and candidate.tier < LAST:
                continue
            if self._seconds_left() < candidate.passes * self.pass_seconds:
                self._note(
                    candidate.name,
                    f"it should take about {candidate.passes * self.pass_seconds:.0f} s, and max_seconds leaves less",
                )
                continue
            return start, candidate
        return None

    def _blame(self) -> Blame:
        """What weights and activations of the best run cost. Once for each best run."""
        if self.blamed[0] is not self.best:
            batches = first_batches(self.flow.batches)
            self.blamed = self.best, Blame.of(attribute(self.best.sim, batches, progress=self.report))
        return self.blamed[1]

    def _times_more(self, batches: list) -> float:
        """How many times more calibration batches there are."""
        known = length(self.flow.calibration)
        return max(1.0, known / len(batches)) if known else 1.0

    def _try(self, start: Run, candidate: Candidate) -> None:
        begun, name = time.perf_counter(), candidate.name
        self.tried.add((start.sim.applied_methods, candidate.key))
        sim = start.sim.copy()
        options = dict(candidate.options)
        if name == TRAIN and "loader" in self.options:
            options["loader"] = self.options["loader"]
        report = _numbered(self.report, len(self.attempts) + 1, name)
        try:
            result = recover.one(self.flow, sim, name, options, report)
            settings = recover.settings_of(start, [result])
            run = measured(
                self.flow, sim, start.name, self.flow["fp32"].score, settings, report, begun,
                recovery=(*start.recovery, result),
            )  # fmt: skip
        except Cancelled:
            raise
        except QnbError as error:  # a method that this model or precision does not take
            self._note(name, error.received)
            return
        if (over := self._over(run)) is not None:
            self._note(name, over)
            return
        better = rank(run) > rank(self.best)
        gain = 0.0 if run.output_sqnr_db == start.output_sqnr_db else run.output_sqnr_db - start.output_sqnr_db
        seconds = time.perf_counter() - begun
        methods = tuple(r.method for r in run.recovery)
        self.attempts.append(Attempt(methods, run, seconds, better, candidate.predicted_gain_db, gain, candidate.why))
        self.made.append(run)
        self.best = run if better else self.best

    def _over(self, run: Run) -> str | None:
        """Which limit a run is beyond, in words."""
        if run.size_bytes > self._most_bytes():
            return f"it takes {size(run.size_bytes)}, and {size(self._most_bytes())} are allowed (max_bytes)"
        bops, most = float(run.cost.bops.sum()), self.options.get("max_bops", math.inf)
        return None if bops <= most else f"it takes {bops:.3g} bit operations, and {most:.3g} are allowed (max_bops)"

    def _most_bytes(self) -> float:
        return self.options.get("max_bytes", self.base.size_bytes)

    def _seconds_left(self) -> float:
        return self.options.get("max_seconds", math.inf) - (time.perf_counter() - self.started)

    def _offer(self) -> None:
        """What else the diagnosis measured to help, and what more bytes would allow, as next steps."""
        for one in self.others:
            if one.remedy is None:
                self._note(one.suspicion.to_do, f"only a person can do it; {one.suspicion.evidence}")
            else:
                gain = f"the diagnosis measured {decibel(one.gain_db)}"
                self._note(one.remedy.title, f"it is no recovery method; {gain}: {one.remedy.code}")
        if self._most_bytes() <= self.base.size_bytes and MIX not in self.without:
            self._note(
                f"{MIX} with more bytes", f"more than {size(self.base.size_bytes)} are not allowed; max_bytes=... does"
            )

    def _note(self, name: str, why: str) -> None:
        if (name, why) not in self.notes:
            self.notes.append((name, why))


def may_follow(run: Run, name: str) -> bool:
    """Whether a method may follow those that a run has had."""
    stages = {METHODS[done].stage for done in run.sim.applied_methods}
    if METHODS[name].stage in FROM_FLOAT and stages & set(ROUNDING):
        return False
    try:
        check_order([*run.sim.applied_methods, name], "auto")
    except InputError:
        return False
    return True


def rank(run: Run) -> tuple[bool, float, float]:
    """The better, the higher."""
    return run.verdict.status == PASS, -run.drop.value, run.output_sqnr_db


def _numbered(report: Report, index: int, name: str) -> JobProgress:
    said = f"{index}, {name}"
    return JobProgress(
        lambda done, total, message: report(done, total, f"{said}: {message}"), getattr(report, "row", lambda **_: None)
    )


def table(base: Run, attempts: list[Attempt], notes: list[tuple[str, str]], best: Run) -> pd.DataFrame:
    """What was tried; ``kept`` is what the result has had, though others were the best for a while."""
    rows = [_row("nothing", base, base.seconds, True)]
    rows += [
        _row(" + ".join(a.methods), a.run, a.seconds, _part_of(a.run, best), a.predicted_gain_db, a.gain_db, a.why)
        for a in attempts
    ]
    rows += [
        (name, *[math.nan] * 4, f"not tried: {why}", math.nan, math.nan, 0.0, False, math.nan, math.nan, "")
        for name, why in notes
    ]
    return pd.DataFrame(rows, columns=[*ATTEMPTS, *GUIDED])


def _part_of(run: Run, best: Run) -> bool:
    """Whether the best run was made from this one, or is it."""
    return best.sim.applied_methods[: len(run.sim.applied_methods)] == run.sim.applied_methods


def _row(
    tried: str,
    run: Run,
    seconds: float,
    kept: bool,
    predicted_gain_db: float = math.nan,
    gain_db: float = math.nan,
    why: str = "",
) -> tuple:
    low, high = run.score.interval()
    figures = (run.score.value, low, high, run.drop.value, run.verdict.status, run.output_sqnr_db)
    return (tried, *figures, float(run.size_bytes), seconds, kept, predicted_gain_db, gain_db, why)
