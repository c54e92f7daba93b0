"""GPTQ rounds as the textbook does, and its codes are those that the sim computes with."""

import itertools
import math

import pytest
import torch
from torch import nn

import qnb
from qnb.methods.gptq import gptq, inverse_factor, round_columns
from qnb.methods.layerwise.layers import weighted_layers
from qnb.numerics import Grid, Precision, quantize
from tests.methods.states import CancelAfter, digits_sim, same, state
from tests.models import transformers_zoo, zoo


def problem(rows=3, columns=6, samples=40, groups=1, seed=0):
    """Weights ``[G, R, K]``, correlated inputs ``[G, K, N]`` and ``H = 2 X X^T``."""
    random = torch.Generator().manual_seed(seed)
    weight = torch.randn(groups, rows, columns, generator=random, dtype=torch.float64)
    mix = torch.randn(groups, columns, columns, generator=random, dtype=torch.float64)
    x = mix @ torch.randn(groups, columns, samples, generator=random, dtype=torch.float64)
    return weight, x, 2 * x @ x.mT


def nearest(w, scale, grid):
    return torch.clamp((w / scale).round(), grid.qmin, grid.qmax) * scale


def textbook(w, h, scale, grid, order):
    """Optimal brain quantization of one row in a fixed order: each weight's error is made up for by those not yet
    rounded, with the inverse of their own part of H (Frantar et al. 2022, equation 2)."""
    w, left = w.clone(), list(order)
    for q in order:
        inverse = torch.linalg.inv(h[left][:, left])
        at = left.index(q)
        rounded = nearest(w[q], scale[q], grid)
        w[left] -= (w[q] - rounded) / inverse[at, at] * inverse[at]
        w[q] = rounded
        left.remove(q)
    return w


def error(d, x):
    return (d @ x).square().sum(-1)


@pytest.mark.parametrize("block", [1, 2, 4, 128])
@pytest.mark.parametrize("act_order", [False, True])
def test_it_is_the_textbook_column_by_column(block, act_order):
    weight, _, h = problem(groups=2)
    grid, scale = Grid(3, True), torch.rand(2, 3, 6, dtype=torch.float64) + 0.2
    got = round_columns(weight, h, scale, torch.zeros_like(scale), grid, 0.01, block, act_order)
    for g in range(2):
        damped = h[g] + 0.01 * h[g].diagonal().mean() * torch.eye(6)
        order = h[g].diagonal().argsort(descending=True).tolist() if act_order else range(6)
        for r in range(3):
            expected = textbook(weight[g, r], damped, scale[g, r], grid, order)
            torch.testing.assert_close(got[g, r], expected)


def test_uncorrelated_inputs_leave_nothing_to_make_up_for():
    weight, _, _ = problem()
    scale = torch.full_like(weight, 0.4)
    got = round_columns(weight, torch.eye(6, dtype=torch.float64)[None], scale, torch.zeros_like(scale), Grid(4, True))
    torch.testing.assert_close(got, nearest(weight, scale, Grid(4, True)))


def test_it_comes_between_the_best_of_all_codes_and_the_nearest():
    grid, gained = Grid(2, True), []
    codes = torch.tensor(list(itertools.product(range(-2, 2), repeat=5)), dtype=torch.float64)
    for seed in range(20):
        weight, x, h = problem(1, 5, seed=seed)
        scale = weight.abs().amax(-1, keepdim=True).expand_as(weight) / 2
        got = round_columns(weight, h, scale, torch.zeros_like(scale), grid)
        best = error(codes * scale[0] - weight[0], x[0]).min()
        mine, simple = (error(w - weight, x).sum() for w in (got, nearest(weight, scale, grid)))
        assert mine >= best * (1 - 1e-9)
        gained.append((math.log(simple / best), math.log(mine / best)))
    simple, mine = torch.tensor(gained).mean(0)
    assert mine < 0.8 * simple


def test_the_factor_is_the_cholesky_factor_of_the_inverse():
    _, _, h = problem(groups=3)
    factor = inverse_factor(h, 0.01)
    damped = h + 0.01 * h.diagonal(dim1=1, dim2=2).mean(1)[:, None, None] * torch.eye(6)
    torch.testing.assert_close(factor.mT @ factor @ damped, torch.eye(6, dtype=torch.float64).expand(3, 6, 6))


def test_inputs_that_are_always_zero_are_rounded_to_nearest():
    weight, _, h = problem()
    h[:, 2] = h[:, :, 2] = 0
    scale = torch.full_like(weight, 0.4)
    for other in (h, torch.zeros_like(h)):
        got = round_columns(weight, other, scale, torch.zeros_like(scale), Grid(4, True))
        torch.testing.assert_close(got[:, :, 2], nearest(weight, scale, Grid(4, True))[:, :, 2])


def test_without_the_fp32_target_a_layer_is_rounded_as_the_paper_says():
    torch.manual_seed(0)
    layer, x = nn.Linear(6, 3, bias=False), torch.randn(80, 6) @ torch.randn(6, 6)
    sim = qnb.QuantSim(layer.eval(), x, Precision(Grid(3, True, "channel"), Grid(6))).calibrate([x])
    (found,) = weighted_layers(sim)
    quantizer, seen = sim.weight(found.weight_key), sim.activation("leaves_0")(x).detach()
    h = 2 * seen.double().T @ seen.double()
    damped, scale = h + 0.01 * h.diagonal().mean() * torch.eye(6), quantizer.scale.detach().double()
    expected = torch.stack(
        [
            textbook(w, damped, s.expand(6), quantizer.grid, range(6))
            for w, s in zip(layer.weight.detach().double(), scale, strict=True)
        ]
    )
    simple = nearest(layer.weight.detach().double(), scale[:, None], quantizer.grid)
    errors = [error(w - layer.weight.detach().double(), seen.double().T) for w in (expected, simple)]
    expected = torch.where((errors[0] < errors[1])[:, None], expected, simple)
    gptq(sim, [x], asymmetric=False)
    torch.testing.assert_close(sim.weight_tensor(found.weight_key).detach().double(), expected, rtol=1e-6, atol=1e-6)


def test_the_fp32_target_makes_up_for_layers_before():
    """The second layer's output is nearer to FP32 where it may correct the first one's error."""
    sim, batches = digits_sim("w3a8", batches=8)
    corrected, plain = sim.copy(), sim.copy()
    after = [gptq(s, batches, asymmetric=a).output_after_db for s, a in ((corrected, True), (plain, False))]
    assert after[0] > after[1] + 3


@pytest.mark.parametrize(
    "weights",
    [
        Grid(4, True, "channel"),
        Grid(4, False, "channel"),
        Grid(3, True),
        Grid(4, True, "block", 8),
        Grid(16, True, "channel"),
    ],
)
def test_the_sims_quantizer_gives_the_same_codes_again(weights):
    demo = qnb.demo.transformer()
    sim = qnb.QuantSim(demo.model, demo.calibration[0], Precision(weights, Grid(16))).calibrate(demo.calibration[:1])
    scales = {k: sim.weight(k).scale.clone() for k in sim.plan.weights}
    result = gptq(sim, demo.calibration[:1])
    changed = 0
    for layer in weighted_layers(sim):
        quantizer, weight = sim.weight(layer.weight_key), sim.weight_tensor(layer.weight_key).detach()
        assert torch.equal(quantizer(weight), weight)
        assert torch.equal(quantizer.scale, scales[layer.weight_key])
        arguments = (*quantizer.encoding(), quantizer.grid, quantizer.axis, quantizer.block_size)
        codes = quantize(weight, *arguments)
        assert codes.max() <= (32639 if weights.bits == 16 else weights.qmax)
        before = quantize(sim.reference.get_parameter(layer.weight).detach(), *arguments)
        changed += int((codes != before).sum())
    assert changed > 0
    table = result.table.dropna(subset=["fit_after_db"])
    assert (table.fit_after_db >= table.fit_before_db - 1e-6).all()


@pytest.mark.parametrize("granularity", [("channel", None), ("block", 8)])
def test_4_bit_transformers_gain_several_decibels(granularity):
    demo = qnb.demo.transformer()
    precision = Precision(Grid(4, True, *granularity), Grid(16))
    sim = qnb.QuantSim(demo.model, demo.calibration[0], precision).calibrate(demo.calibration)
    result = gptq(sim, demo.calibration)
    assert result.output_after_db > result.output_before_db + 6


def test_it_restores_accuracy():
    demo = qnb.demo.digits()
    for precision, least in (("w3a8", 0.3), (Precision(Grid(4, symmetric=True), Grid(8)), 0.08)):
        sim = qnb.QuantSim(demo.model, demo.calibration[0], precision).calibrate(demo.calibration)
        before = demo.evaluate(sim).value
        result = gptq(sim, demo.calibration)
        assert demo.evaluate(sim).value > before + least
        assert list(result.history.layer) == [layer.layer for layer in weighted_layers(sim)]


MODELS = {**zoo(), **transformers_zoo()}
CASES = [*((name, "htp-v75") for name in MODELS), ("unet", "generic"), ("mobilenet_v2", "generic")]


@pytest.mark.parametrize(("name", "target"), CASES)
def test_every_model(name, target):
    model, example = MODELS[name]
    original = {n: p.clone() for n, p in model.named_parameters()}
    sim = qnb.QuantSim(model, example, "w4a8", target=target).calibrate([example])
    result = gptq(sim, [example])
    table = result.table.dropna(subset=["fit_after_db"]) if name != "reused" else result.table[:0]
    assert name == "reused" or (table.fit_after_db >= table.fit_before_db - 1e-6).all()
    tied = [layer.layer for layer in weighted_layers(sim) if layer.layer not in set(table.layer)]
    assert tied == {"reused": ["fc", "fc_1", "tied"], "gpt2": ["lm_head"]}.get(name, [])
    assert len(result.notes) == len(tied) and all("used elsewhere" in note for note in result.notes)
    assert all(torch.equal(original[n], p) for n, p in model.named_parameters())
    own = result.table.own_after_db[result.table.layer.isin(table.layer)]
    assert not own.isna().any()


def test_grouped_and_transposed_convolutions():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(4, 8, 3, groups=2), nn.ConvTranspose2d(8, 6, 2, groups=2), nn.Conv2d(6, 6, 1)
    ).eval()
    x = torch.randn(8, 4, 8, 8)
    for target in ("generic", "htp-v75"):
        sim = qnb.QuantSim(model, x, "w3a16", target=target).calibrate([x])
        result = gptq(sim, [x])
        assert result.output_after_db > result.output_before_db + 1


def test_it_goes_after_seq_mse_and_keeps_its_scales():
    sim, batches = digits_sim("w3a8")
    qnb.methods.seq_mse(sim, batches, candidates=5)
    scales = {k: sim.weight(k).scale.clone() for k in sim.plan.weights}
    gptq(sim, [batches[0], batches[1][:5]])
    assert all(torch.equal(scales[k], sim.weight(k).scale) for k in scales)
    assert sim.applied_methods == ("seq_mse", "gptq")


def test_only_the_chosen_layers_change():
    sim, batches = digits_sim()
    gptq(sim, batches, layers=["classifier", "blocks.1.*"])
    changed = {n for n, t in sim.tensors().items() if not torch.equal(t, sim.reference.get_parameter(n))}
    assert changed and all(n.startswith(("classifier", "blocks.1.")) for n in changed)


@pytest.mark.parametrize("part", [0.02, 0.4, 0.7, 0.95])
def test_cancelled_it_leaves_the_sim_as_it_was(part):
    sim, batches = digits_sim()
    counted = CancelAfter()
    gptq(sim.copy(), batches, progress=counted)
    before = state(sim)
    with pytest.raises(qnb.errors.Cancelled):
        gptq(sim, batches, progress=CancelAfter(int(counted.calls * part) + 1))
    assert same(before, state(sim))


def test_the_result_is_the_same_again():
    (a, batches), (b, _) = digits_sim(), digits_sim()
    for sim in (a, b):
        gptq(sim, batches)
    assert same(state(a), state(b))


def test_what_it_cannot_do_is_an_error():
    layer, x = nn.Linear(4, 4).eval(), torch.randn(8, 4)
    with pytest.raises(qnb.errors.PrecisionError, match="integer"):
        gptq(qnb.QuantSim(layer, x, "fp16").calibrate([x]), [x])
    sim = qnb.QuantSim(layer, x, "w4a8").calibrate([x])
    for wrong in ({"damping": 0}, {"block": 0}):
        with pytest.raises(qnb.errors.InputError, match="damping"):
            gptq(sim, [x], **wrong)
