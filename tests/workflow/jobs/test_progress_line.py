"""Progress of a terminal and of a log: one line rewritten and wiped, or one line kept."""

import io
import os

import pytest

from qnb.workflow.jobs import progress_line
from qnb.workflow.jobs.progress_line import Line, Log


@pytest.fixture
def now():
    return [0.0]


def screen(text: str) -> str:
    """What a terminal shows of a line that is rewritten."""
    shown: list[str] = []
    at = 0
    for letter in text:
        if letter == "\r":
            at = 0
        else:
            shown[at : at + 1] = [letter]
            at += 1
    return "".join(shown).rstrip()


def test_a_terminal_shows_one_line_and_in_the_end_nothing(now):
    stream = io.StringIO()
    line = Line("flow.run('w8a8')", 3, stream, clock=lambda: now[0])
    for message in ("calibrating a_long_name", "comparing"):
        for done in range(11):
            now[0] += 0.5
            line(done, 20, message)
    assert "\n" not in stream.getvalue() and screen(stream.getvalue()) == "comparing (2 of 3): 50 %, 5 s left"
    line.close()
    assert screen(stream.getvalue()) == "" and stream.getvalue().endswith("\r")


def test_it_says_which_step_has_not_reported_yet(now):
    stream = io.StringIO()
    line = Line("flow.run('w8a8')", stream=stream, clock=lambda: now[0])
    now[0] = 2.0
    line.refresh()
    assert screen(stream.getvalue()) == "flow.run('w8a8'): starting"


def test_it_never_wraps(now, monkeypatch):
    monkeypatch.setattr(progress_line.shutil, "get_terminal_size", lambda *_, **__: os.terminal_size((30, 24)))
    stream = io.StringIO()
    line = Line("flow.run('w8a8')", stream=stream, clock=lambda: now[0])
    now[0] = 2.0
    line(1, 8, "calibrating_something_with_a_very_long_name")
    assert screen(stream.getvalue()) == "calibrating_something_with_a_"


def test_a_log_gets_one_line_for_a_long_step_and_none_for_a_short_one(now):
    stream = io.StringIO()
    for seconds in (0.01, 1.0):
        log = Log("flow.run('w8a8')", 3, stream, clock=lambda: now[0])
        for done in range(20):
            now[0] += seconds
            log(done, 20, "calibrating")
        log.close()
    assert stream.getvalue() == "flow.run('w8a8') ...\n"
