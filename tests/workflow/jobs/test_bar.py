"""When a step's progress is drawn, and that it is wiped exactly where something was drawn."""

import threading
import time

import pytest

from qnb.errors import Cancelled
from qnb.workflow.jobs import bar as bars
from qnb.workflow.jobs.bar import Bar


class Kept(Bar):
    """Keeps what it would have drawn."""

    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        self.drawn, self.wiped = [], 0

    def draw(self, progress):
        assert not self.closed
        self.drawn.append(str(progress))

    def wipe(self):
        self.wiped += 1


@pytest.fixture
def now():
    return [5.0]


@pytest.fixture
def bar(now):
    return Kept("flow.run('w8a8')", clock=lambda: now[0])


def test_short_steps_are_silent(bar, now):
    for done in range(5):
        now[0] += 0.19
        bar(done, 5, "calibrating")
    bar.close()
    assert bar.drawn == [] and bar.wiped == 0


def test_long_ones_are_drawn_at_most_ten_times_a_second_and_wiped(bar, now):
    for done in range(1000):
        now[0] += 0.01
        bar(done, 1000, "comparing")
    assert 80 <= len(bar.drawn) <= 91
    bar.close()
    assert bar.wiped == 1


def test_a_step_that_reports_nothing_is_shown_too(monkeypatch):
    monkeypatch.setattr(bars, "AFTER_S", 0.05)
    bar = Kept("flow.run('w8a8')").open()
    end = time.monotonic() + 10
    while not bar.drawn and time.monotonic() < end:
        time.sleep(0.01)
    bar.close()
    assert bar.drawn == ["starting"] and bar.wiped == 1


def test_nothing_is_drawn_after_the_end(monkeypatch):
    monkeypatch.setattr(bars, "AFTER_S", 0.02)
    bar = Kept("flow.run('w8a8')").open()
    bar.close()
    time.sleep(0.1)
    assert bar.drawn == [] and not any(isinstance(t, threading.Timer) and t.is_alive() for t in threading.enumerate())


@pytest.mark.parametrize("error", [BrokenPipeError(), ValueError("I/O operation on closed file")])
def test_a_step_goes_on_when_its_stream_has_gone(bar, now, monkeypatch, error):
    def broken(progress):
        raise error

    monkeypatch.setattr(bar, "draw", broken)
    now[0] += 2.0
    bar(1, 8, "calibrating")
    bar(2, 8, "calibrating")
    bar.close()
    assert bar.wiped == 0


def test_a_cancelled_one_stops_the_step_at_its_next_report(bar):
    bar(0, 5, "calibrating")
    bar.cancelled.set()
    with pytest.raises(Cancelled, match=r"flow.run\('w8a8'\): cancelled; nothing changed"):
        bar(1, 5, "calibrating")
