"""One way to show the progress of any step: what suits the place, closed whatever happens, never in a job's thread."""

import io
import subprocess
import sys
import threading

import pytest

from qnb.errors import Cancelled, InputError
from qnb.workflow.jobs import progress, progress_cell
from qnb.workflow.jobs.progress import shown
from qnb.workflow.jobs.progress_cell import CellBar
from qnb.workflow.jobs.progress_line import Line, Log
from tests.browser.lab import ROOT

RUN = "flow.run('w8a8')"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def opened(monkeypatch):
    """Bars that were opened and closed."""
    made = []

    class Kept(Log):
        def __init__(self, *args):
            super().__init__(*args)
            made.append(self)

    monkeypatch.setattr(progress, "_form", lambda: Kept)
    return made


@pytest.mark.parametrize("error", [None, InputError("x", "y", "z"), Cancelled("x"), KeyboardInterrupt(), SystemExit()])
def test_it_is_closed_however_the_step_ends(opened, error):
    try:
        with shown(RUN) as report:
            report(1, 2, "calibrating")
            assert not opened[0].closed
            if error is not None:
                raise error
    except BaseException as raised:
        assert raised is error or isinstance(error, KeyboardInterrupt)
    assert opened[0].closed and not progress._open


def test_an_interrupt_is_a_cancel(opened):
    with pytest.raises(Cancelled, match=r"flow.run\('w8a8'\): interrupted"), shown(RUN):
        raise KeyboardInterrupt


def test_who_watches_is_told_and_no_bar_is_opened(opened):
    told = []
    with shown(RUN, lambda *report: told.append(report)) as report:
        report(1, 2, "calibrating")
    assert told == [(1, 2, "calibrating")] and not opened


def test_a_step_within_a_step_reports_to_its_bar(opened):
    with shown("flow.recover('w8a8')") as outer:
        with shown(RUN) as inner:
            assert inner is outer
        assert not opened[0].closed
    assert len(opened) == 1


def test_other_threads_have_no_bar(opened):
    def work():
        with shown(RUN) as report:
            report(1, 2, "calibrating")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not opened


def asked(**request):
    return lambda: {"content": {}, "metadata": {}, **request}


@pytest.mark.parametrize(
    ("request_", "stream", "switch", "form"),
    [
        (lambda: None, Terminal(), "", Line),
        (lambda: None, io.StringIO(), "", Log),
        (lambda: None, Terminal(), "off", None),
        (lambda: None, None, "", None),
        (asked(metadata={"cellId": "a1"}, content={"allow_stdin": True}), io.StringIO(), "", CellBar),
        (asked(metadata={"cellId": "a1"}), io.StringIO(), "off", None),
        (asked(content={"allow_stdin": True}), io.StringIO(), "", Line),
        (asked(content={"allow_stdin": False}), io.StringIO(), "", None),
    ],
    ids=["terminal", "log", "off", "no output", "cell", "cell, off", "console", "nbconvert"],
)
def test_the_form_suits_the_place(monkeypatch, request_, stream, switch, form):
    monkeypatch.setattr(progress_cell, "request", request_)
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("QNB_PROGRESS", switch)
    assert progress._form() is form


STEPS = """
import sys, torch, qnb
from qnb.workflow.jobs import bar
batches = [torch.randn(4, 4) for _ in range(2)]
flow = qnb.Workflow(torch.nn.Linear(4, 4).eval(), batches, lambda model: float(model(batches[0]).mean()))
for bar.AFTER_S, precision in ((3600, "w8a8"), (0, "w4a8"), (3600, "w8a16"), (0, "w16a16")):
    print(flow.run(precision).name)
bar.AFTER_S = 0  # from now on, each step is a long one
flow.layer("w4a8", flow["w4a8"].comparison.layer[0])
flow.what_if("w4a8").change("*", "w8a8")
flow.recover("w4a8", "correct_bias")
flow.sensitivity("w4a8")
flow.search_mixed_precision("w8a8", candidates=["w8a8", "w4a8"])
flow.measure("w4a8", repeats=3)
flow.deploy("w4a8", sys.argv[1], runtimes="onnxruntime")
"""
SAID = """flow.run('w4a8') ...
flow.run('w16a16') ...
reading the layers of w4a8 ...
flow.what_if('w4a8').change ...
flow.recover('w4a8', 'correct_bias') ...
flow.sensitivity('w4a8') ...
flow.search_mixed_precision('w8a8') ...
flow.measure() ...
flow.deploy('w4a8') ...
"""


@pytest.mark.slow
def test_a_pipe_gets_a_line_for_each_long_step_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.delenv("QNB_PROGRESS", raising=False)
    command = [sys.executable, "-c", STEPS, str(tmp_path)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert (ran.returncode, ran.stderr, ran.stdout) == (0, SAID, "w8a8\nw4a8\nw8a16\nw16a16\n")


def test_each_stage_says_that_it_has_begun(fresh):
    told, seen = [], []
    evaluate = fresh.evaluate

    def slow(model):
        seen.append(told[-1])
        return evaluate(model)

    fresh.evaluate = slow
    fresh.run("w8a8", progress=lambda *report: told.append(report))
    assert [(done, message) for done, _, message in seen] == [(0, "evaluating fp32"), (0, "evaluating w8a8")]
    stages = list(dict.fromkeys(message for *_, message in told))
    assert stages == ["evaluating fp32", "calibrating w8a8", "comparing w8a8", "evaluating w8a8"]
