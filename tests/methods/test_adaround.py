"""AdaRound: soft rounding, the search over single weights, layers, blocks, and what stays as it was."""

import itertools
import math
import sys
from functools import cache

import pytest
import torch
from torch import nn

import qnb
from qnb.methods.adaround import adaround
from qnb.methods.layerwise.frontier import Frontier
from qnb.methods.layerwise.layers import integer_layers
from qnb.methods.layerwise.unfold import products
from qnb.methods.rounding.blocks import by_block
from qnb.methods.rounding.flips import flip
from qnb.methods.rounding.layer_problem import LayerProblem, is_by_channel, sampled
from qnb.methods.rounding.soft import (
    BETA,
    Schedule,
    SoftRounding,
    inverse_rectified_sigmoid,
    rectified_sigmoid,
    regularizer,
)
from qnb.numerics import FloatGrid, Grid, Precision, quantize
from tests.export.files import File
from tests.methods.states import CancelAfter, digits_sim, same, state
from tests.models import transformers_zoo, zoo

QUICK = {"iterations": 12, "batch_size": 4}
SOME = ["blocks.0.*", "blocks.4.*", "classifier"]


def codes(sim) -> dict[str, torch.Tensor]:
    """Of every weight on an integer grid."""
    found = {}
    for layer in integer_layers(sim):
        q = sim.weight(layer.weight_key)
        found[layer.weight_key] = quantize(
            sim.weight_tensor(layer.weight_key), q.scale, q.zero_point, q.grid, q.axis, q.block_size
        )
    return found


def weight_encodings(sim) -> dict[str, torch.Tensor]:
    return {
        f"{key}.{part}": getattr(sim.weight(key), part).clone()
        for key in sim.plan.weights
        for part in ("scale", "zero_point")
    }


def linear_problem(outputs=2, k=8, samples=64, activation=lambda y: y, seed=0):
    """A small layer with correlated inputs, and its rounding on 3 bits."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, k, generator=generator) @ torch.randn(k, k, generator=generator)
    weight = torch.randn(1, outputs, k, generator=generator)
    rounding = SoftRounding(weight, torch.tensor(0.7), torch.tensor(0.0), Grid(3, symmetric=True))
    return LayerProblem(x[None], activation(x @ weight[0].T), torch.zeros(()), activation), rounding


# Soft rounding


def test_the_rectified_sigmoid_is_the_papers():
    v = torch.linspace(-4, 4, 81)
    expected = torch.clamp(1.2 / (1 + torch.exp(-v)) - 0.1, 0, 1)
    torch.testing.assert_close(rectified_sigmoid(v), expected)
    h = torch.linspace(0, 1, 21)
    torch.testing.assert_close(rectified_sigmoid(inverse_rectified_sigmoid(h)), h, atol=1e-6, rtol=0)


def test_the_regularizer_is_largest_between_and_zero_at_the_ends():
    h = torch.tensor([0.0, 0.25, 0.5, 1.0])
    assert float(regularizer(h, 3.0)) == pytest.approx((0 + (1 - 0.5**3) + 1 + 0) / 4)


def test_beta_falls_on_a_half_cosine_after_the_warm_start():
    schedule = Schedule(100, 0.1, 1.0, 0.2, True)
    assert schedule.beta(19) is None
    assert schedule.beta(20) == BETA[0]
    assert schedule.beta(60) == pytest.approx(sum(BETA) / 2)
    assert schedule.beta(99) == pytest.approx(BETA[1] + (BETA[0] - BETA[1]) / 2 * (1 + math.cos(math.pi * 79 / 80)))


def test_at_first_the_soft_weight_is_the_weight():
    weight = torch.randn(5, 7)
    rounding = SoftRounding(weight, torch.tensor(0.3), torch.tensor(9.0), Grid(5))
    torch.testing.assert_close(rounding.weight(rounding.h()), weight.clamp(-9 * 0.3, 22 * 0.3))
    nearest = quantize(weight, torch.tensor(0.3), torch.tensor(9.0), "uint5") - 9
    torch.testing.assert_close(rounding.weight(rounding.nearest_up), nearest * 0.3)


# The search


def least_losses(problem, rounding):
    """Of each channel over all roundings."""
    choices = torch.tensor(list(itertools.product([False, True], repeat=rounding.v.shape[2])))
    return torch.stack([problem.losses(rounding.weight(c.expand(rounding.v.shape))) for c in choices]).amin(0)


@pytest.mark.parametrize("activation", [lambda y: y, torch.relu], ids=["linear", "relu"])
def test_the_search_comes_near_what_trying_everything_finds(activation):
    fractions = []
    for seed in range(5):
        problem, rounding = linear_problem(3, 10, activation=activation, seed=seed)
        nearest = problem.losses(rounding.weight(rounding.nearest_up))
        found = problem.losses(rounding.weight(flip(problem, rounding, rounding.nearest_up, 100, lambda: None)))
        least = least_losses(problem, rounding)
        assert (found <= nearest).all() and (found >= least * (1 - 1e-5)).all()
        fractions.append(float((found - least).sum() / (nearest - least).sum()))
    assert sum(fractions) / 5 < 0.1


def test_after_the_search_no_single_change_helps():
    problem, rounding = linear_problem(3, 10)
    up = flip(problem, rounding, rounding.nearest_up, 100, lambda: None)
    loss = problem.losses(rounding.weight(up))
    for k in range(10):
        other = up.clone()
        other[:, :, k] ^= True
        assert (problem.losses(rounding.weight(other)) >= loss * (1 - 1e-5)).all()


ACTIVATIONS = [nn.Identity(), nn.ReLU(), nn.Hardtanh(0, 6)]


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda a: type(a).__name__)
def test_a_small_layer_is_rounded_nearly_as_well_as_by_trying_everything(activation):
    torch.manual_seed(0)
    x = torch.randn(128, 10) @ torch.randn(10, 10)
    sim = qnb.QuantSim(nn.Sequential(nn.Linear(10, 4), activation).eval(), x, "w3a16").calibrate([x])
    ((walk, product, segment),) = layers_of(sim, [x])
    problem = sampled(walk, product, segment, [segment.target(0)], lambda: None)
    key = product.layer.weight_key
    q, weight = sim.weight(key), sim.weight_tensor(key)
    rounding = SoftRounding(product.rows(weight.detach()), q.scale.view(1, -1, 1), q.zero_point.view(1, -1, 1), q.grid)
    least = float(least_losses(problem, rounding).sum())
    nearest = float(problem.losses(rounding.weight(rounding.nearest_up)).sum())
    adaround(sim, [x])
    found = float(problem.losses(product.rows(sim.weight_tensor(key).detach())).sum())
    assert least * (1 - 1e-4) <= found <= least + 0.1 * (nearest - least)


# The problem of a layer


MODELS = {**zoo(), **transformers_zoo()}


class Shapes(nn.Module):
    """Convolutions of every kind, PReLU, matrices on either side."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(4, 8, 3, 2, "valid", groups=2),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding="same", dilation=2),
            nn.PReLU(8),
            nn.ConvTranspose2d(8, 6, 3, 2, 1, 1, groups=2),
            nn.ReLU6(),
            nn.ConvTranspose2d(6, 4, 2, bias=False),
        )
        self.line = nn.Conv1d(4, 4, 3, padding=1, groups=4)
        self.left, self.correct_count = nn.Parameter(torch.randn(5, 4)), nn.Parameter(torch.randn(3, 6))
        self.many = nn.Parameter(torch.randn(5, 6, 2))

    def forward(self, x):
        y = self.left @ self.line(self.layers(x).flatten(2)[..., :60])
        y = torch.relu(y.unflatten(-1, (-1, 3)) @ self.correct_count)
        return (y @ self.many).sum((1, 2))


@cache
def simulated(name):
    """A sim, to be copied before it is changed, and its batch."""
    torch.manual_seed(0)
    model, x = MODELS[name] if name in MODELS else (Shapes().eval(), torch.randn(4, 4, 12, 12))
    return qnb.QuantSim(model, x, "w3a8").calibrate([x]), x


def layers_of(sim, batches):
    """Every single layer that is a product: (walk, product, segment), as the walk stands before it."""
    walk = Frontier(sim, batches)
    for layer in integer_layers(sim):
        walk.advance(layer.node)
        segment = walk.segment(layer.group.output)
        found, _ = products(sim, [layer])
        if found and is_by_channel(walk, found[0], segment):
            yield walk, found[0], segment


@pytest.mark.parametrize("name", [*MODELS, "shapes"])
def test_the_columns_give_the_layers_output(name):
    sim, x = simulated(name)
    count = 0
    for walk, product, segment in layers_of(sim, [x, x]):
        problem = sampled(walk, product, segment, [segment.target(i) for i in range(2)], lambda: None)
        q, weight = sim.weight(product.layer.weight_key), sim.weight_tensor(product.layer.weight_key)
        with torch.no_grad():
            outputs = [segment.run(segment.values(i)).double() for i in range(2)]
            own = float(problem.losses(product.rows(q(weight))).sum()) * len(problem)
        targets = [segment.target(i).double() for i in range(2)]
        whole = sum(float((a - b).square().sum()) for a, b in zip(outputs, targets, strict=True))
        assert own == pytest.approx(whole, rel=1e-3, abs=1e-9)
        count += 1
    assert count >= len(integer_layers(sim)) - 1


def test_only_so_many_columns_are_kept(monkeypatch):
    sim, batches = digits_sim()
    monkeypatch.setattr("qnb.methods.rounding.layer_problem.COLUMNS", 50)
    for walk, product, segment in layers_of(sim, batches):
        targets = [segment.target(i) for i in range(segment.count)]
        assert len(sampled(walk, product, segment, targets, lambda: None)) == 50
    monkeypatch.setattr("qnb.methods.rounding.layer_problem.ELEMENTS", 10 * 16)
    assert len(sampled(walk, product, segment, targets, lambda: None)) == 10  # the classifier sums 16


# The method


GRIDS = {
    "symmetric per tensor": Grid(4, True),
    "asymmetric per tensor": Grid(4),
    "symmetric per channel": Grid(3, True, "channel"),
    "asymmetric per channel": Grid(4, False, "channel"),
    "blocks": Grid(4, True, "block", 8),
}


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_codes_are_neighbours_and_encodings_stay(grid):
    sim, batches = digits_sim(Precision(grid, Grid(8)))
    before, encodings = codes(sim), weight_encodings(sim)
    result = adaround(sim, batches, layers=SOME, iterations=30)
    table = result.table.dropna(subset="loss")
    assert len(table) == 7
    assert (table.loss <= table.loss_nearest).all()
    assert result.output_after_db > result.output_before_db
    after = codes(sim)
    assert all(torch.equal(encodings[k], v) for k, v in weight_encodings(sim).items())
    assert all(int((after[k] - before[k]).abs().max()) <= 1 for k in before)
    flipped = {
        layer.layer: float((after[layer.weight_key] != before[layer.weight_key]).double().mean())
        for layer in integer_layers(sim, SOME)
    }
    assert flipped == pytest.approx(dict(zip(table.layer, table.flipped_fraction, strict=True)))
    assert table.flipped_fraction.max() > 0


def test_the_weight_is_code_times_scale():
    sim, batches = digits_sim()
    adaround(sim, batches, layers=SOME, **QUICK)
    for layer in integer_layers(sim, SOME):
        weight = sim.weight_tensor(layer.weight_key)
        torch.testing.assert_close(sim.weight(layer.weight_key)(weight), weight, rtol=1e-6, atol=0)


@pytest.mark.parametrize("blocks", [False, True], ids=["layers", "blocks"])
def test_batches_may_differ_in_size(blocks):
    sim, (first, second) = digits_sim()
    table = adaround(sim, [first[:5], second, first[5:6]], blocks=blocks, layers=SOME, **QUICK).table.dropna(
        subset="loss"
    )
    assert (table.loss < table.loss_nearest).any()


def test_the_exported_file_holds_the_codes(tmp_path):
    sim, batches = digits_sim(target="onnxruntime-cpu")
    adaround(sim, batches, layers=SOME, **QUICK)
    file = File(qnb.export_onnx(sim, tmp_path / "rounded.onnx"))
    for layer in integer_layers(sim):
        held = file.values(file.maker[layer.weight].input[0]).astype("int32")
        assert (held == codes(sim)[layer.weight_key].numpy()).all()


def test_a_layer_that_is_not_helped_keeps_the_nearest(monkeypatch):
    sim, batches = digits_sim()
    before = codes(sim)
    module = sys.modules[adaround.__module__]
    monkeypatch.setattr(module, "flip", lambda problem, rounding, up, steps, tick: ~rounding.nearest_up)
    table = adaround(sim, batches, layers=["stem.*", "blocks.0.*"], **QUICK).table.dropna(subset="loss")
    assert set(table.rounding) == {"nearest"} and (table.loss == table.loss_nearest).all()
    assert all(torch.equal(v, before[k]) for k, v in codes(sim).items())


@pytest.mark.parametrize("blocks", [False, True], ids=["layers", "blocks"])
def test_the_same_seed_gives_the_same_bits_in_any_memory(blocks):
    states = []
    for options in ({}, {"memory_bytes": 0}, {"seed": 1}):
        sim, batches = digits_sim()
        adaround(sim, batches, blocks=blocks, layers=SOME, **{**QUICK, **options})
        states.append(state(sim))
    assert same(states[0], states[1])
    assert not same(states[0], states[2])


BLOCKS = [(name, True) for name in ("resnet20", "mobilenet_v2", "unet", "bert", "llama")]


@pytest.mark.parametrize(("name", "blocks"), [*((name, False) for name in [*MODELS, "shapes"]), *BLOCKS])
def test_every_model(name, blocks):
    original, x = simulated(name)
    sim = original.copy()
    before = codes(sim)
    result = adaround(sim, [x, x], iterations=3, batch_size=2, blocks=blocks)
    table = result.table.dropna(subset="loss")
    assert (table.loss <= table.loss_nearest).all()
    assert len(table) + len(result.notes) == len(before)
    assert all(int((v - before[k]).abs().max()) <= 1 for k, v in codes(sim).items())
    assert state(sim)["flags"] == state(original)["flags"]


def test_early_stop_needs_fewer_iterations():
    tables = []
    for early_stop in (True, False):
        sim, batches = digits_sim()
        tables.append(adaround(sim, batches, layers="blocks.1.expand*", iterations=300, early_stop=early_stop).table)
    early, late = (t.dropna(subset="loss") for t in tables)
    assert (late.iterations == 300).all() and early.iterations.sum() < late.iterations.sum()
    assert early.loss.sum() == pytest.approx(late.loss.sum(), rel=0.02)


def test_chosen_layers_and_the_history():
    sim, batches = digits_sim()
    before = codes(sim)
    result = adaround(sim, batches, layers="blocks.1.*", iterations=80)
    assert result.history.layer.unique().tolist() == [f"blocks.1.{n}.conv" for n in ("expand", "depthwise", "project")]
    assert list(result.history.columns) == ["layer", "iteration", "loss"] and len(result.history) > 60
    changed = {k for k, v in codes(sim).items() if not torch.equal(v, before[k])}
    assert changed and all(k.startswith("conv2d") for k in changed)
    assert {sim.plan.weights[k].layer for k in changed} <= set(result.history.layer)


def test_a_tied_weight_is_rounded_once():
    model, example = MODELS["reused"]
    sim = qnb.QuantSim(model, example, "w3a8", target="generic").calibrate([example])
    result = adaround(sim, [example], **QUICK)
    assert result.table["loss"].notna().sum() == 1 and len(result.notes) == 2
    assert len({tuple(c.flatten().tolist()) for c in codes(sim).values()}) == 1


def test_a_weight_that_an_embedding_reads_too_stays():
    sim, example = simulated("gpt2")
    sim = sim.copy()
    head = integer_layers(sim)[-1]
    before = sim.weight_tensor(head.weight_key).detach().clone()
    (note,) = adaround(sim, [example], layers=head.layer, **QUICK).notes
    assert head.layer in note and torch.equal(sim.weight_tensor(head.weight_key), before)


# Blocks


def found_blocks(name):
    sim, x = simulated(name)
    return [[layer.layer for layer in b.layers] for b in by_block(sim, Frontier(sim, [x]), integer_layers(sim))]


def test_blocks_are_what_lies_between_cuts():
    conv = [[f"layer{i}.{j}.conv1", f"layer{i}.{j}.conv2"] for i in (1, 2, 3) for j in (0, 1)]
    assert found_blocks("resnet20") == [["conv1"], *conv, ["fc"]]
    attention = ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense")
    bert = [
        [f"encoder.layer.{i}.{part}" for part in parts]
        for i in (0, 1)
        for parts in (attention, ("intermediate.dense", "output.dense"))
    ]
    assert [b for b in found_blocks("bert") if len(b) > 1] == bert
    assert [b for b in found_blocks("unet") if len(b) > 1] == [["down2.0", "up"]]  # what the first skip goes around


def test_a_long_block_is_taken_layer_by_layer(monkeypatch):
    monkeypatch.setattr("qnb.methods.rounding.blocks.LARGEST", 3)
    assert all(len(b) <= 3 for b in found_blocks("bert")) and len(found_blocks("bert")) > 2


def test_blocks_come_closer_to_fp32_at_their_end():
    after = {}
    for blocks in (False, True):
        sim, batches = digits_sim("w3a8")
        after[blocks] = adaround(sim, batches, blocks=blocks, iterations=60)
    assert after[True].output_after_db > after[True].output_before_db + 5
    assert after[True].table.block.dropna().nunique() < after[False].table["loss"].notna().sum()


# Errors and cancelling


@pytest.mark.parametrize("option", [{"iterations": 0}, {"batch_size": 0}, {"warm_start": 1.0}, {"learning_rate": 0.0}])
def test_options_out_of_range_are_errors(option):
    sim, batches = digits_sim()
    with pytest.raises(qnb.errors.InputError, match=next(iter(option))):
        adaround(sim, batches, **option)


def test_float_weights_are_an_error():
    sim, batches = digits_sim(Precision(FloatGrid("fp16"), Grid(8)))
    with pytest.raises(qnb.errors.PrecisionError, match="integer"):
        adaround(sim, batches)


@pytest.mark.parametrize("blocks", [False, True], ids=["layers", "blocks"])
def test_cancelling_leaves_everything_as_it_was(blocks):
    sim, batches = digits_sim()
    before, count = state(sim), CancelAfter()
    adaround(sim.copy(), batches, blocks=blocks, layers=SOME, progress=count, **QUICK)
    for part in (0.02, 0.3, 0.6, 0.98):
        with pytest.raises(qnb.errors.Cancelled):
            adaround(
                sim, batches, blocks=blocks, layers=SOME, progress=CancelAfter(int(part * count.calls) + 1), **QUICK
            )
        assert same(before, state(sim))


def test_progress_counts_iterations_and_names_the_layer():
    sim, batches = digits_sim()
    seen = []
    adaround(sim, batches, layers=["stem.conv", "classifier"], progress=lambda *a: seen.append(a), **QUICK)
    own = [a for a in seen if a[2].startswith("adaround") and a[1]]
    assert {a[1] for a in own} == {24} and [a[0] for a in own] == sorted(a[0] for a in own)
    assert own[-1][2] == "adaround: layer 2 of 2, classifier"


@pytest.mark.slow
def test_a_twentieth_of_the_iterations_is_as_good_as_the_usual_way():
    from tests.bench.adaround import compare, digits

    case = digits()
    case.layers = ["stem.conv", "blocks.2.*", "head.conv"]
    table = compare(case, iterations=2000, ours=100)
    assert table.ours.sum() <= table.usual.sum() < table.nearest.sum()
