"""Perplexity against closed forms and against torch's cross-entropy; targets that cannot be misread; intervals."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wilcoxon
from torch import nn

import qnb
from qnb.errors import EvaluateError, InputError
from qnb.measures import Score, paired_drop
from qnb.measures.metrics import intervals, likelihoods
from qnb.workflow.storage import runs
from qnb.workflow.storage.source import Source

VOCABULARY = 7


class Bigram(nn.Module):
    """Logits of the next token from a table; ``out`` shapes what is returned."""

    def __init__(self, table=None, out=lambda logits: logits):
        super().__init__()
        self.table = torch.randn(VOCABULARY, VOCABULARY) if table is None else table
        self.out = out

    def forward(self, input_ids, attention_mask=None):
        return self.out(self.table[input_ids])


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Bigram()


@pytest.fixture
def ids():
    return torch.randint(VOCABULARY, (5, 11), generator=torch.Generator().manual_seed(1))


def by_torch(model, ids, keep=None):
    """Mean negative log-likelihood of the tokens that are kept."""
    nats = F.cross_entropy(model.table.double()[ids[:, :-1]].transpose(1, 2), ids[:, 1:], reduction="none")
    return float(nats[keep].mean() if keep is not None else nats.mean())


@pytest.mark.parametrize("vocabulary", [2, 7, 32_000])
def test_uniform_logits_have_the_vocabulary_as_perplexity(vocabulary):
    score = qnb.perplexity([torch.randint(vocabulary, (3, 4))])(lambda ids: torch.full((3, 4, vocabulary), 5.0))
    assert score.value == pytest.approx(vocabulary, rel=1e-12)
    assert score.n == 3 and score.weights == (3.0, 3.0, 3.0) and not score.higher_is_better


def test_a_known_bigram():
    table = torch.tensor([[0.5, 0.5], [0.125, 0.875]]).log()
    score = qnb.perplexity([torch.tensor([[0, 0, 1, 0]])])(lambda ids: table[ids])
    assert score.value == pytest.approx((0.5 * 0.5 * 0.125) ** (-1 / 3), rel=1e-6)


OUTPUTS = {
    "tensor": lambda logits: logits,
    "tuple": lambda logits: (logits, "cache"),
    "attribute": lambda logits: SimpleNamespace(logits=logits, loss=None),
    "dict": lambda logits: {"logits": logits},
}


@pytest.mark.parametrize("out", OUTPUTS.values(), ids=OUTPUTS)
def test_what_models_return(model, ids, out):
    model.out = out
    assert qnb.perplexity([ids])(model).value == pytest.approx(math.exp(by_torch(model, ids)), rel=1e-12)


def following(ids):
    return torch.cat([ids[:, 1:], torch.full_like(ids[:, :1], -100)], 1)


BATCHES = {
    "tensor": lambda ids: ids,
    "tuple of one": lambda ids: (ids,),
    "dict": lambda ids: {"input_ids": ids},
    "labels as Hugging Face has them": lambda ids: {"input_ids": ids, "labels": ids.clone()},
    "labels and a mask": lambda ids: {"input_ids": ids, "labels": ids, "attention_mask": torch.ones_like(ids)},
    "pair of the same": lambda ids: (ids, ids.int()),
    "pair of the next": lambda ids: (ids, following(ids)),
    "dict of the next": lambda ids: {"input_ids": ids, "targets": following(ids)},
    "pair of a dict": lambda ids: ({"input_ids": ids}, ids),
}


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
def test_every_form_of_a_batch_says_the_same(model, ids, batch):
    metric = qnb.perplexity([batch(ids[:2]), batch(ids[2:])])
    assert metric(model).value == pytest.approx(math.exp(by_torch(model, ids)), rel=1e-12)


def test_targets_beyond_the_window_count(model, ids):
    """As nanoGPT cuts its data: the last target is the token after the inputs."""
    score = qnb.cross_entropy([(ids[:, :-1], ids[:, 1:])])(model)
    assert score.value == pytest.approx(by_torch(model, ids), rel=1e-12) and score.weights == (10.0,) * 5


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_does_not_count(model, ids, side):
    mask = torch.ones_like(ids)
    for row, missing in enumerate((0, 3, 5, 9, 10)):
        mask[row, slice(0, missing) if side == "left" else slice(11 - missing, None)] = 0
    keep = (mask[:, 1:] * mask[:, :-1]).bool()
    for labels in ({}, {"labels": ids}, {"labels": torch.where(mask > 0, ids, -100)}, {"targets": following(ids)}):
        score = qnb.cross_entropy([{"input_ids": ids, "attention_mask": mask, **labels}])(model)
        assert score.value == pytest.approx(by_torch(model, ids, keep), rel=1e-12)
        assert score.weights == (10.0, 7.0, 5.0, 1.0)  # the last sequence has one token: nothing to predict


def test_a_prompt_that_is_ignored_does_not_count(model, ids):
    labels = ids.clone()
    labels[:, :4] = -1
    score = qnb.cross_entropy([{"input_ids": ids, "labels": labels}], ignore_index=-1)(model)
    keep = torch.zeros(5, 10, dtype=torch.bool)
    keep[:, 3:] = True
    assert score.value == pytest.approx(by_torch(model, ids, keep), rel=1e-12)


def test_targets_of_another_kind_need_to_be_said(model, ids):
    other = ids.flip(1)
    with pytest.raises(InputError, match="neither their own nor the next"):
        qnb.perplexity([(ids, other)])(model)
    as_they_are = F.cross_entropy(model.table.double()[ids].transpose(1, 2), other)
    assert qnb.cross_entropy([(ids, other)], shift=False)(model).value == pytest.approx(float(as_they_are), rel=1e-12)
    moved = F.cross_entropy(model.table.double()[ids[:, :-1]].transpose(1, 2), other[:, 1:])
    assert qnb.cross_entropy([(ids, other)], shift=True)(model).value == pytest.approx(float(moved), rel=1e-12)


def test_batches_must_agree_on_what_targets_are(model, ids):
    with pytest.raises(InputError, match="batches whose targets are their own tokens, and some"):
        qnb.perplexity([(ids, ids), (ids, following(ids))])(model)
    constant = torch.full((1, 4), 3)
    with pytest.raises(InputError, match="both their own and the next"):
        qnb.perplexity([(constant, constant)])(model)
    score = qnb.perplexity([(ids, ids), (constant, constant)])(model)  # what the first batch showed
    assert score.weights == (10.0,) * 5 + (3.0,)


BAD = {
    "mask as targets": (lambda ids: (ids, torch.ones_like(ids)), InputError, "as an attention mask is"),
    "bool mask as targets": (lambda ids: (ids, torch.ones_like(ids).bool()), InputError, "targets of shape"),
    "no ids": (lambda ids: {"pixels": torch.rand(2, 3)}, InputError, "without token ids"),
    "floats": (lambda ids: torch.rand(2, 3), InputError, "without token ids"),
    "class labels": (lambda ids: (ids, ids[:, 0]), InputError, "targets of shape"),
    "one token": (lambda ids: ids[:, :1], InputError, "no token that counts"),
    "all ignored": (lambda ids: (ids, torch.full_like(ids, -100)), InputError, "no token that counts"),
    "mask of another shape": (
        lambda ids: {"input_ids": ids, "attention_mask": torch.ones(5, 1, 11, 11)},
        InputError,
        "an attention_mask",
    ),
}


@pytest.mark.parametrize(("batch", "error", "text"), BAD.values(), ids=BAD)
def test_batches_that_are_refused(model, ids, batch, error, text):
    given = batch(ids)
    with pytest.raises(error, match=text):
        qnb.perplexity([given])(
            lambda *args, **kwargs: model(ids[:, : given.shape[1]] if hasattr(given, "dim") else ids)
        )


def test_arguments_are_checked_at_once(ids):
    for options in ({"ignore_index": 1.5}, {"shift": "yes"}):
        with pytest.raises(InputError):
            qnb.perplexity([ids], **options)
    with pytest.raises(InputError, match="one-shot"):
        qnb.perplexity(iter([ids]))


@pytest.mark.parametrize(
    ("logits", "text"),
    [
        (lambda ids: torch.zeros(5, VOCABULARY), "logits"),
        (lambda ids: torch.zeros(5, 10, VOCABULARY), "logits"),
        (lambda ids: torch.zeros(5, 11, 3), "with 3 logits"),
        (lambda ids: torch.full((5, 11, VOCABULARY), math.nan), "no number"),
        (lambda ids: 1e4 * (F.one_hot(ids, VOCABULARY) * 1.0), "nats per token"),
        (lambda ids: "text", "str"),
    ],
)
def test_logits_that_are_refused(ids, logits, text):
    distinct = torch.arange(11)[None].expand(5, 11) % VOCABULARY
    with pytest.raises(EvaluateError, match=text):
        qnb.perplexity([distinct])(logits)


def test_float32_logits_lose_nothing_more(ids):
    """A softmax in float32 would round at 1e-7 of logits near 5000; float64 does not."""
    logits = 5000 + torch.randn(5, 11, VOCABULARY, generator=torch.Generator().manual_seed(0))
    exact = F.cross_entropy(logits.double()[:, :-1].transpose(1, 2), ids[:, 1:])
    assert qnb.cross_entropy([ids])(lambda _: logits).value == pytest.approx(float(exact), rel=1e-14)
    assert qnb.cross_entropy([ids])(lambda _: logits.half()).value > 0


def test_few_logits_are_in_float64_at_once(model, ids, monkeypatch):
    whole = qnb.cross_entropy([ids])(model)
    monkeypatch.setattr(likelihoods, "AT_ONCE", 3 * VOCABULARY)
    assert qnb.cross_entropy([ids])(model) == whole


def test_perplexity_does_not_depend_on_batches(model, ids):
    lengths = [(ids[i : i + 1, : 2 + 2 * i]) for i in range(5)]
    score, entropy = qnb.perplexity(lengths)(model), qnb.cross_entropy(lengths)(model)
    assert score.weights == (1.0, 3.0, 5.0, 7.0, 9.0) == entropy.weights
    assert math.log(score.value) == pytest.approx(entropy.value, rel=1e-12)
    np.testing.assert_allclose(np.log(score.per_sample), entropy.per_sample, rtol=1e-12)


def scores(seed=0, n=40):
    rng = np.random.default_rng(seed)
    tokens, nats = rng.integers(5, 90, n), rng.gamma(4.0, 0.5, n)
    lost = rng.normal(0.02, 0.05, n)
    return tokens, nats, nats + lost


def of(nats, tokens):
    return Score(
        float(np.exp((nats * tokens).sum() / tokens.sum())),
        per_sample=np.exp(nats),
        weights=tokens,
        mean="geometric",
        higher_is_better=False,
    )


def test_the_interval_resamples_sequences():
    tokens, nats, other = scores()
    before, after = of(nats, tokens), of(other, tokens)
    rng, ppl, drops = np.random.default_rng(0), [], []
    for _ in range(intervals.DRAWS):
        drawn = rng.integers(0, 40, 40)
        a, b = (np.exp((x[drawn] * tokens[drawn]).sum() / tokens[drawn].sum()) for x in (nats, other))
        ppl.append(b)
        drops.append(b - a)
    drop = paired_drop(before, after)
    assert (drop.low, drop.high) == pytest.approx(tuple(np.quantile(drops, [0.025, 0.975])), rel=1e-9)
    assert drop.value == pytest.approx(after.value - before.value) and drop.paired
    assert drop.p_value == pytest.approx(wilcoxon(other - nats).pvalue)
    for score in (after, of(other, tokens)):  # known from the comparison, and found alone
        assert score.interval() == pytest.approx(tuple(np.quantile(ppl, [0.025, 0.975])), rel=1e-9)
    assert drop.high - drop.low < 0.2 * (score.interval()[1] - score.interval()[0])


def test_sequences_of_other_lengths_are_other_samples():
    tokens, nats, other = scores()
    assert not paired_drop(of(nats, tokens), of(other, tokens + 1)).paired
    assert not paired_drop(of(nats, tokens), Score(float(np.exp(other).mean()), per_sample=np.exp(other))).paired


def test_nothing_changed():
    tokens, nats, _ = scores()
    drop = paired_drop(of(nats, tokens), of(nats, tokens))
    assert drop.value == 0 and drop.p_value == 1 and math.isnan(drop.low)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.floats(0.01, 9), st.integers(1, 99)), min_size=2, max_size=12))
def test_a_geometric_mean_lies_in_its_interval(drawn):
    nats, tokens = np.array([d[0] for d in drawn]), np.array([d[1] for d in drawn], dtype=float)
    score = of(nats, tokens)
    low, high = score.interval(0.999)
    assert low <= score.value * (1 + 1e-9) and score.value <= high * (1 + 1e-9)
    assert min(score.per_sample) <= low * (1 + 1e-9) and high <= max(score.per_sample) * (1 + 1e-9)


@pytest.mark.parametrize(
    "options",
    [
        {"weights": [1.0, 2.0]},
        {"per_sample": [1.0, 4.0], "weights": [1.0]},
        {"per_sample": [1.0, 4.0], "weights": [1.0, 0.0]},
        {"per_sample": [1.0, 4.0], "weights": ["a", 1]},
        {"per_sample": [1.0, 4.0], "mean": "harmonic"},
        {"per_sample": [1.0, 4.0], "weights": [9.0, 1.0]},
        {"per_sample": [0.0, 4.0], "mean": "geometric"},
        {"mean": "geometric"},
    ],
)
def test_weights_and_means_that_do_not_fit(options):
    with pytest.raises(EvaluateError):
        Score(2.0, **options)


def test_weighted_means():
    assert Score(2.0, per_sample=[1.0, 4.0], mean="geometric").n == 2
    assert Score(2.0, per_sample=[1.0, 4.0], weights=torch.tensor([2, 1])).weights == (2.0, 1.0)
    assert Score(1.0, per_sample=[1, 1], weights=[1, 2]).correct_count is None


def test_it_is_saved_and_an_older_file_has_none_of_it():
    tokens, nats, _ = scores(n=3)
    source = Source("read")
    for score in (of(nats, tokens), Score(0.5, per_sample=[0, 1])):
        stored = json.loads(json.dumps(runs.score(score)))
        source.check(stored, runs.SCORE)
        assert runs.read_score(stored, source) == score
    assert "mean" not in runs.score(Score(0.5, 2))
