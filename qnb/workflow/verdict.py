"""Is a run good enough? Compared with FP32 sample by sample where that is known, within the tolerance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from qnb.html import decibel
from qnb.measures import Score, paired_drop
from qnb.measures.score import Drop

OK, FAIL, UNDECIDED, REFERENCE = "ok", "fail", "undecided", "reference"
AGREES_DB = 40.0
"""A W16A16 simulation below this SQNR at the model's output is no longer a control."""


@dataclass(frozen=True)
class Verdict:
    """``state`` is ok, fail, undecided or reference; ``text`` says why, with the numbers."""

    state: str
    text: str


def judge(reference: Score, score: Score, tolerance: float) -> tuple[Drop, Verdict]:
    """Compare a run's score with FP32's: how much was lost, and is it within the tolerance?"""
    drop = paired_drop(reference, score)
    if math.isnan(drop.low):
        state = OK if drop.value <= tolerance else FAIL
        return drop, Verdict(state, f"loses {amount(drop.value)}, {_against(state, tolerance)} (no n: no interval)")
    if drop.low <= 0 <= drop.high and drop.high <= tolerance:
        return drop, Verdict(OK, f"no measurable loss ({_interval(drop)})")
    state = OK if drop.high <= tolerance else FAIL if drop.low > tolerance else UNDECIDED
    return drop, Verdict(state, f"loses {amount(drop.value)} ({_interval(drop)}), {_against(state, tolerance)}")


def judge_control(drop: Drop, metric: Verdict, comparison: pd.DataFrame, output_db: float) -> Verdict:
    """W16A16 is a control: it must agree with FP32 in its output and in the metric."""
    first = first_parting(comparison)
    if output_db >= AGREES_DB and metric.state != FAIL:
        return Verdict(OK, f"agrees with FP32: {decibel(output_db)} at the output, {metric.text}")
    where = f"; they first part at layer {first!r}" if first else ""
    return Verdict(FAIL, f"does not agree with FP32: {decibel(output_db)} at the output, {metric.text}{where}")


def first_parting(comparison: pd.DataFrame, below_db: float = AGREES_DB) -> str | None:
    """The first layer in graph order whose accumulated SQNR is below the bound."""
    low = comparison[comparison.sqnr_db < below_db]
    return None if low.empty else str(low.layer.iloc[0])


def amount(value: float) -> str:
    """A drop in the metric's units, without a minus zero.

    >>> amount(0.0123), amount(-0.0)
    ('0.012', '0')
    """
    return f"{value:.2g}" if value else "0"


def _interval(drop: Drop) -> str:
    return f"95 % interval {amount(drop.low)} to {amount(drop.high)}"


def _against(state: str, tolerance: float) -> str:
    words = {OK: "within", FAIL: "more than", UNDECIDED: "which may be more or less than"}
    return f"{words[state]} the tolerance of {amount(tolerance)}"
