"""After bias correction every channel has the mean that it has in FP32."""

import math

import pytest
import torch
from torch import nn

import qnb
from qnb.methods import correct_bias, equalize
from qnb.methods.layerwise.expectation import clipped_normal_mean, expected
from qnb.methods.layerwise.layers import weighted_layers
from qnb.methods.layerwise.weights import nodes
from qnb.numerics import Grid, Precision
from tests.methods.states import CancelAfter, digits_sim, same, state
from tests.models import images, transformers_zoo, warmed_up, zoo

PER_TENSOR_W4A8 = Precision(Grid(4, symmetric=True), Grid(8))


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def calibrated(model, batches, precision="w4a8", **arguments):
    return qnb.QuantSim(model, batches[0], precision, **arguments).calibrate(batches)


def mean_error(sim, batches, layer):
    """RMS over channels of the mean error before the layer's own output quantizer."""
    errors = []

    def watch(values):
        if values.group.layer == layer:
            errors.append((values.unclipped - values.reference).transpose(0, 1).flatten(1))

    qnb.compare_layers(sim, batches, own=False, watch=watch)
    return float(torch.cat(errors, 1).mean(1).square().mean().sqrt())


LAYERS = {
    "conv": lambda: (nn.Conv2d(3, 8, 3, padding=1),),
    "depthwise": lambda: (nn.Conv2d(3, 6, 3, groups=3),),
    "transposed": lambda: (nn.ConvTranspose2d(3, 6, 2, 2),),
    "conv1d": lambda: (nn.Flatten(2), nn.Conv1d(3, 8, 5)),
    "linear": lambda: (nn.Linear(16, 5),),
}


def output_mean_error(sim, model, batches):
    """RMS over channels of the mean error, the output's own quantizer left out."""
    sim = sim.copy().disable(sim.groups[-1].layer, kind="activation")
    with torch.no_grad():
        errors = torch.cat([sim(x) - model(x) for x in batches])
    axis = -1 if isinstance(model[-1], nn.Linear) else 1
    return float(errors.movedim(axis, 0).flatten(1).double().mean(1).square().mean().sqrt())


@pytest.mark.parametrize("name", LAYERS)
def test_one_layer_has_no_mean_error_left(name):
    model = nn.Sequential(*LAYERS[name]()).eval()
    batches = [images(4, seed=i) + 0.5 for i in range(2)] + [images(2, seed=3)]
    sim = calibrated(model, batches, target="generic")
    before = output_mean_error(sim, model, batches)
    table = correct_bias(sim, batches).table
    assert before > 1e-3 and output_mean_error(sim, model, batches) < 1e-6
    assert table.bias_shift.max() == pytest.approx(before, rel=1e-3)


def test_an_int32_bias_leaves_less_than_half_its_step():
    model, batches = nn.Sequential(*LAYERS["conv"]()).eval(), [images() + 0.5]
    sim = calibrated(model, batches, target="htp-v75")
    correct_bias(sim, batches)
    (key,) = sim.plan.biases
    assert output_mean_error(sim, model, batches) < 0.5 * float(sim.bias(key).scale.max())


def test_every_layer_has_its_fp32_mean_again():
    """Convolutions before an activation too: the mean is taken in front of it."""
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Flatten(2), nn.Linear(144, 5)).eval()
    batches = [images(8, seed=i) + 0.3 for i in range(2)]
    sim = calibrated(model, batches, target="generic")
    before = [mean_error(sim, batches, layer) for layer in "013"]
    correct_bias(sim, batches)
    after = [mean_error(sim, batches, layer) for layer in ("0", "1")]
    assert max(after) < 1e-5 < min(before)


@pytest.mark.parametrize("mean, sigma", [(0.0, 1.0), (2.0, 3.0), (-1.0, 0.5), (7.0, 2.0), (1.5, 0.0)])
@pytest.mark.parametrize("high", [math.inf, 6.0])
def test_a_clipped_normal_has_the_mean_of_its_samples(mean, sigma, high):
    z = torch.distributions.Normal(0.0, 1.0).icdf((torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000)
    sampled = (mean + sigma * z).clamp(0.0, high).mean()
    found = clipped_normal_mean(torch.tensor(mean).double(), torch.tensor(sigma).double(), 0.0, high)
    assert float(found) == pytest.approx(float(sampled), abs=1e-3)


class Normed(nn.Module):
    """Batch norms whose outputs are normal: a linear map of normal inputs; then what the analytic form can follow."""

    def __init__(self, activation):
        super().__init__()
        self.first, self.norm = nn.Conv2d(16, 12, 1), nn.BatchNorm2d(12)
        self.act, self.second = activation, nn.Conv2d(12, 8, 1)

    def forward(self, x):
        return self.second(self.act(self.norm(self.first(x))))


def normed(activation):
    model, x = Normed(activation), torch.randn(256, 16, 8, 8)
    with torch.no_grad():
        model.norm.weight.uniform_(0.5, 3)
        model.norm.bias.uniform_(-2, 4)
    model.norm.momentum = None
    return warmed_up(model, x, passes=1), x


ACTIVATIONS = [nn.ReLU(), nn.ReLU6(), nn.LeakyReLU(0.2), nn.PReLU(12), nn.Identity()]


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda a: type(a).__name__)
def test_analytic_is_empirical_on_normal_data(activation):
    model, x = normed(activation)
    empirical, analytic = (calibrated(model, [x], "w3a16") for _ in range(2))
    old = empirical.tensors()["second.bias"].detach()
    correct_bias(empirical, [x], layers="second")
    correct_bias(analytic, analytic=True, layers="second")
    shift = empirical.tensors()["second.bias"].detach() - old
    torch.testing.assert_close(
        analytic.tensors()["second.bias"].detach() - old, shift, rtol=0.05, atol=0.05 * float(shift.abs().max())
    )


def test_means_follow_sums_averages_and_flattening():
    model, x = zoo()["mobilenet_v2"]
    sim = qnb.QuantSim(model, x)
    graph = nodes(sim)
    adds = [n for name, n in graph.items() if name.startswith("add")]
    first, second = (graph[a.name].meta["folded_batch_norm"]["beta"] for a in adds[0].args[:2])
    torch.testing.assert_close(expected(sim.captured.module, adds[0]), first.double() + second.double())
    classifier = next(graph[x.node] for x in weighted_layers(sim) if x.layer.startswith("classifier"))
    beta = next(graph[x.node] for x in weighted_layers(sim) if x.layer == "features.5.project.0").meta
    torch.testing.assert_close(
        expected(sim.captured.module, classifier.args[0]), beta["folded_batch_norm"]["beta"].double()
    )


def test_analytic_names_the_layers_that_no_batch_norm_describes():
    sim, _ = digits_sim()
    result = correct_bias(sim, analytic=True)
    assert result.notes == ("No batch norm describes the input of stem.conv.",)
    corrected = set(result.table.dropna(subset="bias_shift").layer)
    assert corrected == {x.layer for x in weighted_layers(sim)} - {"stem.conv"}


@pytest.mark.parametrize("analytic", [False, True], ids=["empirical", "analytic"])
@pytest.mark.parametrize("precision", ["w4a8", PER_TENSOR_W4A8], ids=str)
def test_digits_lose_less(precision, analytic):
    demo = qnb.demo.digits()
    sim, batches = digits_sim(precision, batches=8)
    before = demo.evaluate(sim).value
    result = correct_bias(sim, batches, analytic=analytic)
    assert result.output_after_db > result.output_before_db
    assert demo.evaluate(sim).value > before


def test_it_goes_on_after_equalization():
    sim, batches = digits_sim(PER_TENSOR_W4A8)
    equalize(sim, batches)
    between = correct_bias(sim, batches)
    assert sim.applied_methods == ("equalize", "correct_bias") and between.output_after_db > between.output_before_db


MODELS = {**zoo(), **transformers_zoo()}


@pytest.mark.parametrize("name", MODELS)
def test_every_model_can_be_corrected(name):
    model, batch = MODELS[name]
    sim = calibrated(model, [batch])
    reference = {n: t.clone() for n, t in sim.reference.state_dict().items()}
    result = correct_bias(sim, [batch])
    named = {x.layer for x in weighted_layers(sim)}
    own = set(result.table.dropna(subset="bias_shift").layer) if "bias_shift" in result.table else set()
    assert own <= named and (own == named) == (not result.notes)
    assert all(torch.equal(t, reference[n]) for n, t in sim.reference.state_dict().items())


def test_a_bias_that_two_layers_read_stays():
    model, batch = MODELS["reused"]
    sim = calibrated(model, [batch])
    old = sim.tensors()["fc.bias"].clone()
    result = correct_bias(sim, [batch])
    assert torch.equal(sim.tensors()["fc.bias"], old)
    assert result.notes == ("Not corrected, as these layers have no bias: fc, fc_1.",)


def test_numbers_are_the_same_again():
    biases = []
    for _ in range(2):
        sim, batches = digits_sim()
        correct_bias(sim, batches)
        biases.append(sim.tensors()["classifier.bias"])
    assert torch.equal(*biases)


@pytest.mark.parametrize("call", [3, 30, 55])
def test_cancel_leaves_the_sim_as_it_was(call):
    sim, batches = digits_sim()
    before = state(sim)
    with pytest.raises(qnb.errors.Cancelled):
        correct_bias(sim, batches, progress=CancelAfter(call))
    assert same(before, state(sim))


def test_what_does_not_go_is_an_error():
    sim, batches = digits_sim("fp16")
    with pytest.raises(qnb.errors.PrecisionError):
        correct_bias(sim, batches)
    sim, _ = digits_sim()
    with pytest.raises(qnb.errors.InputError, match="analytic"):
        correct_bias(sim)
