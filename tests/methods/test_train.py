"""Training with quantizers in place: what is learned, what stays, cancel, checkpoint and resume."""

import functools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import qnb
from qnb.errors import EvaluateError, FileError, InputError, PrecisionError
from qnb.methods.train import train
from tests.methods.states import CancelAfter, digits_sim, same, state
from tests.models import transformers_zoo, zoo


@pytest.fixture(scope="module")
def models():
    return {**zoo(), **transformers_zoo()}


@functools.cache
def data():
    from qnb.demo.data import load

    return load()


def rows():
    """Another order in each epoch."""
    features = torch.randn(48, 8, generator=torch.Generator().manual_seed(1))
    return torch.utils.data.DataLoader(features, 16, shuffle=True)


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.LayerNorm(16)), nn.Linear(16, 4)

    def forward(self, x):
        return self.head(self.body(x))


def small(precision="w4a4", batches=4, **arguments):
    """A sim that trains in no time, and its batches."""
    model, generator = Small().eval(), torch.Generator().manual_seed(0)
    batches = [torch.randn(16, 8, generator=generator) for _ in range(batches)]
    return qnb.QuantSim(model, batches[0], precision, **arguments).calibrate(batches), batches


NAMES = [*zoo(), "bert", "gpt2", "llama", "vit", "whisper"]


@pytest.mark.parametrize("name", NAMES)
def test_every_model_trains(models, name):
    model, batch = models[name]
    sim = qnb.QuantSim(model, batch, "w4a8").calibrate([batch])
    before = state(sim)
    result = train(sim, [batch], steps=4, learning_rate=1e-3)
    after = state(sim)
    moved = {n for n in before if isinstance(before[n], torch.Tensor) and not torch.equal(before[n], after[n])}
    assert any(n.endswith("scale") for n in moved) and any(n in sim.tensors() for n in moved)
    assert not any(n.startswith("reference/") for n in moved)
    assert before["flags"] == after["flags"] and before["training"] == after["training"]
    assert result.history.loss.notna().all() and len(result.history) == 4
    table = sim.encodings()
    assert all(float(z).is_integer() for row in table.zero_point for z in (row if isinstance(row, list) else [row]))


@pytest.mark.parametrize("target", ["generic", "htp-v75"])
def test_training_lowers_the_loss_and_lifts_the_output(target):
    sim, batches = digits_sim("w4a4", batches=4, target=target)
    result = train(sim, batches, steps=60)  # half of that ends at 0.68 to 0.74 of the loss, by how a CPU rounds
    losses = result.history.loss
    assert losses[-8:].mean() < 0.7 * losses[:8].mean()
    assert result.output_after_db > result.output_before_db
    assert {"weight_scale_ratio", "output_scale_ratio", "own_after_db"} <= set(result.table.columns)


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "rule"), [("w4a4", "mse"), ("w4a8", "minmax")])
def test_low_precision_ends_within_one_percent_of_fp32(precision, rule):
    demo = qnb.demo.digits()
    sim = qnb.QuantSim(demo.model, demo.calibration[0], precision).calibrate(demo.calibration, rule)
    plain = demo.evaluate(sim).value
    train(sim, torch.utils.data.DataLoader(data().train, 32, shuffle=True), epochs=15)
    assert plain < demo.evaluate(demo.model).value - 0.01 <= demo.evaluate(sim).value


@pytest.mark.parametrize("count", [1, 4, 7, 12])
def test_a_cancel_leaves_the_sim_bit_identical(count):
    sim, batches = digits_sim("w4a4")
    before = state(sim)
    with pytest.raises(qnb.errors.Cancelled):
        train(sim, batches, steps=6, evaluate=lambda m: float(m(batches[0]).sum()), progress=CancelAfter(count))
    assert same(before, state(sim))


def test_an_error_on_the_way_leaves_the_sim_bit_identical():
    sim, batches = small()
    before = state(sim)
    with pytest.raises(InputError, match="lower|below"):
        train(sim, batches, steps=50, optimizer="sgd", learning_rate=1e30)
    assert same(before, state(sim))


def test_the_same_seed_gives_the_same_bits_and_leaves_the_users_random_numbers_alone():
    states = []
    for seed in (0, 0, 1):
        sim, _ = small()
        torch.manual_seed(5)
        train(sim, rows(), epochs=2, seed=seed)
        assert torch.equal(torch.rand(1), torch.rand(1, generator=torch.Generator().manual_seed(5)))
        states.append(state(sim))
    assert same(states[0], states[1]) and not same(states[0], states[2])


class Metric:
    """Gives these values one after the other."""

    def __init__(self, *values, **score):
        self.values, self.score = iter(values), score

    def __call__(self, model):
        return qnb.Score(next(self.values), **self.score)


def test_the_state_with_the_best_metric_is_kept():
    sim, batches = small()
    start = state(sim)
    result = train(sim, batches, epochs=2, evaluate=Metric(3.0, 2.0, 1.0))
    assert list(result.history.metric.dropna()) == [3.0, 2.0, 1.0] and list(result.history.step[:2]) == [0, 1]
    end = state(sim)
    assert all(torch.equal(start[n], end[n]) for n in sim.tensors())
    assert all(
        torch.equal(start[n], end[n]) for n in start if n.endswith((".scale", ".zero_point")) and start[n] is not None
    )


def test_a_metric_where_lower_is_better():
    sim, batches = small()
    start = state(sim)
    train(sim, batches, epochs=2, evaluate=Metric(3.0, 2.0, 2.5, higher_is_better=False))
    other, _ = small()
    train(other, batches, steps=len(batches), schedule="constant")
    assert not torch.equal(start["head.weight"], sim.tensors()["head.weight"])
    constant, _ = small()
    train(constant, batches, epochs=2, schedule="constant", evaluate=Metric(3.0, 2.0, 2.5, higher_is_better=False))
    assert torch.equal(constant.tensors()["head.weight"], other.tensors()["head.weight"])


def test_patience_stops():
    sim, batches = small()
    result = train(sim, batches, epochs=9, evaluate=Metric(1.0, 2.0, 0.5, 0.5), patience=2)
    assert result.history.step.max() == 3 * len(batches) and "no gain in 2 epochs" in result.notes[-1]
    result = train(sim, batches, epochs=9, learning_rate=0.3, schedule="constant", patience=1)  # by the loss
    assert result.history.epoch.max() < 8


OPTIONS = {"epochs": 3, "optimizer": "adam", "warmup": 4}


def resumed(path, count, **options):
    """Cancelled at its ``count``-th progress, then gone on with: the sim and how it went."""
    with pytest.raises(qnb.errors.Cancelled):
        train(small()[0], rows(), checkpoint=path, progress=CancelAfter(count), **OPTIONS | options)
    sim, _ = small()
    return sim, train(sim, rows(), checkpoint=path, **OPTIONS | options)


@pytest.mark.parametrize(
    "options",
    [{}, {"optimizer": "sgd", "learning_rate": 1e-4, "patience": 1}, {"metric": True}],
    ids=["adam", "sgd", "metric"],
)
def test_a_resumed_training_gives_the_bits_of_an_uninterrupted_one(options, tmp_path):
    options = {("evaluate" if n == "metric" else n): noisy if n == "metric" else v for n, v in options.items()}
    whole, calls = small()[0], CancelAfter()
    expected = train(whole, rows(), progress=calls, **OPTIONS | options)
    for count in range(5, calls.calls - 4, 5):
        sim, result = resumed(tmp_path / f"{count}.qnb", count, **options)
        assert same(state(whole), state(sim))
        assert result.history.equals(expected.history)


def noisy(model):
    """A metric that draws random numbers, and calls the model more than once."""
    with torch.no_grad():
        return float(sum(model(torch.rand(4, 8)).std() for _ in range(2)))


def test_a_finished_training_is_read_and_not_repeated(tmp_path):
    sim, batches = small()
    first = train(sim, batches, epochs=2, checkpoint=tmp_path / "c")
    again, calls = small()[0], []
    result = train(again, batches, epochs=2, checkpoint=tmp_path / "c", progress=lambda *args: calls.append(args[2]))
    assert same(state(sim), state(again)) and result.history.equals(first.history)
    assert set(calls) == {"measuring layers"}


def test_a_checkpoint_of_something_else_is_refused_by_name(tmp_path):
    path = tmp_path / "c"
    sim, batches = small()
    train(sim, batches, steps=2, checkpoint=path)
    for other, options, what in (
        (small()[0], {"learning_rate": 0.5}, "learning_rate was 0.001, now it is 0.5"),
        (
            small("w3a4")[0],
            {},
            r"another precision: body.0 \(weight\) was 'int4 per channel', now it is 'int3 per channel'",
        ),
        (small(target="generic")[0], {}, "another"),
        (digits_sim("w4a4")[0], {}, "another model"),
    ):
        before, loader = state(other), batches if "head.weight" in other.tensors() else [data().train[:8]]
        with pytest.raises(FileError, match=what):
            train(other, loader, steps=2, checkpoint=path, **options)
        assert same(before, state(other))
    train(small("w3a4")[0], batches, steps=2, checkpoint=path, resume=False)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(FileError, match="damaged"):
        train(small("w3a4")[0], batches, steps=2, checkpoint=path)
    with pytest.raises(FileError, match="folder"):
        train(sim, batches, checkpoint=tmp_path / "none" / "c")


def test_labels_and_a_loss():
    sim, batches = small()
    pairs = [(x, x[:, :4].argmax(-1)) for x in batches]
    result = train(sim, pairs, F.cross_entropy, epochs=20, learning_rate=1e-2)
    assert result.history.loss[-4:].mean() < 0.7 * result.history.loss[:4].mean()
    mixed = train(sim, pairs, F.cross_entropy, steps=2, distill=0.5)
    assert mixed.options["distill"] == 0.5 and mixed.options["loss"] == "cross_entropy"


def test_a_mix_is_the_sum_of_its_parts():
    def first(**options):
        sim, batches = small()
        loader = [(x, torch.arange(16) % 4) for x in batches] if "loss" in options else batches
        return train(sim, loader, steps=1, **options).history.loss[0]

    mixed = first(loss=F.cross_entropy, distill=0.25)
    assert math.isclose(mixed, 0.75 * first(loss=F.cross_entropy) + 0.25 * first(), rel_tol=1e-5)


def test_keyword_batches_with_targets_and_an_output_of_the_users_type(models):
    model, batch = models["attention"]
    sim = qnb.QuantSim(model, batch, "w4a8").calibrate([batch])
    loss = lambda output, y: F.cross_entropy(output.logits, y)  # noqa: E731
    train(sim, [batch | {"label": torch.tensor([0, 1, 2, 3])}], loss, steps=1)
    seen = []
    loss = lambda output, t: seen.append(set(t)) or output.hidden.square().mean() * t["weight"]  # noqa: E731
    train(sim, [batch | {"label": 1, "weight": 2.0}], loss, steps=1)
    assert seen[0] == {"label", "weight"}


@pytest.mark.parametrize(
    ("loader", "loss", "error", "message"),
    [
        ([torch.zeros(4, 8)], F.cross_entropy, InputError, r"\(inputs, target\) pairs"),
        ([(torch.zeros(4, 8), torch.zeros(4))], None, InputError, r"qnb.inputs"),
        ([(torch.zeros(4, 8), 0)], lambda y, t: y, EvaluateError, r"shape \(4, 4\)"),
        ([(torch.zeros(4, 8), 0)], lambda y, t: y.mean() / t, EvaluateError, "ZeroDivisionError|on the first batch"),
        ([(torch.zeros(4, 8), 0)], lambda y, t: y.detach().sum(), InputError, "depend on nothing"),
        ([(torch.zeros(4, 8), 0)], lambda y, t: y.sum() * math.nan, EvaluateError, "loss of nan"),
        ([(torch.zeros(4, 9), 0)], lambda y, t: y.sum(), InputError, "9"),
        ((x for x in ()), None, InputError, "one-shot"),
    ],
)
def test_a_batch_or_loss_that_does_not_fit_is_an_error_before_any_step(loader, loss, error, message):
    sim, _ = small()
    before = state(sim)
    with pytest.raises(error, match=message):
        train(sim, loader, loss, steps=1, progress=lambda d, t, m: "training" not in m or pytest.fail(m))
    assert same(before, state(sim))


@pytest.mark.parametrize(
    "options",
    [
        {"epochs": 0},
        {"steps": 1.5},
        {"learning_rate": 0.0},
        {"schedule": "sine"},
        {"optimizer": "adamw"},
        {"warmup": -1},
        {"patience": 0},
        {"distill": 0.5},
        {"temperature": math.nan},
        {"evaluate": 3},
        {"scale_learning_rate": -1.0},
        {"device": "cuda"},
    ],
    ids=str,
)
def test_an_option_that_does_not_fit_is_an_error(options):
    if "device" in options and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    sim, batches = small()
    with pytest.raises(InputError, match=next(iter(options))):
        train(sim, batches, **options)


def test_a_loader_without_a_length_needs_steps():
    class Endless(torch.utils.data.IterableDataset):
        def __iter__(self):
            while True:
                yield torch.ones(8)

    sim, _ = small()
    loader = torch.utils.data.DataLoader(Endless(), batch_size=4)
    with pytest.raises(InputError, match="steps="):
        train(sim, loader)
    assert len(train(sim, loader, steps=3).history) == 3


def test_float_grids_have_nothing_to_train():
    for precision in ("fp16", "fp32"):
        sim, batches = small(precision)
        with pytest.raises(PrecisionError, match=precision):
            train(sim, batches)


def test_what_is_not_learned_stays():
    sim, batches = small("w4a8")
    before = state(sim)
    train(sim, batches, steps=3, learn_scales=False)
    assert all(same({n: before[n]}, {n: v}) for n, v in state(sim).items() if n.endswith(("scale", "zero_point")))
    train(sim, batches, steps=9, learn_offsets=False, scale_learning_rate=0.1)
    after = state(sim)
    assert all(same({n: before[n]}, {n: v}) for n, v in after.items() if n.endswith("zero_point"))
    train(sim, batches, steps=9, scale_learning_rate=0.1)
    assert any(not same({n: before[n]}, {n: v}) for n, v in state(sim).items() if n.endswith("zero_point"))


def test_fixed_and_masked_ranges_stay(models):
    model, batch = models["attention"]
    sim = qnb.QuantSim(model, batch, "w4a8").calibrate([batch])
    kept = [k for k, s in sim.plan.activations.items() if s.fixed is not None or s.masked]
    before = state(sim)
    result = train(sim, [batch], steps=3)
    after = state(sim)
    assert kept and all(
        torch.equal(before[f"activation_quantizers.{k}.scale"], after[f"activation_quantizers.{k}.scale"]) for k in kept
    )
    assert "not trained" in result.notes[0]


def test_frozen_parameters_stay_and_others_move():
    model = Small().eval()
    model.head.weight.requires_grad_(False)
    x = torch.randn(16, 8)
    sim = qnb.QuantSim(model, x, "w4a8").calibrate([x])
    train(sim, [x], steps=2)
    now = sim.tensors()
    assert torch.equal(now["head.weight"], model.head.weight)
    assert not torch.equal(now["head.bias"], model.head.bias) and not torch.equal(now["body.2.weight"], torch.ones(16))


def test_nothing_to_train_is_an_error():
    model = Small().eval().requires_grad_(False)
    x = torch.randn(16, 8)
    sim = qnb.QuantSim(model, x, "w4a8").calibrate([x])
    with pytest.raises(InputError, match="nothing to train"):
        train(sim, [x], steps=1, learn_scales=False)
    train(sim, [x], steps=2)  # ranges alone
    assert all(torch.equal(sim.tensors()[n], p) for n, p in model.named_parameters())


def test_tied_weights_stay_tied(models):
    model, batch = models["reused"]
    sim = qnb.QuantSim(model, batch, "w4a8").calibrate([batch])
    train(sim, [batch], steps=2)
    tensors = sim.tensors()
    weights = [t for n, t in tensors.items() if n.endswith("weight")]
    assert len({id(t) for t in weights}) == 1
    assert len(sim.plan.weights) > 1 and not torch.equal(weights[0], model.fc.weight)


def test_mixed_precision_is_what_it_was():
    sim, batches = small("w4a8")
    sim.set_precision("head", "w8a16")
    bits = sim.encodings()[["tensor", "bits"]]
    train(sim, batches, steps=2)
    assert sim.encodings()[["tensor", "bits"]].equals(bits)


def test_learned_ranges_are_the_start_for_another_precision(tmp_path):
    sim, batches = small("w8a8")
    train(sim, batches, steps=20, scale_learning_rate=0.05)
    learned = sim.encodings()
    table = sim.set_precision(None, "w8a4").encodings()
    tables = (t[t.kind == "activation"].itertuples() for t in (learned, table))
    for old, new in zip(*tables, strict=True):
        assert new.bits == 4 and math.isclose(new.max - new.min, old.max - old.min, rel_tol=0.1)
    sim.save(tmp_path / "sim")
    loaded = qnb.QuantSim.load(tmp_path / "sim")
    assert torch.equal(loaded(batches[0]), sim(batches[0]))


def test_sixteen_bit_weights_keep_the_targets_headroom():
    sim, batches = small("w16a16", target="htp-v75")
    train(sim, batches, steps=4, learning_rate=0.05)
    for key, site in sim.plan.weights.items():
        quantizer = sim.weight(key)
        if quantizer.grid.symmetric and site.grid == "weights":
            codes = sim.weight_tensor(key) / quantizer.scale.view(-1, *[1] * (sim.weight_tensor(key).dim() - 1))
            assert codes.max() <= sim.target.max_weight_code_16bit + 0.5


def test_an_optimizer_of_the_users():
    sim, batches = small()
    train(sim, batches, steps=3, optimizer=functools.partial(torch.optim.AdamW, weight_decay=0.1))
    seen = []
    train(sim, batches, steps=2, optimizer=lambda groups: seen.extend(map(dict, groups)) or torch.optim.RMSprop(groups))
    assert [g["lr"] for g in seen] == [1e-3, 1e-2] and seen[1]["weight_decay"] == 0


def test_a_second_training_goes_on():
    sim, batches = small()
    train(sim, batches, steps=5)
    result = train(sim, batches, steps=5)
    assert sim.applied_methods == ("train", "train") and result.output_before_db > 0


def test_dynamic_batches_of_other_sizes():
    sim, batches = small()
    assert len(train(sim, [batches[0], batches[1][:3], batches[2][:7]], epochs=1).history) == 3
