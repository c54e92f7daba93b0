"""The recipe "auto": recovery methods, cheapest first, until the metric is within the tolerance.

PTQ first, then mixed precision, then training: the order of AIMET's quantization workflow. Each method
starts from the best of what there is that it may follow (`qnb.methods.check_order`): corrections come last in a chain,
so rounding starts from the best chain without one. What brings the metric up is kept, or at the same metric the output
closer to FP32.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pandas as pd

from qnb.columns import ATTEMPTS
from qnb.errors import Cancelled, InputError, QnbError
from qnb.methods import METHODS, auto_order, check_order
from qnb.progress import Report
from qnb.workflow.jobs.job import JobProgress
from qnb.workflow.measured_run import measured
from qnb.workflow.recovery import recover
from qnb.workflow.run import Run
from qnb.workflow.verdict import PASS

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim
    from qnb.workflow.recovery.recover import Recovery
    from qnb.workflow.workflow import Workflow

FROM_FLOAT = ("precision", "train")
"""Stages that start from weights that are not rounded yet."""
ROUNDING = ("round", "correct")


@dataclass(frozen=True)
class Attempt:
    """One method on top of earlier ones; ``better`` than all before it, it is the best so far."""

    methods: tuple[str, ...]
    run: Run
    seconds: float
    better: bool


def auto(flow: Workflow, wanted: Recovery, report: Report) -> Run:
    """The best run that was found, with its ``attempts``."""
    base, options = flow[wanted.base], wanted.options[recover.AUTO]
    best, made = base, [base]
    attempts: list[Attempt] = []
    failures: list[tuple[str, str]] = []
    names = techniques(base.sim, options)
    for index, name in enumerate(names):
        if best.verdict.status == PASS:
            break
        start = max((run for run in made if _may_follow(run, name)), key=_rank, default=None)
        if start is None or any(run.sim.applied_methods == (*start.sim.applied_methods, name) for run in made):
            continue
        try:
            attempt = _attempt(flow, start, best, name, options, _numbered(report, index, len(names), name))
        except Cancelled:
            raise
        except QnbError as error:  # a method that this model or precision does not take
            failures.append((name, error.received))
            continue
        attempts.append(attempt)
        made.append(attempt.run)
        best = attempt.run if attempt.better else best
    return replace(
        best,
        name=wanted.name,
        attempts=_table(base, attempts, failures, best),
        seconds=sum(a.seconds for a in attempts),
    )


def _may_follow(run: Run, name: str) -> bool:
    """Whether a method may follow those that a run has had."""
    stages = {METHODS[done].stage for done in run.sim.applied_methods}
    if METHODS[name].stage in FROM_FLOAT and stages & set(ROUNDING):
        return False
    try:
        check_order([*run.sim.applied_methods, name], "auto")
    except InputError:
        return False
    return True


def techniques(sim: QuantSim, options: dict) -> list[str]:
    """Names, cheapest first: those that suit this sim's grids and ops and that it has not had."""
    return auto_order(sim, without=[name for name in _COSTLY if not options.get(name, True)])


_COSTLY = ("mixed_precision", "train")
"""Methods that an option of the same name leaves out."""


def _attempt(flow: Workflow, start: Run, best: Run, name: str, options: dict, report: Report) -> Attempt:
    began = time.perf_counter()
    sim = start.sim.copy()
    given = {"loader": options["loader"]} if name == "train" and "loader" in options else {}
    result = recover.one(flow, sim, name, given, report)
    run = measured(
        flow,
        sim,
        start.name,
        flow["fp32"].score,
        recover.settings_of(start, [result]),
        report,
        began,
        recovery=(*start.recovery, result),
    )
    better = _rank(run) > _rank(best)
    return Attempt(tuple(r.method for r in run.recovery), run, time.perf_counter() - began, better)


def _rank(run: Run) -> tuple[bool, float, float]:
    return run.verdict.status == PASS, -run.drop.value, run.output_sqnr_db


def _numbered(report: Report, index: int, count: int, name: str) -> JobProgress:
    said = f"{index + 1} of up to {count}, {name}"
    return JobProgress(
        lambda done, total, message: report(done, total, f"{said}: {message}"), getattr(report, "row", lambda **_: None)
    )


def _table(base: Run, attempts: list[Attempt], failures: list[tuple[str, str]], best: Run) -> pd.DataFrame:
    """What was tried; ``kept`` is what the result has had, though others were the best for a while."""
    rows = [_row("nothing", base, base.seconds, True)]
    rows += [_row(" + ".join(a.methods), a.run, a.seconds, _part_of(a.run, best)) for a in attempts]
    rows += [
        (name, *[float("nan")] * 4, f"not tried: {why}", float("nan"), float("nan"), 0.0, False)
        for name, why in failures
    ]
    return pd.DataFrame(rows, columns=list(ATTEMPTS))


def _part_of(run: Run, best: Run) -> bool:
    """Whether the best run was made from this one, or is it."""
    return best.sim.applied_methods[: len(run.sim.applied_methods)] == run.sim.applied_methods


def _row(tried: str, run: Run, seconds: float, kept: bool) -> tuple:
    low, high = run.score.interval()
    return (
        tried,
        run.score.value,
        low,
        high,
        run.drop.value,
        run.verdict.status,
        run.output_sqnr_db,
        float(run.size_bytes),
        seconds,
        kept,
    )
