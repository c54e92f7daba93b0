"""Sensitivity of each quantizer alone, against closed forms and whole passes; the sim stays as it is."""

import copy
import itertools
import math
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from torch import nn

import qnb
from qnb import columns
from qnb.errors import CalibrationError, Cancelled, EvaluateError, InputError, PrecisionError
from qnb.measures.metrics.intervals import Ratio
from qnb.measures.sensitivity import likelihood
from qnb.measures.sensitivity.trials import Trial
from qnb.sim.quantizer_state import QuantizerState, quantizer_modules
from tests.methods.states import CancelAfter, digits_sim, same, state
from tests.models import transformers_zoo, zoo

MODELS = {**zoo(), **transformers_zoo()}
DEMO = qnb.demo.digits()


@cache
def zoo_sim(name, target="htp-v75"):
    """Tests share it: none of them may change it."""
    model, example = MODELS[name]
    return qnb.QuantSim(model, example, "w4a8", target=target).calibrate([example]), example


def small_sim(precision="w4a8", outputs=4, rows=64):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, outputs)).eval()
    x = torch.randn(rows, 6)
    return qnb.QuantSim(model, x, precision).calibrate([x]), [x]


def one_by_one(sim, batches):
    """(layer, kind) -> for each of its quantizers, outputs of whole passes with this one on alone."""
    off, paths = sim.copy(), {m: p for p, m in quantizer_modules(sim).items()}
    for quantizer in off.quantizers():
        quantizer.enabled = False
    found, seen = {}, set()
    for layer, kind, module in sim.sites():
        if kind != "bias" and module not in seen and module.active:
            seen.add(module)
            with Trial("", {paths[module]: QuantizerState.of(module).plain()}).applied(off), torch.no_grad():
                outputs = [off.run_flat(off.flatten(b, "test")) for b in batches]
            found.setdefault((layer, kind), []).append(outputs)
    return found


def scores(frame):
    return {key: sorted(rows.score) for key, rows in frame.groupby(["layer", "kind"])}


# Closed forms


def test_directions_have_the_fisher_information_of_a_softmax():
    z = torch.randn(1, 3, dtype=torch.float64)
    p = z.softmax(-1)[0]
    signs = [torch.tensor([s], dtype=torch.float64) for s in itertools.product((-1.0, 1.0), repeat=3)]
    drawn = [likelihood._softmax(z, s)[0][0] for s in signs]
    torch.testing.assert_close(sum(torch.outer(g, g) for g in drawn) / 8, torch.diag(p) - torch.outer(p, p))


def test_fisher_is_half_the_noise_to_signal_ratio_of_a_linear_model():
    torch.manual_seed(0)
    x = torch.randn(256, 8)
    sim = qnb.QuantSim(nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)).eval(), x, "w4a8").calibrate([x])
    noise = scores(qnb.sensitivity(sim, [x], estimator="sqnr"))
    draws = [scores(qnb.sensitivity(sim, [x], loss="squares", seed=s)) for s in range(40)]
    for key, (ratio,) in noise.items():
        assert sum(d[key][0] for d in draws) / 40 == pytest.approx(ratio / 2, rel=0.1)


def test_fisher_is_the_divergence_from_fp32():
    sim, batches = small_sim("w6a8", rows=256)
    before = sim.reference_model(batches[0]).detach().double().log_softmax(-1)
    draws = [scores(qnb.sensitivity(sim, batches, seed=s)) for s in range(40)]
    for key, [[(after,)]] in one_by_one(sim, batches).items():
        exact = float((before.exp() * (before - after.double().log_softmax(-1))).sum(-1).mean())
        assert sum(d[key][0] for d in draws) / 40 == pytest.approx(exact, rel=0.15)


@pytest.mark.parametrize("name", [*zoo(), *(pytest.param(name, marks=pytest.mark.slow) for name in transformers_zoo())])
def test_noise_is_that_of_whole_passes(name):
    sim, example = zoo_sim(name)
    found = scores(qnb.sensitivity(sim, [example], estimator="sqnr"))
    with torch.no_grad():
        reference = sim.reference(*sim.flatten(example, "test"))
    whole = one_by_one(sim, [example])
    assert found.keys() == whole.keys()
    for key, ways in whole.items():
        expected = [mean([noise(a, b) for a, b in zip(outputs, reference, strict=True)]) for (outputs,) in ways]
        assert found[key] == pytest.approx(sorted(expected), rel=2e-2, abs=1e-9)  # biases here are int32, there FP32


def noise(a, b) -> float:
    return float((a.double() - b.double()).square().sum() / b.double().square().sum())


def mean(values) -> float:
    return sum(values) / len(values)


# Every model


@pytest.mark.parametrize("target", ["htp-v75", pytest.param("generic", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", MODELS)
def test_fisher_ranks_every_models_quantizers(name, target):
    sim, example = zoo_sim(name, target)
    before = state(sim)
    frame = qnb.sensitivity(sim, [example] * 4, loss="squares")
    assert same(before, state(sim))
    assert tuple(frame.columns) == columns.SENSITIVITY and len(frame) == len({m for m in sim.quantizers() if m.active})
    assert frame.score.is_monotonic_decreasing and (frame.score >= 0).all() and frame.score.map(math.isfinite).all()
    assert ((frame.low <= frame.score) & (frame.score <= frame.high)).all()
    noise = scores(qnb.sensitivity(sim, [example], estimator="sqnr"))
    found = scores(frame)
    assert spearmanr([found[k][-1] for k in noise], [noise[k][-1] for k in noise])[0] > 0.85


def test_what_outputs_are_is_found():
    kinds = {name: likelihood.families(zoo_sim(name)[0], None, "test") for name in MODELS}
    assert kinds["resnet20"] == kinds["gpt2"] == kinds["attention"] == {0: "softmax"}
    assert kinds["unet"] == kinds["lstm"] == {0: "squares"} and kinds["bert"] == {0: "squares", 1: "squares"}
    ends = nn.Sequential(nn.Linear(3, 3), nn.Softmax(-1)), nn.Sequential(nn.Linear(3, 3), nn.LogSoftmax(-1))
    found = [likelihood.families(qnb.QuantSim(m.eval(), torch.randn(2, 5, 3)), None, "test") for m in ends]
    assert found == [{0: "probabilities"}, {0: "softmax"}]


def test_probabilities_and_their_logits_have_one_divergence():
    sim, batches = small_sim("w6a8", rows=256)
    torch.manual_seed(1)  # the same weights
    model = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 4), nn.Softmax(-1))
    other = qnb.QuantSim(model.eval(), batches[0], "w6a8").calibrate(batches)
    a, b = scores(qnb.sensitivity(sim, batches)), scores(qnb.sensitivity(other, batches))
    for layer in ("0", "2", "4"):
        assert b[layer, "weight"][0] == pytest.approx(a[layer, "weight"][0], rel=0.3)


def test_masked_positions_do_not_count():
    example = MODELS["attention"][1]
    closed = {"x": example["x"], "mask": torch.zeros_like(example["mask"])}
    closed["mask"][..., 0] = True
    for target in ("htp-v75", "generic"):
        sim, _ = zoo_sim("attention", target)
        for method in ("fisher", "sqnr"):
            assert qnb.sensitivity(sim, [example, closed], estimator=method).score.map(math.isfinite).all()


def test_weights_that_a_method_changed_count_as_they_are_now():
    sim, batches = small_sim("w16a16")
    before = scores(qnb.sensitivity(sim, batches, estimator="sqnr"))
    with torch.no_grad():
        sim.model.get_parameter("2.weight").mul_(1.1)
    sim.calibrate(batches)
    found, estimate = (
        scores(qnb.sensitivity(sim, batches, estimator=m, **o))
        for m, o in (("sqnr", {}), ("fisher", {"loss": "squares"}))
    )
    assert found["2", "weight"][0] > 1e-3 > 1e3 * before["2", "weight"][0]
    assert estimate["2", "weight"][0] == max(v[0] for v in estimate.values())


def test_float_grids_count_too_and_without_any_quantizer_it_is_an_error():
    sim, batches = small_sim("bf16")
    frame = qnb.sensitivity(sim, batches, estimator="sqnr")
    assert (frame.score > 0).sum() > 5 and frame.score.max() < 1e-3
    with pytest.raises(PrecisionError, match="no quantizer that is on"):
        qnb.sensitivity(small_sim("fp32")[0], batches)


def test_tied_quantizers_and_chosen_layers_are_one_row_each():
    model, example = MODELS["unet"]
    sim = qnb.QuantSim(model, example, "w4a8").calibrate([example])
    everything = qnb.sensitivity(sim, [example])
    chosen = qnb.sensitivity(sim, [example], layers="down1*")
    assert 0 < len(chosen) < len(everything)
    both = chosen.merge(everything, on=["layer", "kind"], suffixes=("", "_all"))
    assert len(both) == len(chosen) and (both.score - both.score_all).abs().max() == 0
    sim.disable("out2", "weight")
    assert len(qnb.sensitivity(sim, [example])) == len(everything) - 1


# Seeds, losses, intervals


def test_a_seed_gives_the_same_again_and_torchs_own_numbers_stay():
    sim, batches = small_sim()
    generator = torch.random.get_rng_state()
    a, b, c = (qnb.sensitivity(sim, batches, seed=s) for s in (0, 0, 1))
    assert a.equals(b) and not a.equals(c)
    assert torch.equal(generator, torch.random.get_rng_state())


def test_a_loss_of_the_user_takes_labels():
    sim, (x,) = small_sim(rows=128)
    labels = torch.randint(0, 4, (128,))
    loss = lambda output, target: F.cross_entropy(output, target, reduction="none")  # noqa: E731
    frame = qnb.sensitivity(sim, [(x, labels)], loss=loss)
    summed = qnb.sensitivity(sim, [(x, labels)], loss=lambda o, t: loss(o, t).sum())
    assert frame.equals(summed)
    model = copy.deepcopy(sim.reference)
    w, b = (model.get_parameter(f"0.{n}").detach() for n in ("weight", "bias"))
    hidden = F.linear(x, w, b).requires_grad_()
    rest = nn.Sequential(nn.Tanh(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 4))
    for i, j in (("1", "2"), ("3", "4")):
        rest[int(i)].load_state_dict({n: model.get_parameter(f"{j}.{n}") for n in ("weight", "bias")})
    (gradient,) = torch.autograd.grad(loss(rest(hidden), labels).sum(), hidden)
    key = next(k for k, s in sim.plan.weights.items() if s.layer == "0")
    error = F.linear(x, sim.weight(key)(w).detach() - w)
    expected = ((gradient * error).sum(1) ** 2).mean() / 2
    assert scores(frame)["0", "weight"][0] == pytest.approx(float(expected), rel=1e-3)


def test_an_interval_is_of_the_samples():
    ratio, values = Ratio(), torch.rand(400, generator=torch.Generator().manual_seed(0))
    ratio.add(values, torch.ones(400))
    low, high = ratio.interval()
    half = 1.96 * float(values.std()) / 20
    assert (low, high) == pytest.approx((float(values.mean()) - half, float(values.mean()) + half), abs=3e-3)
    one = Ratio()
    one.add(torch.ones(1), torch.ones(1))
    assert all(map(math.isnan, one.interval())) and one.value() == 1


def test_more_samples_leave_less_doubt():
    sim, (x,) = small_sim(rows=512)
    few, many = (qnb.sensitivity(sim, [x[:n]], estimator="sqnr") for n in (16, 512))
    width = lambda f: ((f.high - f.low) / f.score).mean()  # noqa: E731
    assert width(many) < 0.5 * width(few)
    assert qnb.sensitivity(sim, [x[:1]]).low.isna().all()


# By the metric


def test_evaluate_is_the_drop_with_one_quantizer_on():
    sim, _ = digits_sim("w3a8")
    before = state(sim)
    frame = qnb.sensitivity(sim, estimator="evaluate", evaluate=DEMO.evaluate, layers=["stem.conv", "classifier"])
    assert same(before, state(sim)) and len(frame) == 4
    fp32 = DEMO.evaluate(sim.reference_model)
    for layer, kind, score, low, high in frame.itertuples(index=False):
        alone = sim.copy().disable()
        alone.enable(layer, kind)
        assert score == pytest.approx(fp32.value - DEMO.evaluate(alone).value) and low <= score <= high
    assert frame.score[0] > 0


def test_a_lower_metric_may_be_the_better_one():
    sim, batches = digits_sim("w3a8", batches=1)

    def error(model) -> qnb.Score:
        score = DEMO.evaluate(model)
        wrong = [1 - v for v in score.per_sample]
        return qnb.Score(1 - score.value, per_sample=wrong, higher_is_better=False)

    options = {"estimator": "evaluate", "layers": "stem.conv"}
    a = qnb.sensitivity(sim, evaluate=DEMO.evaluate, **options)
    b = qnb.sensitivity(sim, evaluate=error, **options)
    assert a.score.tolist() == pytest.approx(b.score.tolist()) and a.low.tolist() == pytest.approx(b.low.tolist())


def test_workers_find_the_same():
    from tests.measures.sensitivity.test_trials import InTurn

    sim, executor = digits_sim("w3a8")[0], InTurn()
    options = {"estimator": "evaluate", "evaluate": DEMO.evaluate, "layers": "blocks.0.*"}
    assert qnb.sensitivity(sim, **options).equals(qnb.sensitivity(sim, **options, executor=executor))
    assert executor.futures


# Cancel and errors


@pytest.mark.parametrize("method", ["fisher", "sqnr", "evaluate"])
def test_cancel_leaves_the_sim_as_it_was(method):
    sim, batches = digits_sim("w4a8", batches=2)
    evaluate = DEMO.evaluate if method == "evaluate" else None
    before, generator = state(sim), torch.random.get_rng_state()
    count = CancelAfter()
    qnb.sensitivity(sim, batches, estimator=method, evaluate=evaluate, layers="blocks.0.*", progress=count)
    assert count.calls > 20
    for at in (1, 3, count.calls // 4, count.calls // 2, count.calls - 1):
        with pytest.raises(Cancelled):
            qnb.sensitivity(
                sim, batches, estimator=method, evaluate=evaluate, layers="blocks.0.*", progress=CancelAfter(at)
            )
        assert same(before, state(sim)) and torch.equal(generator, torch.random.get_rng_state())


@pytest.mark.parametrize("method", ["fisher", "sqnr", "evaluate"])
def test_progress_rises_to_the_end(method):
    sim, batches = digits_sim("w4a8", batches=2)
    steps = []
    qnb.sensitivity(
        sim,
        batches,
        estimator=method,
        evaluate=DEMO.evaluate if method == "evaluate" else None,
        layers="blocks.0.*",
        progress=lambda *step: steps.append(step),
    )
    done, totals = [s[0] for s in steps], {s[1] for s in steps}
    assert done == sorted(done) and totals == {done[-1]}


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"estimator": "hessian"}, InputError, "use one of fisher, sqnr, evaluate"),
        ({"estimator": "evaluate"}, InputError, "pass evaluate="),
        ({"estimator": "sqnr", "loss": "squares"}, InputError, "loss= with estimator='sqnr'"),
        ({"evaluate": DEMO.evaluate}, InputError, "evaluate= with estimator='fisher'"),
        ({"loss": "hinge"}, InputError, "'softmax', 'squares'"),
        ({"layers": "nothing"}, InputError, "no layer matches 'nothing'"),
        ({"batches": None}, InputError, "no batches"),
        ({"batches": iter([torch.zeros(2, 6)])}, InputError, "one-shot"),
        ({"batches": [torch.zeros(2, 7)]}, InputError, "is 7"),
        ({"batches": [torch.full((2, 6), math.nan)]}, InputError, "NaN in FP32"),
        ({"loss": lambda output, target: 1.0}, InputError, "nothing for loss"),
        ({"loss": lambda o, t: 1.0, "batches": [(torch.zeros(2, 6), 0)]}, EvaluateError, "not a finite tensor"),
        ({"loss": lambda o, t: o.nothing, "batches": [(torch.zeros(2, 6), 0)]}, EvaluateError, "your loss raised"),
    ],
)
def test_what_does_not_fit_is_said(options, error, said):
    sim, batches = small_sim()
    with pytest.raises(error, match=said):
        qnb.sensitivity(sim, **{"batches": batches, **options})


def test_before_calibration_and_of_an_exact_simulation_there_is_none():
    x = torch.randn(4, 6)
    with pytest.raises(CalibrationError, match="calibrate"):
        qnb.sensitivity(qnb.QuantSim(nn.Linear(6, 2).eval(), x), [x])
    with pytest.raises(InputError, match="exact simulation"):
        qnb.sensitivity(small_sim("w8a8")[0].exact("onnxruntime"), [x])


class Steps(nn.Module):
    def forward(self, x):
        return torch.bucketize(x, torch.tensor([0.0, 1.0])) + 0


def test_outputs_that_are_no_numbers_are_said():
    x = torch.randn(4, 6)
    sim = qnb.QuantSim(nn.Sequential(nn.Linear(6, 6), Steps()).eval(), x, "w8a8").calibrate([x])
    for method in ("fisher", "sqnr"):
        with pytest.raises(InputError, match="not floating-point numbers"):
            qnb.sensitivity(sim, [x], estimator=method)


@torch.library.custom_op("qnb_test::doubled", mutates_args=())
def doubled(x: torch.Tensor) -> torch.Tensor:
    return x * 2


@doubled.register_fake
def _(x):
    return torch.empty_like(x)


class Doubled(nn.Module):
    def forward(self, x):
        return doubled(x)


def test_an_op_without_a_gradient_is_said():
    x = torch.randn(4, 6)
    sim = qnb.QuantSim(nn.Sequential(nn.Linear(6, 6), Doubled(), nn.Linear(6, 3)).eval(), x, "w8a8").calibrate([x])
    with pytest.raises(InputError, match="no gradient .*estimator='sqnr'"):
        qnb.sensitivity(sim, [x])
    assert (qnb.sensitivity(sim, [x], estimator="sqnr").score > 0).any()
