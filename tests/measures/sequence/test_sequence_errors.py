"""Errors by token position and by head: against brute force, and planted ones are found where they are."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import qnb
from qnb import columns
from qnb.errors import CalibrationError, Cancelled, InputError
from qnb.measures.layers.lockstep import Lockstep
from qnb.measures.sequence import energies
from qnb.sim.placement.masking import attended
from tests.measures.sequence.causal import HEADS, batch, simulated
from tests.models import transformers_zoo, zoo

BATCHES = [batch(4, 9, 3), batch(2, 6, 1, seed=1)]


@pytest.fixture(scope="module")
def sim():
    return simulated()


@pytest.fixture(scope="module")
def found(sim):
    return qnb.sequence_errors(sim, BATCHES)


def db(signal, noise):
    return math.inf if noise == 0 else 10 * math.log10(signal / noise)


@pytest.fixture(scope="module")
def kept(sim):
    """Every layer's values, kept: (batch, layer) -> (reference, simulated, own, masked)."""
    kept = {}
    for i, one in enumerate(BATCHES):

        def visit(v, i=i):
            kept[i, v.group.layer] = tuple(x.double().clone() for x in (v.reference, v.simulated, v.own)), v.masked

        Lockstep(sim).run(sim.flatten(one, "test"), visit)
    return kept


def by_hand(kept, layer, at, head):
    """(SQNR, own SQNR, MSE, number) of one position or head, element by element."""
    sums = np.zeros(4)
    for i, one in enumerate(BATCHES):
        mask = one["attention_mask"].bool()
        values, masked = kept[i, layer]
        keep = attended(values[0]) if masked else torch.ones_like(values[0], dtype=torch.bool)
        counted = mask[:, None, :, None] if head else mask[..., None]
        keep = (keep & counted).movedim(1, 0)
        if at < len(keep):
            reference, simulated, own = (x.movedim(1, 0)[at][keep[at]] for x in values)
            noises = ((simulated - reference).square().sum(), (own - reference).square().sum())
            sums += [float(reference.square().sum()), *map(float, noises), reference.numel()]
    return db(sums[0], sums[1]), db(sums[0], sums[2]), sums[1] / sums[3], sums[3]


@pytest.mark.parametrize("layer", ["add", "query", "out", "norm", "head"])
@pytest.mark.parametrize("position", [0, 4, 5, 8])
def test_positions_by_brute_force(kept, found, layer, position):
    row = found.positions.set_index(["layer", "position"]).loc[(layer, position)]
    wanted = by_hand(kept, layer, position, False)
    figures = (row.sqnr_db, row.own_sqnr_db, row.mse, row.numel)
    assert figures == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("layer", ["matmul", "masked_fill", "softmax", "matmul_1"])
@pytest.mark.parametrize("head", range(HEADS))
def test_heads_by_brute_force(kept, found, layer, head):
    row = found.heads.set_index(["layer", "head"]).loc[(layer, head)]
    wanted = by_hand(kept, layer, head, True)
    assert (row.sqnr_db, row.own_sqnr_db, row.mse, row.numel) == pytest.approx(wanted, rel=1e-4)


def test_positions_without_padding_are_the_layers_errors(sim):
    whole = [batch(3, 7)]
    found, table = qnb.sequence_errors(sim, whole), qnb.compare_layers(sim, whole).set_index("layer")
    assert found.positions.layer.nunique() > 5
    for layer, rows in (*found.positions.groupby("layer"), *found.heads.groupby("layer")):
        numel = rows.numel.sum()
        assert (rows.mse * rows.numel).sum() / numel == pytest.approx(table.mse[layer], rel=1e-4), layer
        assert numel == table.numel[layer]


def test_tables_have_their_columns_in_graph_order(sim, found):
    assert tuple(found.positions) == columns.POSITIONS and tuple(found.heads) == columns.HEADS
    assert tuple(found.predictions) == columns.PREDICTIONS
    order = [g.layer for g in sim.groups]
    for frame in (found.positions, found.heads):
        places = [order.index(layer) for layer in frame.layer]
        assert places == sorted(places)
    assert found.predictions.position.tolist() == list(range(9))
    assert found.predictions.n.tolist() == [6, 6, 6, 6, 6, 5, 2, 2, 2]  # without padding


def test_an_error_planted_at_one_position_is_found():
    sim = simulated("w16a16").copy()
    with torch.no_grad():
        sim.model.get_parameter("places.weight")[3] += 0.3
    sim.drop_cache()
    found = qnb.sequence_errors(sim, BATCHES)
    first = found.positions[found.positions.layer == "add"].set_index("position").sqnr_db
    assert first.idxmin() == 3 and first.drop(3).min() > first[3] + 25
    # Attention is causal: what comes before does not see it, what comes after does.
    out = found.positions[found.positions.layer == "out"].set_index("position").sqnr_db
    assert out[:2].min() > out[3:].max() + 10
    kl = found.predictions.set_index("position").kl_nats
    assert kl.idxmax() == 3 and kl[:2].max() < 1e-3 * kl[3]


@pytest.mark.parametrize("head", [0, 2])
def test_an_error_planted_in_one_head_is_found(head):
    sim = simulated("w16a16").copy()
    with torch.no_grad():
        sim.model.get_parameter("value.weight")[4 * head : 4 * head + 4] *= 1.2
    sim.drop_cache()
    found = qnb.sequence_errors(sim, BATCHES)
    heads = found.heads[found.heads.layer == "matmul_1"].set_index("head").sqnr_db
    assert heads.idxmin() == head and heads.drop(head).min() > heads[head] + 25
    others = found.heads[found.heads.layer == "softmax"].sqnr_db
    assert others.min() > 50


def test_more_batches_say_the_same_as_one_in_memory_that_stays(sim):
    """Twice the data, twice the counts, the same figures."""
    once, twice = (qnb.sequence_errors(sim, BATCHES * n) for n in (1, 2))
    pd.testing.assert_frame_equal(once.positions.drop(columns="numel"), twice.positions.drop(columns="numel"))
    assert (twice.heads.numel == 2 * once.heads.numel).all() and (twice.predictions.n == 2 * once.predictions.n).all()
    assert twice.kl_nats == pytest.approx(once.kl_nats) and twice.top1_agreement == pytest.approx(once.top1_agreement)


def test_what_lies_behind_many_positions_is_joined():
    long = [batch(1, 600)]
    found = qnb.sequence_errors(simulated(batches=long), long)
    rows = found.positions[found.positions.layer == "norm"]
    assert rows.position.tolist() == list(range(513)) and rows.last_position.tolist()[-2:] == [511, 639]
    assert rows.numel.tolist()[-2:] == [16, 16 * 88] and found.predictions.n.tolist()[-1] == 88
    assert energies.slots(2000).max() == 512 + (2000 - 1 - 512) // 128


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("bert", "llama", "whisper")]


@pytest.mark.parametrize("name", ["gpt2", "vit", *SLOW])
def test_real_architectures(name):
    model, example = transformers_zoo()[name]
    sim = qnb.QuantSim(model, example, "w8a8").calibrate([example])
    found = qnb.sequence_errors(sim, [example])
    tokens = {"gpt2": 9, "bert": 9, "llama": 9, "vit": 17, "whisper": 20}[name]
    assert found.positions.groupby("layer").position.count().unique().tolist() == [tokens]
    assert found.heads[found.heads.op.str.contains("softmax")].groupby("layer")["head"].count().tolist() == [4, 4]
    assert len(found.predictions) == {"gpt2": 9, "llama": 9, "vit": 1}.get(name, 0)
    if name == "gpt2":  # its linear layers have batch and tokens in one axis
        assert {"transformer.h.0.attn.c_attn", "transformer.h.1.mlp.c_fc"} <= set(found.positions.layer)
    assert found.heads.layer.nunique() >= 6 and "weakest position" in found.document().title


def test_recurrent_models_have_positions_and_no_heads():
    model, example = zoo()["lstm"]
    found = qnb.sequence_errors(qnb.QuantSim(model, example, "w8a8").calibrate([example]), [example])
    assert found.heads.empty and found.positions.position.max() == 6 and len(found.predictions) == 7
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh()).eval()
    features = torch.randn(3, 5, 6, generator=torch.Generator().manual_seed(0))
    found = qnb.sequence_errors(qnb.QuantSim(model, features, "w8a8").calibrate([features]), [features])
    assert found.positions.position.max() == 4 and found.predictions.empty and math.isnan(found.kl_nats)


@pytest.mark.parametrize(
    "model",
    [nn.Conv2d(3, 4, 3), nn.Sequential(nn.Conv1d(3, 4, 3), nn.ReLU()), nn.Linear(8, 4)],
    ids=["2d", "1d", "linear"],
)
def test_a_model_without_tokens_is_a_named_error(model):
    example = {nn.Conv2d: (2, 3, 8, 8), nn.Sequential: (2, 3, 8), nn.Linear: (2, 8)}[type(model)]
    example = torch.randn(example, generator=torch.Generator().manual_seed(0))
    sim = qnb.QuantSim(model.eval(), example, "w8a8").calibrate([example])
    with pytest.raises(InputError, match="without token positions.*compare_layers"):
        qnb.sequence_errors(sim, [example])


def test_calls_that_are_refused(sim):
    with pytest.raises(CalibrationError):
        qnb.sequence_errors(qnb.QuantSim(sim.captured, precision="w8a8"), BATCHES)
    with pytest.raises(InputError, match="no batch"):
        qnb.sequence_errors(sim, type("Empty", (), {"__iter__": lambda self: iter(())})())


def test_progress_cancels(sim):
    told = []

    def report(done, total, message):
        told.append((done, total))
        raise Cancelled("stop", "the user", "nothing")

    with pytest.raises(Cancelled):
        qnb.sequence_errors(sim, BATCHES, progress=report)
    assert told == [(1, 2)]


def test_the_sim_is_left_alone(sim):
    before = sim.encodings()
    qnb.sequence_errors(sim, BATCHES)
    pd.testing.assert_frame_equal(sim.encodings(), before)


def test_a_lossless_sim_loses_nothing():
    found = qnb.sequence_errors(simulated("fp32"), BATCHES)
    assert (found.positions.sqnr_db == math.inf).all() and (found.heads.own_sqnr_db == math.inf).all()
    assert found.kl_nats == found.kl_p95_nats == 0 and found.top1_agreement == 1
    assert "every position lossless" in found.caption()
