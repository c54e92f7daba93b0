"""Several threads on one workflow: each gets what it would get alone, and nothing of the process changes."""

import os
import random
import sys
import threading
import time
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
import torch

import qnb
from qnb.errors import InputError, QnbError
from qnb.sim.quantizer import WeightQuantizer
from qnb.workflow.profiles import Profiles

SECONDS = float(os.environ.get("QNB_STRESS_SECONDS", "12"))


@contextmanager
def often():
    """Threads take turns ten thousand times a second, not two hundred."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


class Crowd:
    """Threads that do their work again and again until the time is up; the first error ends them all."""

    def __init__(self, *works):
        self.end, self.errors = threading.Event(), []
        self.counts = dict.fromkeys((work.__name__ for work in works), 0)
        self.threads = [threading.Thread(target=self._again, args=(work,), daemon=True) for work in works]

    def _again(self, work) -> None:
        while not self.end.is_set():
            try:
                work()
            except BaseException as error:
                self.errors.append(error)
                self.end.set()
            self.counts[work.__name__] += 1

    def run(self, seconds: float) -> None:
        for thread in self.threads:
            thread.start()
        self.end.wait(seconds)
        self.end.set()
        for thread in self.threads:
            thread.join(60)
        stuck = [thread for thread in self.threads if thread.is_alive()]
        if self.errors:
            raise self.errors[0]
        assert not stuck, "threads wait for each other"
        assert all(self.counts.values()), self.counts


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.features = torch.nn.Sequential(
            torch.nn.Conv2d(1, 6, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(6, 6, 3, padding=1), torch.nn.ReLU()
        )
        self.head = torch.nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.features(x).mean((2, 3)))


@pytest.fixture
def flow():
    model = Net().eval()
    data = torch.utils.data.DataLoader(torch.randn(24, 1, 6, 6), batch_size=8, shuffle=True)
    x = torch.randn(16, 1, 6, 6)

    def evaluate(model):
        return qnb.Score(float(model(x[torch.randperm(16)[:8]]).argmax(1).float().mean()), n=8)

    made = qnb.Workflow(model, data, evaluate, target="generic")
    for precision in ("w8a8", "w4a8"):
        made.run(precision)
    return made


def equal(a: pd.DataFrame, b: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(a, b, check_exact=True)


def test_every_thread_gets_what_it_would_get_alone(flow):
    x, toggled, lock = torch.randn(4, 1, 6, 6), flow["w8a8"].sim.copy(), threading.Lock()
    kept = flow["w8a8"].sim
    with torch.no_grad():
        alone = {p: toggled.copy().set_precision(None, p)(x) for p in ("w8a8", "w3a8")}
        expected = kept(x)
    runs = {p: flow.run(p) for p in ("w6a8", "w5a8")}
    profiles, encodings = {n: flow.profile(n) for n in ("w8a8", "w4a8")}, kept.encodings()
    text, turn = flow.document().text(), iter(range(10**9))

    def step():
        with lock:  # a workflow takes one step at a time
            precision = ("w6a8", "w5a8")[next(turn) % 2]
            made = flow.submit(flow.run, precision).wait()
        assert made.score == runs[precision].score
        equal(made.comparison, runs[precision].comparison)

    def second_step():
        try:
            with lock:
                flow.check()
        except InputError as error:
            assert "still runs" in str(error)

    def read():
        flow.profiles = Profiles()
        for name, wanted in profiles.items():
            found = flow.profile(name)["head"]
            equal(found.histogram, wanted["head"].histogram)
        view = flow.layer("w4a8", "head")
        equal(view.scatter, profiles["w4a8"]["head"].scatter)

    def forget():
        kept.drop_cache()
        toggled.drop_cache()
        time.sleep(1e-4)

    def forward():
        with torch.no_grad():
            assert torch.equal(kept(x), expected)

    def forward_while_it_changes():
        with torch.no_grad():
            found = toggled(x)
        assert any(torch.equal(found, wanted) for wanted in alone.values())

    def change():
        for precision in alone:
            toggled.set_precision(None, precision)
            time.sleep(1e-4)

    def look():
        equal(kept.encodings(), encodings)
        now = toggled.snapshot().encodings()  # not .query(): pandas changes the process's warning filters there
        bits = now.bits[now.kind == "weight"]
        assert bits.nunique() == 1
        with torch.no_grad():
            assert torch.equal(kept.copy()(x), expected)
        assert flow.document().text() == text

    with often():
        Crowd(step, second_step, read, forget, forward, forward_while_it_changes, change, look).run(SECONDS)


def test_a_kept_weight_is_given_whoever_drops_it():
    quantizer = WeightQuantizer("weight", qnb.numerics.Grid(8, symmetric=True))
    weight = torch.randn(4, 4)
    quantizer.set_range(weight.min(), weight.max())
    with torch.no_grad():
        expected = quantizer(weight)

        def forward():
            with torch.no_grad():
                assert torch.equal(quantizer(weight), expected)

        with often():
            Crowd(forward, quantizer.drop_cache).run(1.0)


def test_the_caller_s_random_numbers_are_never_touched(flow):
    """Neither at the end, nor while a step runs."""

    def state():
        return torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()

    before, seen = state(), set()

    def progress(done, total, message):
        seen.add(message.split()[0])
        assert state() == before

    flow.check()
    flow.run("w2a8", progress=progress)
    flow.run("fp16", progress=progress)
    flow.recover("w2a8", ["adaround", "train"], progress=progress, adaround={"iterations": 5}, train={"epochs": 1})
    flow.sensitivity("w4a8", "evaluate", progress=progress)
    flow.search_mixed_precision("w4a8", progress=progress)
    flow.what_if("w4a8").change("head", "w8a8", "mse", progress=progress)
    flow.diagnose("w4a8", progress=progress)
    assert len(seen) > 5 and state() == before


def test_a_loader_that_shuffles_and_an_evaluation_that_draws_give_the_same_again(flow):
    first = flow["w4a8"]
    torch.randn(7)  # the caller draws in between
    again = flow.run("w4a8")
    equal(first.comparison, again.comparison)
    assert first.score == again.score and first.settings["data"] == again.settings["data"]


def test_a_pass_cannot_change_the_simulation_it_runs(flow):
    sim = flow["w8a8"].sim.copy()
    handle = sim.graph_module.register_forward_hook(lambda *_: sim.set_precision(None, "w4a8"))
    with pytest.raises(InputError, match="within one of its own forward passes"):
        sim(torch.randn(2, 1, 6, 6))
    handle.remove()
    sim(torch.randn(2, 1, 6, 6))


def test_a_snapshot_stays_as_it_was(flow):
    sim, x = flow["w8a8"].sim.copy(), torch.randn(2, 1, 6, 6)
    with torch.no_grad():
        before, snapshot = sim(x), sim.snapshot()
        sim.set_precision(None, "w2a8").disable("head")
        qnb.methods.adaround(sim, flow.calibration, iterations=3)
        assert torch.equal(snapshot(x), before) and not torch.equal(sim(x), before)


def test_steps_of_several_threads_are_refused_by_name(flow):
    started, go = threading.Event(), threading.Event()

    def wait(done, total, message):
        started.set()
        assert go.wait(30)

    thread = threading.Thread(target=lambda: flow.run("w7a8", progress=wait))
    thread.start()
    assert started.wait(30)
    with pytest.raises(QnbError, match="still runs"):
        flow.run("w8a16")
    go.set()
    thread.join()
    assert "w7a8" in flow
