"""A panel's line for the workflow's job: it says at once that it cancels, and is never full while work goes on."""

import threading

import pytest

from qnb.panels.jobs import JobLine


@pytest.fixture
def held():
    """A job waits for it between two reports."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def job(fresh, held):
    reported = threading.Event()

    def work(report):
        report(7, 8, "comparing w8a8")
        report(8, 8, "comparing w8a8")
        reported.set()
        held.wait(20)
        report(8, 8, "comparing w8a8")

    started = fresh.jobs.start("flow.run('w8a8')", work)
    assert reported.wait(20)
    return started


def test_cancel_says_so_at_once_in_every_panel(fresh, job, held):
    one, other = JobLine(fresh), JobLine(fresh)
    for line in (one, other):
        line.draw()
    one.cancel.click()
    for line in (one, other):
        assert "cancelling ..." in line.text.value and line.cancel.disabled and job.running
        assert line.widget.layout.display == "flex" and line.cancel.layout.display is None
    late = JobLine(fresh)
    late.draw()
    assert late.cancel.disabled
    held.set()
    job._thread.join(20)
    one.draw()
    assert "cancelled; nothing changed" in one.text.value and one.cancel.layout.display == "none"


def test_the_bar_is_not_full_while_it_runs(fresh, job, held):
    line = JobLine(fresh)
    line.draw()
    line._report(job)
    assert job.running and 0.9 < line.bar.value < 1.0
    assert "comparing w8a8: 99 %" in line.text.value and "0 s left" not in line.text.value
