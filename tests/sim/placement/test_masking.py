"""Which attention scores count, and how far below them a range ends."""

import math

import pytest
import torch

import qnb
from qnb.sim.placement.masking import attended, margin
from tests.sim.placement.test_place import Attention

INF = math.inf


@pytest.mark.parametrize("shut", [-INF, torch.finfo(torch.float32).min, -1e9, -1e4, -100.0])
def test_masked_positions_do_not_count(shut):
    scores = torch.tensor([[1.0, -9.0, 2.0 + shut], [3.0, shut, shut]])
    assert attended(scores).tolist() == [[True, True, False], [True, False, False]]


@pytest.mark.parametrize("shut", [-INF, torch.finfo(torch.float32).min, -1e9, -1e4])
def test_a_row_without_any_position_does_not_count(shut):
    assert not attended(torch.full((2, 3), shut)).any()


def test_low_scores_count_where_the_whole_row_is_low():
    assert attended(torch.tensor([[-300.0, -301.0, -290.0]])).all()


def test_nan_counts_so_that_calibration_finds_it():
    assert attended(torch.tensor([[float("nan"), 1.0]])).any()


@pytest.mark.parametrize("bits", [4, 8, 16])
@pytest.mark.parametrize("positions", [2, 50, 4096])
def test_what_is_shut_out_gets_less_than_half_a_step_together(bits, positions):
    scores = torch.full((positions,), -margin(bits, positions), dtype=torch.float64)
    scores[0] = 0.0  # the row's highest; a row of lowest scores only is the worst case
    assert torch.softmax(scores, 0)[1:].sum() <= 2.0 ** -(bits + 1)


@pytest.mark.parametrize("target", ["generic", "htp-v75"])
@pytest.mark.parametrize("shut", [-100.0, -1e4, torch.finfo(torch.float32).min])
def test_no_mask_gets_into_a_range(target, shut):
    x = torch.randn(2, 6, 16, generator=torch.Generator().manual_seed(1))
    mask = torch.zeros(2, 1, 6, 6)
    mask[:, :, :, 4:] = shut
    sim = qnb.QuantSim(Attention().eval(), (x, mask), "w8a8", target=target).calibrate([(x, mask)])
    activations = sim.encodings().query("kind == 'activation'")
    assert activations["max"].sub(activations["min"]).max() < 50
    table = qnb.compare_layers(sim, [(x, mask)])
    assert (table.own_sqnr_db > 25).all() and table.fp32_min.min() > -50


def test_a_batch_whose_every_position_is_masked_counts_nothing():
    x = torch.randn(2, 6, 16, generator=torch.Generator().manual_seed(1))
    nowhere = torch.full((2, 1, 6, 6), -INF)
    sim = qnb.QuantSim(Attention().eval(), (x, nowhere), "w8a8").calibrate([(x, torch.zeros(2, 1, 6, 6))])
    table = qnb.compare_layers(sim, [(x, nowhere)])
    masked = table[table.op == "add"]
    assert list(masked.numel) == [0] and list(masked.saturated_fraction) == [0.0]
