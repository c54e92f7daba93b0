"""How many samples decide what is unclear, and what a verdict says."""

import math

import numpy as np
import pandas as pd
import pytest

from qnb.measures import Score, paired_drop
from qnb.measures.metrics.score import Drop
from qnb.workflow.verdict import FAIL, PASS, REALISTIC, UNCLEAR, Verdict, deciding_samples, judge, judge_control


@pytest.mark.parametrize(
    ("worse", "tolerance"),
    [(0.012, 0.004), (0.012, 0.008), (0.02, 0.008), (0.02, 0.018), (0.03, 0.018), (0.03, 0.032)],
)
def test_so_many_samples_decide_and_far_fewer_do_not(worse, tolerance):
    """The same share of samples that got worse and better, at other numbers of them."""
    better, n = 0.006, 500

    def at(count):
        right = np.ones(count)
        after = right.copy()
        after[: round(worse * count)] = 0
        before = right.copy()
        before[count - round(better * count) :] = 0
        a, b = Score(before.mean(), per_sample=before), Score(after.mean(), per_sample=after)
        return paired_drop(a, b), judge(a, b, tolerance)[1]

    drop, verdict = at(n)
    assert verdict.status == UNCLEAR
    wanted = deciding_samples(drop, n, tolerance)
    assert wanted > n and f"about {wanted:,} samples" in verdict.text
    assert at(round(1.25 * wanted))[1].status != UNCLEAR
    assert at(round(0.6 * wanted))[1].status == UNCLEAR or wanted < 1.7 * n


@pytest.mark.parametrize(
    "drop",
    [
        Drop(0.01, 0.0, 0.02, True, 0.1),
        Drop(0.0099, 0.0, 0.02, True, 0.1),
        Drop(0.004, math.nan, math.nan, False, math.nan),
    ],
)
def test_no_realistic_number(drop):
    assert deciding_samples(drop, 500, 0.01) is None


def test_the_number_is_more_than_now_round_and_realistic():
    for value in np.linspace(-0.02, 0.04, 61):
        drop = Drop(value, min(value, 0.01) - 0.001, max(value, 0.0101) + 0.004, True, 0.1)
        wanted = deciding_samples(drop, 777, 0.01)
        assert wanted is None or (777 < wanted <= REALISTIC and len(str(wanted).rstrip("0")) <= 2)


LAYERS = pd.DataFrame({"layer": ["stem", "head"], "sqnr_db": [60.0, 31.0]})


@pytest.mark.parametrize(
    ("metric", "db", "state", "says"),
    [
        (PASS, 73.7, PASS, "agrees with FP32: 73.7 dB at the output, kept"),
        (UNCLEAR, 73.7, UNCLEAR, "agrees with FP32 (73.7 dB at the output), but the metric kept"),
        (
            FAIL,
            73.7,
            FAIL,
            "agrees with FP32 on the calibration data (73.7 dB at the output) but not in the metric: "
            "kept; evaluation sees data that calibration did not",
        ),
        (
            PASS,
            31.0,
            FAIL,
            "does not agree with FP32: 31.0 dB at the output, below 40 dB; they first diverge at layer 'head'; kept",
        ),
        (FAIL, math.nan, FAIL, "does not agree with FP32"),
    ],
)
def test_a_control_has_two_tests_and_says_which_failed(metric, db, state, says):
    verdict = judge_control(Drop(0.0, 0.0, 0.0, True, 1.0), Verdict(metric, "kept"), LAYERS, db)
    assert verdict.status == state and verdict.text.startswith(says)


def test_what_an_undecided_verdict_asks_for():
    samples = [1.0] * 500
    worse = [0.0] * 4 + samples[4:]
    paired = judge(Score(1.0, per_sample=samples), Score(0.992, per_sample=worse), 0.01)[1]
    assert "too close to call against the tolerance of 0.01: evaluate about" in paired.text
    separate = judge(Score(1.0, 500), Score(0.992, 500), 0.01)[1]
    assert separate.text.endswith("samples, or return qnb.Score with per_sample")
    alone = judge(Score(1.0), Score(0.9), 0.01)[1]
    assert alone.status == FAIL and alone.text.endswith("(no interval: return qnb.Score with per_sample)")


@pytest.mark.parametrize(
    ("n", "status", "says"),
    [
        (540, PASS, "no measurable loss: none of 540 samples changed (95 % interval -0.0055 to 0.0055)"),
        (
            80,
            UNCLEAR,
            "none of 80 samples changed (95 % interval -0.037 to 0.037), too close to call against the tolerance of "
            "0.01: evaluate about 300 samples",
        ),
    ],
)
def test_no_sample_changed(n, status, says):
    score = Score(1.0, per_sample=[1.0] * n)
    assert judge(score, score, 0.01)[1] == Verdict(status, says)


def test_as_many_samples_decide_where_none_changed():
    assert judge(*[Score(1.0, per_sample=[1.0] * 300)] * 2, 0.01)[1].status == PASS
    assert judge(*[Score(1.0, per_sample=[1.0] * 290)] * 2, 0.01)[1].status == UNCLEAR


def test_no_sample_of_another_metric_changed():
    before, other = Score(2.0, per_sample=[1.0, 3.0]), Score(1.8, per_sample=[1.0, 3.0])
    assert judge(before, before, 0.01)[1] == Verdict(PASS, "none of 2 samples changed")
    says = "loses 0.2, more than the tolerance of 0.01 (no interval: none of 2 samples changed)"
    assert judge(before, other, 0.01)[1] == Verdict(FAIL, says)
