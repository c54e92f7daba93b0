"""Is a run good enough? Compared with FP32 sample by sample where that is known, within the tolerance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from qnb.measures import Score, paired_drop
from qnb.measures.metrics.intervals import unseen_share
from qnb.measures.metrics.score import Drop
from qnb.text import amount, decibel, interval

PASS, FAIL, UNCLEAR, REFERENCE = "pass", "fail", "unclear", "reference"
AGREES_DB = 40.0
"""A W16A16 simulation below this SQNR at the model's output does not agree with FP32: no baseline."""
REALISTIC = 100_000
"""Twice as many samples as the largest usual validation sets have: nobody evaluates more."""
SCORE = "return qnb.Score with per_sample"


@dataclass(frozen=True)
class Verdict:
    """``status`` is pass, fail, unclear or reference; ``text`` says why, with the numbers."""

    status: str
    text: str


def judge(reference: Score, score: Score, tolerance: float) -> tuple[Drop, Verdict]:
    """Compare a run's score with FP32's: how much was lost, and is it within the tolerance?"""
    drop = paired_drop(reference, score)
    unchanged = score.per_sample is not None and score.per_sample == reference.per_sample
    lost = f"none of {score.n:,} samples changed" if unchanged else f"loses {amount(drop.value)}"
    if math.isnan(drop.low):
        status = PASS if drop.value <= tolerance else FAIL
        if unchanged and not drop.value:
            return drop, Verdict(status, lost)
        why = f"(no interval: {lost if unchanged else SCORE})"
        return drop, Verdict(status, f"loses {amount(drop.value)}, {_against(status, tolerance)} {why}")
    if drop.low <= 0 <= drop.high and drop.high <= tolerance:
        also = f": {lost}" if unchanged else ""
        return drop, Verdict(PASS, f"no measurable loss{also} ({interval(drop.low, drop.high)})")
    status = PASS if drop.high <= tolerance else FAIL if drop.low > tolerance else UNCLEAR
    said = f"{lost} ({interval(drop.low, drop.high)}), {_against(status, tolerance)}"
    return drop, Verdict(status, said + (f": {more(drop, score.n, tolerance)}" if status == UNCLEAR else ""))


def judge_control(drop: Drop, metric: Verdict, comparison: pd.DataFrame, output_db: float) -> Verdict:
    """W16A16 is the baseline, with two tests: it must agree with FP32 at the output, and keep the metric."""
    at_output = f"{decibel(output_db)} at the output"
    if not agrees(output_db):
        first = first_parting(comparison)
        where = f"; they first diverge at layer {first!r}" if first else ""
        return Verdict(FAIL, f"does not agree with FP32: {at_output}, below {AGREES_DB:.0f} dB{where}; {metric.text}")
    if metric.status == FAIL:
        return Verdict(
            FAIL,
            f"agrees with FP32 on the calibration data ({at_output}) but not in the metric: "
            f"{metric.text}; evaluation sees data that calibration did not",
        )
    if metric.status == UNCLEAR:
        return Verdict(UNCLEAR, f"agrees with FP32 ({at_output}), but the metric {metric.text}")
    return Verdict(PASS, f"agrees with FP32: {at_output}, {metric.text}")


def agrees(output_db: float) -> bool:
    """Whether a baseline agrees with FP32 at the model's output."""
    return output_db >= AGREES_DB


def deciding_samples(drop: Drop, n: int | None, tolerance: float) -> int | None:
    """How many samples would decide an unclear drop, were it to stay what it is now: its interval shrinks with
    1/sqrt(n), or 1/n where no sample changed, and must no longer reach the tolerance. In round numbers, rounded up.

    Returns:
        None where no realistic number would (more than `REALISTIC`), or nothing is known of the samples.

    >>> deciding_samples(Drop(0.004, 0.0, 0.016, True, 0.3), 500, 0.01), deciding_samples(
    ...     Drop(0.0099, 0.0, 0.02, True, 0.3), 500, 0.01)
    (2100, None)
    """
    distance = tolerance - drop.value
    half = drop.high - drop.value if distance > 0 else drop.value - drop.low
    if not n or not distance or not math.isfinite(half):
        return None
    unchanged = drop.paired and half == unseen_share(n)
    wanted = max(n * (half / distance) ** (1 if unchanged else 2), n + 1)
    step = 10 ** max(0, math.floor(math.log10(wanted)) - 1)
    wanted = math.floor(wanted / step + 1) * step
    return wanted if wanted <= REALISTIC else None


def more(drop: Drop, n: int | None, tolerance: float) -> str:
    """What it takes to decide an unclear drop."""
    wanted = deciding_samples(drop, n, tolerance)
    said = f"evaluate about {wanted:,} samples" if wanted else "no realistic number of samples would decide"
    return said if drop.paired else f"{said}, or {SCORE}"


def first_parting(comparison: pd.DataFrame, below_db: float = AGREES_DB) -> str | None:
    """The first layer in graph order whose accumulated SQNR is below the bound."""
    low = comparison[comparison.sqnr_db < below_db]
    return None if low.empty else str(low.layer.iloc[0])


def _against(status: str, tolerance: float) -> str:
    words = {PASS: "within", FAIL: "more than", UNCLEAR: "too close to call against"}
    return f"{words[status]} the tolerance of {amount(tolerance)}"
