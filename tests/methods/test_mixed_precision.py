"""The search over mixes of precisions: what it predicts and pays is what the sim then has; what it chooses is best."""

import json
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

import qnb
from qnb.columns import BITS, FRONT
from qnb.errors import Cancelled, FileError, InputError, PrecisionError, TargetError
from qnb.graph import capture
from qnb.measures import Drop, Score, cost, model_bytes
from qnb.methods import check_order, mixed_precision
from qnb.methods.mixed_precision import cheapest_within
from qnb.methods.precision.candidates import apply_choice, layer_groups
from qnb.methods.precision.choices import Choices
from qnb.methods.precision.precision_front import PrecisionFront, precision_front
from qnb.methods.precision.predicted_loss import passes
from qnb.numerics import Precision
from tests.methods.states import CancelAfter, digits_sim, same, state
from tests.models import transformers_zoo, zoo

TWO = ("w8a16", "w4a8")
NAMES = [*zoo(), "bert", "gpt2", "llama", "vit", "whisper"]


@pytest.fixture(scope="module")
def models():
    """``models(name, ...)`` -> (calibrated sim, batch); each is captured once."""
    made, captured = {**zoo(), **transformers_zoo()}, {}

    def calibrated(name, precision="w8a16", target="htp-v75"):
        model, batch = made[name]
        captured[name] = captured.get(name) or capture(model, batch)
        return qnb.QuantSim(captured[name], precision=precision, target=target).calibrate([batch]), batch

    return calibrated


def by_bits(sim, candidates=("w16a16", "w8a16", "w8a8", "w4a8")):
    """A made-up sensitivity: a quarter for each bit more, weights and outputs alike, layers differ."""
    rows = []
    for i, layer in enumerate(sim.layers().layer):
        for name in candidates:
            p = Precision.parse(name)
            rows.append((layer, name, (1 + i % 3) * (4.0**-p.weights.bits + 4.0**-p.activations.bits)))
    return pd.DataFrame(rows, columns=["layer", "precision", "score"])


class Net(torch.nn.Module):
    """Three layers of weights and a sum."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (torch.nn.Linear(8, 8) for _ in range(3))

    def forward(self, x):
        y = torch.relu(self.a(x))
        return self.c(y + self.b(y))


@cache
def captured():
    torch.manual_seed(1)
    return capture(Net().eval(), torch.randn(16, 8)), [torch.randn(16, 8) for _ in range(2)]


def small(precision="w8a8", target="htp-v75"):
    """A calibrated sim of `Net`, the same each time, and its batches."""
    model, batches = captured()
    return qnb.QuantSim(model, precision=precision, target=target).calibrate(batches), batches


def evaluate(model):
    """Agreement with the FP32 model, sample by sample."""
    x = torch.randn(64, 8, generator=torch.Generator().manual_seed(5))
    right = (model(x).argmax(1) == small()[0].reference_model(x).argmax(1)).double()
    return Score(float(right.mean()), per_sample=right)


def never(model):
    raise AssertionError("evaluated again")


def random_choices(choices, count=3):
    random = np.random.default_rng(0)
    return [[int(random.integers(len(g.options))) for g in choices.groups] for _ in range(count)]


@pytest.mark.parametrize("name", NAMES)
def test_costs_are_those_of_the_sim_that_comes_out(models, name):
    sim, _ = models(name)
    bops, bytes_ = Choices(sim), Choices(sim, cost="weight_bytes")
    for choice in random_choices(bops):
        apply_choice(sim, bops.groups, choice)
        assert bops.problem.point(choice).cost == pytest.approx(cost(sim).bops.sum(), rel=1e-6)
        assert bytes_.problem.point(choice).cost == pytest.approx(model_bytes(sim), abs=1)


def test_a_cost_of_ones_own_is_a_number_per_layer():
    sim, _ = small()
    own = Choices(sim, cost=lambda layers: layers.macs * layers.weight_bits * layers.input_bits)
    bops = Choices(sim)
    for choice in random_choices(bops, 10):
        assert own.problem.point(choice).cost == pytest.approx(bops.problem.point(choice).cost)
    outputs = Choices(sim, cost=lambda layers: layers.activation_bits)
    for choice in random_choices(bops, 3):
        assert outputs.problem.point(choice).cost == pytest.approx(_output_bits(sim, outputs, choice))


def _output_bits(sim, choices, choice):
    apply_choice(sim, choices.groups, choice)
    return sim.layers().activation_bits.sum()


def test_layers_that_share_a_quantizer_are_one_group(models):
    sim, _ = models("unet")
    groups = layer_groups(sim, [Precision.parse(n) for n in TWO])
    assert sorted(n for g in groups for n in g.layers) == sorted(
        {s.layer for s in sim.plan.activations.values()} | {g.layer for g in sim.groups}
    )
    keys = [key for g in groups for key in g.activations]
    assert len(keys) == len(set(keys)) == len(sim.plan.activations)
    tied = [g for g in groups if len(g.layers) > 1]
    assert tied, "a concatenation ties what it joins"
    for group in tied:
        assert len({key for name in group.layers for key in sim.output_keys({name})}) < len(group.layers)


def test_options_that_differ_in_no_grid_are_one():
    sim, _ = small()
    groups = {g.layers: g for g in layer_groups(sim, [Precision.parse(n) for n in ("w8a16", "w8a8", "w4a8")])}
    assert [p.name for p in groups["add",].options] == ["w8a16", "w8a8"] and groups["add",].option_of == (0, 1, 1)
    assert len(groups["a",].options) == 3


def test_a_few_passes_have_all_grids():
    names = ("w16a16", "w8a16", "w8a8", "w4a16", "w4a8")
    found = passes([Precision.parse(n) for n in names])
    assert len(found) == 3
    assert {p.weights.bits for p in found} == {4, 8, 16} and {p.activations.bits for p in found} == {8, 16}


@pytest.mark.parametrize("method", ["fisher", "sqnr"])
def test_the_predicted_loss_of_one_precision_everywhere_is_the_sum_of_its_sensitivities(method):
    sim, batches = small()
    front = precision_front(sim, batches, candidates=["w8a16", "w4a8"], sensitivity=method)
    for point, name in ((0, "w4a8"), (-1, "w8a16")):
        table = qnb.sensitivity(sim.copy().set_precision(None, name), batches, estimator=method)
        assert front.points[point].loss == pytest.approx(table.score.sum(), rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_model_can_be_searched(models, name):
    sim, batch = models(name, target="generic" if name in ("lstm", "vit") else "htp-v75")
    result = mixed_precision(sim, [batch], budget=0.5, candidates=TWO)
    front, bits = result.tables["front"], result.tables["bits"]
    assert tuple(front.columns) == FRONT and tuple(bits.columns) == BITS
    assert (front.cost.diff()[1:] > 0).all() and (front.predicted.diff()[1:] < 0).all()
    chosen = front[front.chosen].iloc[0]
    assert 0 < chosen.cost_fraction <= 0.5 and chosen.cost == pytest.approx(cost(sim).bops.sum(), rel=1e-6)
    assert sim.calibrated and sim.applied_methods == ("mixed_precision",)
    mine = bits[bits.point == chosen.point].set_index("layer").loc[sim.layers().layer]
    assert mine.weight_bits.fillna(0).tolist() == sim.layers().weight_bits.fillna(0).tolist()
    assert mine.activation_bits.tolist() == sim.layers().activation_bits.tolist()
    assert len({*zip(sim.layers().weight_bits.fillna(0), sim.layers().activation_bits, strict=True)}) > 1, "a mix"


def test_more_budget_never_predicts_more_loss_and_what_is_chosen_is_within():
    losses = []
    for budget in (0.15, 0.3, 0.6, 1.0):
        sim, batches = small()
        front = mixed_precision(sim, batches, budget=budget).tables["front"]
        chosen = front[front.chosen].iloc[0]
        assert chosen.cost_fraction <= budget
        assert chosen.predicted == front.predicted[front.cost_fraction <= budget].min()
        losses.append(chosen.predicted)
    assert losses == sorted(losses, reverse=True) and losses[0] > losses[-1]


def test_a_budget_in_units_is_the_same_as_its_share():
    results = []
    for share in (True, False):
        sim, batches = small()
        budget = 0.4 if share else 0.4 * Choices(sim, cost="weight_bytes").highest
        results.append(mixed_precision(sim, batches, budget=budget, cost="weight_bytes"))
        assert model_bytes(sim) <= 0.4 * Choices(small()[0], cost="weight_bytes").highest
    assert results[0].tables["front"].equals(results[1].tables["front"])


def test_a_table_of_sensitivities_is_taken_as_it_is():
    sim, batches = small()
    table = by_bits(sim, TWO)
    front = precision_front(sim, batches, sensitivity=table, candidates=TWO)
    total = table.groupby("precision").score.sum()
    assert [front.points[i].loss for i in (0, -1)] == pytest.approx([total["w4a8"], total["w8a16"]])


def test_only_some_layers():
    sim, batches = small("w8a16")
    before = sim.encodings().set_index(["layer", "kind"])
    result = mixed_precision(sim, batches, layers=["a", "b"], budget=0.7, candidates=["w8a16", "w4a16"])
    after = sim.encodings().set_index(["layer", "kind"])
    assert after.loc["c"].equals(before.loc["c"]) and after.bits["b", "weight"] == 4
    assert any("2 layers keep their precision: add, c" in note for note in result.notes)


def test_what_is_chosen_is_what_set_precision_gives():
    sim, batches = small()
    result = mixed_precision(sim, batches, budget=0.3)
    other, bits = small()[0], result.tables["bits"]
    bits = bits[bits.point == result.tables["front"].chosen.idxmax()]
    for row in bits.itertuples():
        weights = row.weight_bits if not pd.isna(row.weight_bits) else 8
        other.set_precision(row.layer, f"w{weights}a{row.activation_bits}")
    assert other.encodings().equals(sim.encodings())


def test_the_same_numbers_again():
    tables = []
    for _ in range(2):
        sim, batches = small()
        tables.append(mixed_precision(sim, batches, budget=0.3, evaluate=evaluate).tables)
    assert all(tables[0][name].equals(tables[1][name]) for name in ("front", "bits"))


def test_measured_points_are_what_the_metric_says():
    sim, batches = small()
    front = mixed_precision(sim, batches, budget=0.3, evaluate=evaluate, verify=4).tables["front"]
    measured = front[front.metric.notna()]
    assert len(measured) == 4 and measured.chosen.sum() == 1
    assert front.metric[front.chosen].iloc[0] == evaluate(sim).value
    assert measured.measured.to_numpy() == pytest.approx(evaluate(sim.reference_model).value - measured.metric)


def test_workers_find_the_same():
    tables = []
    for executor in (None, ThreadPoolExecutor(2)):
        sim, batches = small()
        tables.append(mixed_precision(sim, batches, budget=0.3, evaluate=evaluate, executor=executor).tables)
    assert tables[0]["front"].equals(tables[1]["front"])


@pytest.mark.slow
def test_the_digits_within_one_percent():
    demo = qnb.demo.digits()
    sim, batches = digits_sim("w4a8")
    result = mixed_precision(sim, batches, max_drop=0.01, evaluate=demo.evaluate)
    front = result.tables["front"]
    chosen = front[front.chosen].iloc[0]
    assert len(front) >= 30 and chosen.high <= 0.01 and chosen.cost_fraction < 0.4
    assert demo.evaluate(sim).value == chosen.metric
    cheaper = front[(front.index < chosen.point) & front.metric.notna()]
    assert (cheaper.high > 0.01).any(), "the next cheaper measured one loses more"
    assert any(", 0 beyond it" in note for note in result.notes)


def test_no_point_is_good_enough():
    worse = lambda model: 1.0 if type(model).__name__ == "ReferenceModel" or all_off(model) else 0.0  # noqa: E731
    sim, batches = small()
    result = mixed_precision(sim, batches, max_drop=0.1, evaluate=worse)
    front = result.tables["front"]
    assert front.chosen.iloc[-1] and any("No point is certain to lose at most 0.1" in note for note in result.notes)


def all_off(sim):
    return not any(q.active for q in sim.quantizers())


class Known:
    """A front whose points' drops are known; counts what is measured."""

    def __init__(self, drops):
        self.drops, self.scores = drops, {}

    def __len__(self):
        return len(self.drops)

    def drop(self, point):
        assert point in self.scores
        return Drop(self.drops[point], np.nan, np.nan, False, np.nan)

    def measure(self, points):
        self.scores |= dict.fromkeys(points)


@pytest.mark.parametrize("count", [1, 2, 3, 17, 48])
@pytest.mark.parametrize("verify", [0, 3])
def test_bisection_finds_the_cheapest_of_a_falling_front(count, verify):
    for first_good in range(count + 1):
        front = Known([1.0] * first_good + [0.0] * (count - first_good))
        assert cheapest_within(front, 0.5, front.measure, verify) == min(first_good, count - 1)
        assert len(front.scores) <= max(verify, 2) + 1 + np.ceil(np.log2(count + 1))


def test_the_order_of_measured_points():
    front = PrecisionFront(SimpleNamespace(), [None] * 3, None)
    samples = {0: [0] * 60 + [1] * 40, 1: [0] * 30 + [1] * 70, 2: [0] * 31 + [1] * 69}
    front.scores = {i: Score(float(np.mean(v)), per_sample=v) for i, v in samples.items()}
    assert front.order() == (2, 1, 0), "the last two differ by less than chance"
    front.scores[2] = front.scores[0]
    assert front.order() == (2, 0, 1)


def messages(progress):
    return lambda done, total, message: progress.append(message)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.99])
def test_cancelled_in_the_middle_the_sim_is_as_it_was(share):
    sim, batches = small()
    before, counter = state(sim), CancelAfter()
    mixed_precision(sim.copy(), batches, budget=0.4, evaluate=evaluate, progress=counter)
    with pytest.raises(Cancelled):
        mixed_precision(
            sim, batches, budget=0.4, evaluate=evaluate, progress=CancelAfter(max(1, int(counter.calls * share)))
        )
    assert same(before, state(sim))


def test_a_cancelled_search_goes_on_from_its_cache(tmp_path):
    path, (sim, batches) = tmp_path / "search.json", small()
    expected = mixed_precision(sim.copy(), batches, budget=0.4, evaluate=evaluate).tables

    def cancel(done, total, message):
        if message == "verifying" and done == 2:
            raise Cancelled("test")

    with pytest.raises(Cancelled):
        mixed_precision(sim, batches, budget=0.4, evaluate=evaluate, cache=path, progress=cancel)
    stored = json.loads(path.read_text())
    assert len(stored["passes"]) == 3 and [len(s) for s in stored["scores"].values()] == [1]
    said: list[str] = []
    again = mixed_precision(
        small()[0], batches, budget=0.4, evaluate=evaluate, cache=path, progress=messages(said)
    ).tables
    assert not [m for m in said if "sensitivity" in m]
    assert all(again[name].equals(expected[name]) for name in ("front", "bits"))


def test_what_is_in_the_cache_is_not_measured_again(tmp_path):
    path = tmp_path / "search.json"
    sim, batches = small()
    expected = mixed_precision(sim, batches, budget=0.4, evaluate=evaluate, cache=path).tables["front"]
    never.__qualname__, never.__module__ = evaluate.__qualname__, evaluate.__module__
    found = mixed_precision(small()[0], batches, budget=0.4, evaluate=never, cache=path).tables["front"]
    assert found.equals(expected)


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"format": "other"}', '{"format": "qnb.precision_search"}'])
def test_a_damaged_cache_is_named(tmp_path, content):
    path, (sim, batches) = tmp_path / "search.json", small()
    path.write_text(content)
    with pytest.raises(FileError, match="search.json.*damaged or no cache.*delete it"):
        mixed_precision(sim, batches, budget=0.4, cache=path)
    assert path.read_text() == content


@pytest.mark.parametrize("change", ["data", "candidates", "sim", "seed"])
def test_the_cache_of_another_search_is_named(tmp_path, change):
    path, (sim, batches) = tmp_path / "search.json", small()
    precision_front(sim, batches, candidates=TWO, cache=path)
    other = {"sim": small("w8a16")[0]}.get(change, sim)
    with pytest.raises(FileError, match="cache of another sim, other data"):
        precision_front(
            other,
            batches[::-1] if change == "data" else batches,
            cache=path,
            seed=int(change == "seed"),
            candidates=TWO[::-1] if change == "candidates" else TWO,
        )


def test_a_cache_in_no_folder_is_found_out_at_once(tmp_path):
    sim, batches = small()
    said: list[str] = []
    with pytest.raises(FileError, match="choose a folder"):
        mixed_precision(sim, batches, budget=0.4, cache=tmp_path / "no" / "f.json", progress=messages(said))
    assert not [m for m in said if "sensitivity" in m]


REFUSED = {
    "both": ({"budget": 0.5, "max_drop": 0.1, "evaluate": evaluate}, InputError, "both budget and max_drop"),
    "neither": ({}, InputError, "neither budget nor max_drop"),
    "no metric": ({"max_drop": 0.1}, InputError, "max_drop without evaluate"),
    "no metric for sensitivity": ({"budget": 1, "sensitivity": "evaluate"}, InputError, "without evaluate"),
    "negative drop": ({"max_drop": -1, "evaluate": evaluate}, InputError, "max_drop=-1"),
    "no budget": ({"budget": 0}, InputError, "budget=0"),
    "small budget": ({"budget": 0.01}, InputError, "below the lowest possible cost"),
    "verify": ({"budget": 1, "verify": -1}, InputError, "verify=-1"),
    "one candidate": ({"budget": 1, "candidates": "w8a8"}, PrecisionError, "1 candidate"),
    "floats": ({"budget": 1, "candidates": ["w8a8", "fp16"]}, PrecisionError, "candidate fp16"),
    "target": ({"budget": 1, "candidates": ["w8a8", "w3a8"]}, TargetError, "layer 'a' at w3a8, which htp-v75"),
    "cost": ({"budget": 1, "cost": "watts"}, InputError, "there is no 'watts'"),
    "own cost": ({"budget": 1, "cost": lambda t: 1.0}, InputError, "one finite number, not below 0, for each row"),
    "way": ({"budget": 1, "sensitivity": "guess"}, InputError, "there is no 'guess'"),
    "layers": ({"budget": 1, "layers": "z"}, InputError, "no layer matches 'z'"),
    "columns": ({"budget": 1, "sensitivity": pd.DataFrame({"layer": []})}, InputError, "without precision, score"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case):
    (options, error, message), (sim, batches) = REFUSED[case], small()
    before = state(sim)
    with pytest.raises(error, match=message):
        mixed_precision(sim, batches, **options)
    assert same(before, state(sim))


def test_what_is_wrong_in_a_table_of_sensitivities():
    sim, batches = small()
    table = by_bits(sim, TWO)
    for changed, message in (
        (table.assign(score=-1.0), "below 0"),
        (table.assign(layer="z"), "'z', which is not a layer"),
        (table[table.precision == "w4a8"], "without precision 'w8a16'"),
    ):
        with pytest.raises(InputError, match=message):
            mixed_precision(sim, batches, budget=1, sensitivity=changed, candidates=TWO)


def test_a_target_that_runs_any_precision_may_have_any_candidate():
    sim, batches = small(target="generic")
    result = mixed_precision(sim, batches, budget=0.9, candidates=["w8a8", "w3a6", "w2a8"])
    assert set(result.tables["bits"].weight_bits.dropna()) <= {2, 3, 8}


def test_a_sim_in_floats_is_refused_and_layers_in_floats_are_left_alone():
    sim, batches = small("fp16")
    with pytest.raises(PrecisionError, match="no layer on integer grids"):
        mixed_precision(sim, batches, budget=0.5)
    sim, batches = small()
    sim.set_precision("c", "fp16")
    result = mixed_precision(sim, batches, budget=0.5, candidates=TWO)
    assert sim.layers().set_index("layer").weight_bits["c"] == 16
    assert any("1 layers keep their precision: c" in note for note in result.notes)


def test_bits_come_before_rounding():
    check_order(["equalize", "mixed_precision", "gptq"], "test")
    with pytest.raises(InputError, match="mixed_precision after gptq.*mixed_precision, gptq"):
        check_order(["gptq", "mixed_precision"], "test")


def test_a_point_that_is_not_there():
    sim, batches = small()
    front = precision_front(sim, batches, candidates=TWO)
    with pytest.raises(InputError, match="choose one of 0 to"):
        front.apply(sim, len(front))
    with pytest.raises(InputError, match="point -1"):
        front.verify([-1], evaluate)
