"""The scale search keeps the weights that matter, and the FP32 function."""

import pytest
import torch
from torch import nn

import qnb
from qnb.methods.layerwise.layers import weighted_layers
from qnb.methods.rescaling.rescale import Magnitudes
from qnb.methods.scale_search import protecting_scales, scale_search
from qnb.numerics import Grid, Precision
from tests.methods.outliers import outliers
from tests.methods.states import CancelAfter, same, state
from tests.models import transformers_zoo, zoo


def salient(precision, samples=256):
    """A norm whose third channel is large, and one layer that reads it."""
    torch.manual_seed(0)
    norm, layer, x = nn.LayerNorm(16), nn.Linear(16, 16), torch.randn(samples, 16)
    with torch.no_grad():
        norm.weight[2] = 30.0
    model = nn.Sequential(norm, layer).eval()
    return model, qnb.QuantSim(model, x, precision).calibrate([x]), x


W4 = Precision(Grid(4, True, "channel"), Grid(16))


def test_scales_are_the_mean_magnitude_to_alpha_centred_around_one():
    of = Magnitudes(torch.ones(3), torch.tensor([16.0, 1.0, 0.0]), torch.ones(3))
    torch.testing.assert_close(protecting_scales(of, 0.5), torch.tensor([2.0, 0.5, 1.0]))
    torch.testing.assert_close(protecting_scales(of, 0.0), torch.ones(3))


def test_alpha_is_the_one_that_a_search_by_hand_finds():
    """``|Q(W s) (x / s) - W x|`` with weights rounded and nothing else."""
    model, sim, x = salient(W4)
    y, weight, bias = model[0](x).detach(), model[1].weight.detach(), model[1].bias.detach()
    mean, errors = y.abs().mean(0), []
    for i in range(11):
        s = mean ** (i / 10)
        s = s / (s.min() * s.max()).sqrt()
        scaled = weight * s
        step = torch.maximum(scaled.amax(1) / 7, -scaled.amin(1) / 8)[:, None]
        rounded = torch.clamp((scaled / step).round(), -8, 7) * step
        errors.append(((y / s) @ rounded.T - y @ weight.T).square().sum() / (y @ weight.T + bias).square().sum())
    best = int(torch.stack(errors).argmin())
    result = scale_search(sim, [x], grid=10)
    (row,) = result.table.dropna(subset=["alpha"]).itertuples()
    assert row.layer == "0" and row.readers == "1" and row.alpha == best / 10 > 0
    assert row.fit_after_db == pytest.approx(float(-10 * torch.stack(errors).min().log10()), abs=0.02)
    assert row.fit_before_db == pytest.approx(float(-10 * errors[0].log10()), abs=0.02)


def test_a_salient_channel_is_protected():
    _, sim, x = salient(W4)
    result = scale_search(sim, [x])
    assert result.output_after_db > result.output_before_db + 3


@pytest.mark.parametrize("granularity", [("channel", None), ("block", 8), ("block", 20)])
def test_a_transformer_with_salient_channels_gains_at_4_bits(granularity):
    demo = qnb.demo.transformer()
    precision = Precision(Grid(4, True, *granularity), Grid(16))
    sim = qnb.QuantSim(outliers(demo.model, 20.0), demo.calibration[0], precision).calibrate(demo.calibration[:2])
    result = scale_search(sim, demo.calibration[:2], grid=10)
    table = result.table.dropna(subset=["fit_after_db"])
    assert len(table) == 9 and (table.fit_after_db >= table.fit_before_db).all()
    assert (table.fit_after_db - table.fit_before_db).mean() > 3
    assert result.output_after_db > result.output_before_db + 3


def test_activation_bits_do_not_change_the_choice():
    found = []
    for activations in (Grid(16), Grid(5)):
        _, sim, x = salient(Precision(Grid(4, True, "channel"), activations))
        # the norm's own weight has the bits of the activations; here it is to stay exact
        sim.disable("0", kind="weight")
        found.append(scale_search(sim, [x], grid=10).history.fit_db)
    assert torch.allclose(*(torch.tensor(f.to_numpy()) for f in found))


MODELS = {**zoo(), **transformers_zoo()}


@pytest.mark.parametrize("name", MODELS)
def test_the_fp32_function_of_every_model_stays_the_same(name):
    model, example = MODELS[name]
    original = {n: p.clone() for n, p in model.named_parameters()}
    sim = qnb.QuantSim(model, example, "w4a16").calibrate([example])
    flat = sim.flatten(example, "test")
    before = sim.reference(*flat)
    result = scale_search(sim, [example], grid=3)
    floating = sim.copy().disable()
    for after in (sim.reference(*flat), floating.run_flat(flat)):
        for a, b in zip(after, before, strict=True):
            assert (a - b).abs().max() <= 1e-4 * b.abs().max()
    assert all(torch.equal(original[n], p) for n, p in model.named_parameters())
    if "readers" in result.table:
        table = result.table.dropna(subset=["fit_after_db"])
        assert (table.fit_after_db >= table.fit_before_db).all()


def test_only_the_chosen_readers_are_rescaled():
    model, example = MODELS["llama"]
    sim = qnb.QuantSim(model, example, "w4a16").calibrate([example])
    result = scale_search(sim, [example], layers="model.layers.0.mlp.*", grid=2)
    assert set(result.table.dropna(subset=["readers"]).layer) <= {
        "model.layers.0.post_attention_layernorm",
        "model.layers.0.mlp.up_proj",
    }
    reference = dict(MODELS["llama"][0].named_parameters())
    for layer in weighted_layers(sim):
        if not layer.layer.startswith("model.layers.0.mlp."):
            assert torch.equal(sim.tensors()[layer.weight], reference[layer.weight])


@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.9])
def test_cancelled_it_leaves_the_sim_as_it_was(part):
    _, sim, x = salient(W4, samples=32)
    counted = CancelAfter()
    scale_search(sim.copy(), [x, x[:5]], grid=4, progress=counted)
    before, captured = state(sim), sim.captured
    with pytest.raises(qnb.errors.Cancelled):
        scale_search(sim, [x, x[:5]], grid=4, progress=CancelAfter(int(counted.calls * part) + 1))
    assert same(before, state(sim)) and sim.captured is captured


def test_the_result_is_the_same_again():
    found = []
    for _ in range(2):
        _, sim, x = salient(W4)
        scale_search(sim, [x], grid=4)
        found.append(state(sim))
    assert same(*found)


def test_what_it_cannot_do_is_an_error():
    _, sim, x = salient("bf16")
    with pytest.raises(qnb.errors.PrecisionError, match="integer"):
        scale_search(sim, [x])
    _, sim, x = salient(W4)
    with pytest.raises(qnb.errors.InputError, match="grid"):
        scale_search(sim, [x], grid=0)
    qnb.methods.gptq(sim, [x])
    with pytest.raises(qnb.errors.InputError, match="scale_search, gptq"):
        scale_search(sim, [x])
