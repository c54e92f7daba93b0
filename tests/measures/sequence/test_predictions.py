"""KL divergence against torch's, its percentile against numpy's."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from qnb.measures.sequence import predictions
from qnb.measures.sequence.predictions import Predictions, divergence

NUMBERS = st.floats(-60, 60, width=32)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 9).flatmap(lambda n: st.lists(st.lists(NUMBERS, min_size=n, max_size=n), min_size=2, max_size=2)))
def test_it_is_torchs_and_never_negative(rows):
    reference, simulated = (torch.tensor([row]) for row in rows)
    kl, same = divergence(reference, simulated)
    p, q = reference.double().log_softmax(-1), simulated.double().log_softmax(-1)
    wanted = F.kl_div(q, p, reduction="batchmean", log_target=True)
    assert kl.item() >= 0 and kl.item() == pytest.approx(float(wanted), rel=1e-9, abs=1e-13)
    assert same.item() == (reference.argmax() == simulated.argmax())
    assert divergence(reference, reference)[0].item() == 0


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=6), st.floats(-30, 30))
def test_probabilities_and_logits_that_are_shifted_say_the_same(p, shift):
    p = torch.tensor([p], dtype=torch.float64)
    p, q = p / p.sum(), p.flip(1) / p.sum()
    wanted = float((p * (p / q).log()).sum())
    assert divergence(p, q, probabilities=True)[0].item() == pytest.approx(wanted, rel=1e-9, abs=1e-12)
    assert divergence(p.log() + shift, q.log())[0].item() == pytest.approx(wanted, rel=1e-9, abs=1e-12)


def test_what_is_impossible_or_no_number_is_infinitely_far():
    uniform, sure = torch.zeros(1, 3), torch.tensor([[0.0, -math.inf, -math.inf]])
    assert divergence(uniform, sure)[0].item() == math.inf
    assert divergence(sure, uniform)[0].item() == pytest.approx(math.log(3))
    assert divergence(uniform, torch.full((1, 3), math.nan))[0].item() == math.inf


def test_rows_at_a_time_say_the_same(monkeypatch):
    logits = torch.randn(50, 11, generator=torch.Generator().manual_seed(0))
    whole = divergence(logits, logits.round())[0]
    monkeypatch.setattr(predictions, "AT_ONCE", 33)
    torch.testing.assert_close(divergence(logits, logits.round())[0], whole, rtol=0, atol=0)


def test_mean_percentile_and_agreement_over_batches():
    torch.manual_seed(0)
    reference = torch.randn(300, 4, 8)
    simulated = reference + torch.randn(300, 4, 8) * torch.tensor([0.0, 0.01, 0.3, 3.0])[None, :, None]
    found = Predictions()
    for start in range(0, 300, 50):
        rows = np.broadcast_to(np.arange(4), (50, 4)).reshape(-1)
        found.add(*(x[start : start + 50].reshape(-1, 8) for x in (reference, simulated)), rows, False)
    kl = divergence(reference.reshape(-1, 8), simulated.reshape(-1, 8))[0].reshape(300, 4).numpy()
    table = found.table()
    np.testing.assert_allclose(table.kl_nats, kl.mean(0), rtol=1e-9)
    exact = np.quantile(kl, 0.95, axis=0, method="inverted_cdf")
    np.testing.assert_allclose(table.kl_p95_nats, exact, rtol=0.012)
    assert table.kl_p95_nats[0] == 0 and table.top1_agreement[0] == 1 and table.n.tolist() == [300] * 4
    same = (reference.argmax(-1) == simulated.argmax(-1)).double().mean(0).numpy()
    np.testing.assert_allclose(table.top1_agreement, same)
    mean, p95, agreement = found.overall()
    assert mean == pytest.approx(kl.mean()) and agreement == pytest.approx(same.mean())
    assert p95 == pytest.approx(np.quantile(kl, 0.95, method="inverted_cdf"), rel=0.012)


def test_nothing_predicted():
    assert Predictions().table().empty and all(map(math.isnan, Predictions().overall()))
