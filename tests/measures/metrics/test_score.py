"""Scores: what they accept, their intervals against scipy's, and how two are compared."""

import copy
import math
import pickle
from dataclasses import FrozenInstanceError, asdict, dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, norm

from qnb.errors import EvaluateError, InputError
from qnb.measures import Score, accuracy, paired_drop
from qnb.measures.metrics import intervals

GENERATOR = np.random.default_rng(0)


def ones(right: int, n: int) -> list[float]:
    return [1.0] * right + [0.0] * (n - right)


def of(samples, **options) -> Score:
    return Score(float(np.mean(samples)), per_sample=samples, **options)


class TestScore:
    def test_it_is_a_frozen_number(self):
        score = Score(0.5, 10)
        assert float(score) == 0.5 and score.higher_is_better
        with pytest.raises(FrozenInstanceError):
            score.value = 1.0

    @pytest.mark.parametrize(
        ("score", "text"),
        [
            (Score(526 / 540, 540), "0.9741 (526/540)"),
            (of(ones(526, 540)), "0.9741 (526/540)"),
            (Score(float(np.float32(526 / 540)), 540), "0.9741 (526/540)"),
            (Score(0.9741, per_sample=ones(526, 540)), "0.9741 (526/540)"),
            (Score(0.123, 540), "0.123 (n = 540)"),
            (Score(0.8, per_sample=ones(526, 540)), "0.8 (n = 540)"),
            (Score(31.25, 8), "31.25 (n = 8)"),
            (Score(0.25), "0.25"),
        ],
    )
    def test_repr(self, score, text):
        assert repr(score) == text

    @pytest.mark.parametrize(
        "values",
        [
            [1, 0, 1],
            (True, False, True),
            np.array([1, 0, 1]),
            torch.tensor([1, 0, 1]),
            torch.tensor([1.0, 0, 1]),
            torch.tensor([1.0, 0, 1], requires_grad=True),
        ],
        ids=["list", "booleans", "numpy", "integers", "tensor", "gradient"],
    )
    def test_per_sample_values_of_any_kind_become_floats(self, values):
        score = Score(2 / 3, per_sample=values)
        assert score.per_sample == (1.0, 0.0, 1.0) and type(score.per_sample[0]) is float
        assert score.n == 3 and score == Score(2 / 3, 3, (1.0, 0.0, 1.0)) and score.correct_count == 2

    def test_n_is_an_int(self):
        assert type(Score(0.5, np.int64(4)).n) is int and type(Score(0.5, 4.0).n) is int

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((math.nan,), "value nan"),
            ((math.inf, 5), "value inf"),
            (("good",), "value that is a str"),
            ((None,), "value that is a NoneType"),
            ((0.5, 0), "n=0"),
            ((0.5, -1), "n=-1"),
            ((0.5, 2.5), "n=2.5"),
            ((0.5, math.nan), "n=nan"),
            ((0.5, 3, [0, 1]), "2 per-sample values with n=3"),
            ((0.5, None, []), "shape (0,)"),
            ((0.5, None, [[0, 1]]), "shape (1, 2)"),
            ((0.5, None, [0, math.nan]), "1 of them finite"),
            ((0.5, None, [0, "x"]), "not all of them numbers"),
            ((97.4, None, [0, 1, 1]), "per-sample values from 0 to 1"),
            ((-0.2, None, [0, 1, 1]), "per-sample values from 0 to 1"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, arguments, message):
        with pytest.raises(EvaluateError) as error:
            Score(*arguments)
        assert message in str(error.value)

    def test_a_rounded_value_beside_its_samples_is_fine(self):
        assert Score(0.3333, per_sample=[1 / 3, 1 / 3]).n == 2


class TestInterval:
    @given(st.integers(1, 5000), st.data(), st.sampled_from([0.8, 0.95, 0.99]))
    def test_shares_have_wilsons(self, n, data, confidence):
        right = data.draw(st.integers(0, n))
        wanted = binomtest(right, n).proportion_ci(confidence, method="wilson")
        found = Score(right / n, n).interval(confidence)
        assert found == pytest.approx((wanted.low, wanted.high), abs=1e-12)
        assert 0 <= found[0] <= right / n <= found[1] <= 1

    def test_per_sample_shares_have_the_same(self):
        assert of(ones(526, 540)).interval() == Score(526 / 540, 540).interval()

    def test_a_mean_in_zero_to_one_has_wilsons_around_its_value(self):
        low, high = Score(0.51234, 540).interval()
        nearest = [Score(right / 540, 540).interval() for right in (276, 277)]
        assert nearest[0][0] < low < nearest[1][0] and nearest[0][1] < high < nearest[1][1]

    @pytest.mark.parametrize("score", [Score(0.5), Score(31.2, 100), Score(-0.1, 100)])
    def test_without_knowledge_of_the_samples_it_is_nan(self, score):
        assert all(map(math.isnan, score.interval()))

    def test_other_values_are_resampled_the_same_each_time(self):
        samples = GENERATOR.normal(5.0, 2.0, 400)
        assert of(samples).interval() == of(samples).interval()

    @pytest.mark.parametrize("score", [Score(0.9, 50), of(GENERATOR.normal(5.0, 2.0, 50)), Score(0.5)])
    def test_it_is_found_once_and_leaves_the_score_as_it_is(self, score, monkeypatch):
        new = replace(score)
        found = score.interval()
        monkeypatch.setattr(intervals, "DRAWS", 0)
        monkeypatch.setattr("qnb.measures.metrics.score.wilson", None)
        for known in (score, copy.copy(score), pickle.loads(pickle.dumps(score))):
            assert str(known.interval()) == str(found)
            assert known == new and hash(known) == hash(new) and repr(known) == repr(new)
            assert asdict(known) == asdict(new)

    def test_a_drop_finds_it_as_well(self, monkeypatch):
        before, after = (of(GENERATOR.normal(5.0, 2.0, 50)) for _ in range(2))
        wanted = replace(after).interval()
        paired_drop(before, after)
        monkeypatch.setattr(intervals, "DRAWS", 0)
        assert after.interval() == wanted

    @pytest.mark.parametrize("n", [1, 7, 540])
    def test_resampled_means_are_those_of_each_row_alone(self, n):
        rows = np.stack([GENERATOR.normal(5.0, 2.0, n), GENERATOR.integers(-1, 2, n).astype(float)])
        found = intervals.bootstrap(rows, rows.mean(1), 0.95)
        for row, ends in zip(rows, found, strict=True):
            rng = np.random.default_rng(0)
            means = [rng.choice(row, n).mean() for _ in range(2000)]
            assert ends == tuple(np.quantile(means, [(1 - 0.95) / 2, (1 + 0.95) / 2]))

    def test_resampling_agrees_with_the_normal_interval_of_a_mean(self):
        samples = GENERATOR.normal(5.0, 2.0, 400)
        half = norm.ppf(0.975) * samples.std() / 20
        low, high = of(samples).interval()
        assert low == pytest.approx(samples.mean() - half, abs=0.1 * half)
        assert high == pytest.approx(samples.mean() + half, abs=0.1 * half)

    def test_more_confidence_is_wider(self):
        for score in (Score(0.9, 50), of(GENERATOR.normal(size=50))):
            (low, high), (lower, higher) = score.interval(0.8), score.interval(0.99)
            assert lower < low < score.value < high < higher

    def test_it_lies_around_a_value_that_is_not_the_samples_mean(self):
        samples = ones(526, 540)
        low, high = Score(0.8, per_sample=samples).interval()
        assert low < 0.8 < high and high - low < 0.03

    @pytest.mark.parametrize("confidence", [0, 1, 95, math.nan])
    def test_a_confidence_outside_zero_to_one_is_refused(self, confidence):
        with pytest.raises(InputError, match="confidence"):
            Score(0.5, 10).interval(confidence)
        with pytest.raises(InputError, match="confidence"):
            paired_drop(Score(0.5, 10), Score(0.5, 10), confidence)


class TestPairedDrop:
    def test_pairs_are_narrower_than_two_intervals(self):
        before = np.array(ones(526, 540))
        after = before.copy()
        after[[0, 1, 2, 539]] = 1 - after[[0, 1, 2, 539]]
        paired = paired_drop(of(before), of(after))
        apart = paired_drop(Score(before.mean(), 540), Score(after.mean(), 540))
        assert paired.paired and not apart.paired
        assert paired.value == pytest.approx(2 / 540) and paired.value == apart.value
        assert paired.low < paired.value < paired.high and apart.low < apart.value < apart.high
        assert paired.high - paired.low < 0.5 * (apart.high - apart.low)

    @pytest.mark.parametrize("higher", [True, False])
    def test_worse_is_positive_whichever_way_the_metric_goes(self, higher):
        good, bad = ones(90, 100), ones(60, 100)
        reference, other = (good, bad) if higher else (bad, good)
        for samples in (True, False):
            scores = [
                of(x, higher_is_better=higher) if samples else Score(np.mean(x), 100, higher_is_better=higher)
                for x in (reference, other)
            ]
            drop, back = paired_drop(*scores), paired_drop(*reversed(scores))
            assert drop.value == pytest.approx(0.3) and drop.low > 0
            assert (back.value, back.low, back.high) == pytest.approx((-drop.value, -drop.high, -drop.low), abs=0.02)

    def test_identical_predictions_are_no_drop(self):
        for higher in (True, False):
            drop = paired_drop(of(ones(9, 10), higher_is_better=higher), of(ones(9, 10), higher_is_better=higher))
            assert (drop.value, drop.p_value) == (0, 1) and drop.paired and not str(drop.value).startswith("-")

    @given(st.integers(1, 5000), st.sampled_from([0.8, 0.95, 0.99]))
    def test_where_no_sample_changed_so_many_of_all_may_have(self, n, confidence):
        drop = paired_drop(of(ones(n, n)), of(ones(n, n)), confidence)
        wanted = binomtest(0, n, alternative="less").proportion_ci(confidence, method="exact").high
        assert (drop.low, drop.high) == pytest.approx((-wanted, wanted), rel=1e-9)
        assert confidence != 0.95 or drop.high <= 3 / n

    @pytest.mark.parametrize("value", [1.5, 1.4])
    def test_where_no_sample_of_another_metric_changed_nothing_is_known(self, value):
        drop = paired_drop(Score(1.5, per_sample=[1.0, 2.0]), Score(value, per_sample=[1.0, 2.0]))
        assert drop.value == pytest.approx(1.5 - value) and drop.paired and drop.p_value == 1
        assert math.isnan(drop.low) and math.isnan(drop.high)

    @settings(deadline=None)
    @given(st.integers(0, 12), st.integers(0, 12))
    def test_the_p_value_is_mcnemars_and_the_interval_does_not_contradict_it(self, worse, better):
        before = np.array(ones(100, 200))
        after = before.copy()
        after[:worse], after[100 : 100 + better] = 0, 1
        drop = paired_drop(of(before), of(after))
        both = worse + better
        wanted = min(1.0, 2 * sum(math.comb(both, k) for k in range(min(worse, better) + 1)) / 2**both)
        assert drop.p_value == pytest.approx(wanted)
        assert drop.low <= drop.value <= drop.high
        if drop.p_value > 0.05:
            assert drop.low <= 0 <= drop.high
        if drop.p_value < 0.01:
            assert drop.low > 0 or drop.high < 0

    def test_other_values_are_paired_too(self):
        before = GENERATOR.normal(10, 3, 200)
        after = before + GENERATOR.normal(0.2, 0.1, 200)
        drop = paired_drop(of(before, higher_is_better=False), of(after, higher_is_better=False))
        assert drop.paired and 0.18 < drop.low < drop.value < drop.high < 0.22 and drop.p_value < 1e-6
        apart = Score(after.mean(), per_sample=after[:-1], higher_is_better=False)
        unpaired = paired_drop(of(before, higher_is_better=False), apart)
        assert not unpaired.paired and unpaired.low < 0 < unpaired.high

    def test_the_interval_lies_around_a_drop_that_is_not_the_samples_mean(self):
        drop = paired_drop(Score(0.9, per_sample=ones(90, 100)), Score(0.4, per_sample=ones(80, 100)))
        assert drop.value == pytest.approx(0.5) and drop.low < 0.5 < drop.high

    def test_two_intervals_are_combined_as_newcombe_does(self):
        # Newcombe 1998, table II, contrast (a): 56/70 against 48/80, method 10 gives 0.0524 to 0.3339.
        drop = paired_drop(Score(56 / 70, 70), Score(48 / 80, 80))
        assert (drop.low, drop.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)
        errors = paired_drop(Score(14 / 70, 70, higher_is_better=False), Score(32 / 80, 80, higher_is_better=False))
        assert (errors.value, errors.low, errors.high) == pytest.approx((drop.value, drop.low, drop.high))

    def test_without_n_it_is_unknown(self):
        drop = paired_drop(Score(0.9), Score(0.8, 100))
        assert drop.value == pytest.approx(0.1) and not drop.paired
        assert all(map(math.isnan, (drop.low, drop.high, drop.p_value)))

    def test_the_same_again(self):
        before, after = (GENERATOR.normal(size=100) for _ in range(2))
        assert paired_drop(of(before), of(after)) == paired_drop(of(before), of(after))


LOGITS = torch.tensor([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]])
LABELS = torch.tensor([1, 0, 0])


@dataclass
class Output:
    logits: torch.Tensor


class Add(torch.nn.Module):
    def forward(self, a, b=None):
        return a if b is None else a + b


class TestAccuracy:
    @pytest.mark.parametrize(
        "batch",
        [
            (LOGITS, LABELS),
            [LOGITS, LABELS],
            (LOGITS, LABELS.tolist()),
            (LOGITS, LOGITS * 2, LABELS),
            ((LOGITS, LOGITS * 2), LABELS),
            ({"a": LOGITS, "b": LOGITS}, LABELS),
            {"a": LOGITS, "labels": LABELS},
            {"b": LOGITS, "a": LOGITS, "label": LABELS},
        ],
        ids=["tuple", "list", "list of labels", "two inputs", "tuple in tuple", "dict in tuple", "labels", "label"],
    )
    def test_batches_of_every_kind(self, batch):
        before = dict(batch) if isinstance(batch, dict) else None
        assert accuracy([batch, batch])(Add()) == Score(4 / 6, 6, [1, 1, 0] * 2)
        assert before is None or batch.keys() == before.keys()

    @pytest.mark.parametrize(
        "wrap",
        [lambda x: {"logits": x}, Output, lambda x: SimpleNamespace(logits=x), lambda x: (x, None)],
        ids=["dict", "dataclass", "namespace", "tuple"],
    )
    def test_outputs_of_every_kind(self, wrap):
        assert accuracy([(LOGITS, LABELS)])(wrap).correct_count == 2

    def test_batches_of_different_sizes_count_by_sample(self):
        assert accuracy([(LOGITS[:1], LABELS[:1]), (LOGITS[1:], LABELS[1:])])(Add()).value == 2 / 3

    def test_no_gradients(self):
        def model(x):
            assert not torch.is_grad_enabled()
            return x

        assert accuracy([(LOGITS, LABELS)])(model).n == 3

    @pytest.mark.parametrize(
        "loader",
        [((LOGITS, LABELS) for _ in range(1)), iter([]), [], LOGITS, {"labels": LABELS}, 5],
        ids=["generator", "iterator", "empty", "tensor", "dict", "number"],
    )
    def test_what_is_no_loader_is_refused_at_once(self, loader):
        with pytest.raises(InputError, match="qnb.accuracy"):
            accuracy(loader)

    def test_a_loader_that_turns_out_empty(self):
        class Empty:
            def __iter__(self):
                return iter(())

        with pytest.raises(InputError, match="no batch"):
            accuracy(Empty())(Add())

    @pytest.mark.parametrize("batch", [{"a": LOGITS}, (LOGITS,), LOGITS], ids=["dict", "tuple", "tensor"])
    def test_a_batch_without_labels(self, batch):
        with pytest.raises(InputError, match="labels"):
            accuracy([batch])(Add())

    @pytest.mark.parametrize(
        ("logits", "labels", "message"),
        [
            (LOGITS, LABELS[:2], r"logits \(3, 2\) with labels \(2,\)"),
            (LOGITS, LABELS[:, None], r"labels \(3, 1\)"),
            (LOGITS[None], LABELS, r"logits \(1, 3, 2\)"),
            ("text", LABELS, "logits str"),
            (LOGITS, ["cat", "dog", "cat"], "not all of them numbers"),
        ],
    )
    def test_shapes_that_do_not_fit(self, logits, labels, message):
        with pytest.raises(EvaluateError, match=message):
            accuracy([(LOGITS, labels)])(lambda _: logits)
