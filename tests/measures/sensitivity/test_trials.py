"""Settings tried out here, by processes and by a Dask cluster give the same scores, bit for bit."""

import multiprocessing
import os
import pickle
import threading
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor

import pytest
import torch

import qnb
from qnb.errors import Cancelled, EvaluateError, InputError
from qnb.measures.sensitivity.trials import CHUNKS, Trial, evaluate_trials
from tests.methods.states import CancelAfter, digits_sim, same, state
from tests.models import transformers_zoo, zoo


def noisy_accuracy(model) -> qnb.Score:
    """Accuracy that also draws random numbers, so that a seed matters."""
    score = qnb.demo.digits().evaluate(model)
    return qnb.Score(score.value + 1e-3 * float(torch.rand(())), n=score.n)


def failing(model) -> float:
    raise ValueError("no data here")


def slow(model) -> float:
    for _ in range(200):
        model(torch.zeros(2, 1, 8, 8))
    return 1.0


@pytest.fixture(scope="module")
def sim():
    return digits_sim("w4a8", target="generic")[0]


@pytest.fixture(scope="module")
def trials(sim):
    changed = [sim.copy().disable(layer) for layer in [g.layer for g in sim.groups][:5]]
    changed += [sim.copy().set_precision("blocks.1.*", p) for p in ("w8a8", "w4a4", "w8a16", "w3a8")]
    changed += [sim.copy().set_precision("classifier", p) for p in ("fp16", "fp32")]
    return [Trial.between(sim, c, str(i)) for i, c in enumerate(changed)]


@pytest.fixture(scope="module")
def serial(sim, trials):
    return evaluate_trials(sim, trials, noisy_accuracy, seed=3)


def test_a_trial_is_what_differs_and_pickles(sim):
    changed = sim.copy().set_precision("blocks.1.expand.conv", "w8a16")
    trial = Trial.between(sim, changed)
    assert {name.partition(".")[0] for name in trial.changes} == {"weight_quantizers", "activation_quantizers"}
    assert pickle.loads(pickle.dumps(trial)) == trial
    assert Trial.between(sim, sim.copy()).changes == {}


def test_a_trial_applied_is_the_changed_sim_and_goes_away_again(sim):
    changed = sim.copy().set_precision("blocks.1.*", "w3a4").disable("classifier", "weight")
    base, x = sim.copy(), torch.randn(4, 1, 8, 8)
    before, plain = state(base), base(x)
    with Trial.between(sim, changed).applied(base):
        assert torch.equal(base(x), changed(x)) and not torch.equal(base(x), plain)
    assert same(before, state(base)) and torch.equal(base(x), plain)


def test_another_model_or_other_weights_are_no_trial(sim):
    other = digits_sim("w4a8", target="htp-v75")[0]
    with pytest.raises(InputError, match="different models or targets"):
        Trial.between(sim, other)
    changed = sim.copy()
    with torch.no_grad():
        changed.model.get_parameter("classifier.weight").add_(1.0)
    with pytest.raises(InputError, match=r"classifier\.weight"):
        Trial.between(sim, changed)


def test_scores_are_those_of_the_changed_sims_and_leave_the_sim_alone(sim, trials):
    evaluate = qnb.demo.digits().evaluate
    before, generator = state(sim), torch.random.get_rng_state()
    changed = sim.copy().set_precision("blocks.1.*", "w4a4")
    scores = evaluate_trials(sim, [Trial(), Trial.between(sim, changed)], evaluate)
    assert scores == [evaluate(sim), evaluate(changed)] and scores[0].value != scores[1].value
    assert same(before, state(sim)) and torch.equal(generator, torch.random.get_rng_state())
    assert evaluate_trials(sim, [], evaluate) == []


def test_each_trial_starts_from_the_seed(sim, trials, serial):
    assert evaluate_trials(sim, trials[::-1], noisy_accuracy, seed=3) == serial[::-1]
    assert evaluate_trials(sim, trials[:1], noisy_accuracy, seed=4) != serial[:1]


def test_threads_take_turns_and_give_the_same(sim, trials, serial):
    generator = torch.random.get_rng_state()
    with ThreadPoolExecutor(3) as pool:
        assert evaluate_trials(sim, trials, noisy_accuracy, seed=3, executor=pool) == serial
    assert torch.equal(generator, torch.random.get_rng_state())


@pytest.fixture(scope="module")
def processes():
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.mark.slow
def test_processes_give_the_same(sim, trials, serial, processes):
    steps = []
    scores = evaluate_trials(
        sim,
        trials,
        noisy_accuracy,
        seed=3,
        executor=processes,
        progress=lambda *step: steps.append(step),
        message="trying",
    )
    assert scores == serial
    assert steps[-1] == (len(trials), len(trials), "trying") and sorted(steps) == steps


@pytest.mark.slow
def test_an_error_in_a_worker_is_the_users_error(sim, trials, processes):
    with pytest.raises(EvaluateError, match="raised ValueError .*no data here"):
        evaluate_trials(sim, trials, failing, executor=processes)
    closure = qnb.demo.digits().evaluate  # no function of a module
    assert evaluate_trials(sim, trials[:1], closure, executor=processes) == evaluate_trials(sim, trials[:1], closure)


@pytest.mark.slow
def test_a_dask_cluster_gives_the_same(sim, trials, serial):
    if not os.environ.get("QNB_CI"):  # where everything must run, its absence is a failure
        pytest.importorskip("distributed")
    import distributed

    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        executor = client.get_executor()
        assert evaluate_trials(sim, trials, noisy_accuracy, seed=3, executor=executor) == serial
        with pytest.raises(EvaluateError, match="no data here"):
            evaluate_trials(sim, trials, failing, executor=executor)
        with pytest.raises(Cancelled):
            evaluate_trials(sim, trials, slow, executor=executor, progress=CancelAfter(3))


class InTurn(Executor):
    """Counts what it is given and runs it at once, or, held, never."""

    def __init__(self, held=False):
        self.futures, self.held = [], held

    def submit(self, fn, *args):
        future = Future()
        self.futures.append(future)
        if not self.held:
            try:
                future.set_result(fn(*args))
            except Exception as error:
                future.set_exception(error)
        return future


def test_the_sim_travels_a_few_times_only(sim, trials):
    executor, many = InTurn(), trials * 4
    found = evaluate_trials(sim, many, lambda model: 0.5, executor=executor)
    assert len(executor.futures) <= CHUNKS < len(many) == len(found)


def test_what_cannot_be_sent_is_said_before_any_work(sim, trials):
    lock, executor = threading.Lock(), InTurn()
    with pytest.raises(InputError, match="does not pickle .*function of a module"):
        evaluate_trials(sim, trials, lambda model: float(lock.locked()), executor=executor)
    assert not executor.futures


def test_a_worker_that_dies_is_told(sim, trials):
    class Broken(InTurn):
        def submit(self, fn, *args):
            future = super().submit(lambda: 0)
            future._exception = CancelledError("the worker was killed")
            return future

    with pytest.raises(EvaluateError, match="a worker that failed .*killed"):
        evaluate_trials(sim, trials, failing, executor=Broken())


def test_an_exact_simulation_is_fixed():
    sim = digits_sim("w8a8")[0]
    with pytest.raises(InputError, match="exact simulation"):
        evaluate_trials(sim.exact("onnxruntime"), [Trial()], failing)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_cancel_leaves_the_sim_and_the_random_numbers_alone(sim, trials, count):
    evaluate = qnb.demo.digits().evaluate
    before, generator = state(sim), torch.random.get_rng_state()
    with pytest.raises(Cancelled):
        evaluate_trials(sim, trials, evaluate, progress=CancelAfter(count))
    assert same(before, state(sim)) and torch.equal(generator, torch.random.get_rng_state())


def test_cancel_takes_back_what_was_not_begun(sim, trials):
    executor = InTurn(held=True)
    with pytest.raises(Cancelled):
        evaluate_trials(sim, trials, slow, executor=executor, progress=CancelAfter(2))
    assert executor.futures and all(f.cancelled() for f in executor.futures)


MODELS = {**zoo(), **transformers_zoo()}


@pytest.mark.parametrize("name", [*zoo(), *(pytest.param(name, marks=pytest.mark.slow) for name in transformers_zoo())])
def test_every_models_bytes_compute_the_same(name):
    model, example = MODELS[name]
    sim = qnb.QuantSim(model, example, "w8a8").calibrate([example])
    trial = Trial.between(sim, sim.copy().disable(kind="activation"))

    def evaluate(sim) -> float:
        return float(sum(x.double().square().sum() for x in sim.run_flat(sim.flatten(example, "test"))))

    here = evaluate_trials(sim, [Trial(), trial], evaluate)
    assert evaluate_trials(sim, [Trial(), trial], evaluate, executor=InTurn()) == here
