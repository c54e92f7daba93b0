"""Jobs: progress, cancel, wait, await; one at a time; nothing is changed by one that fails."""

import asyncio
import threading
import time

import pytest
import torch

from qnb.errors import Cancelled, InputError, PrecisionError
from qnb.workflow.jobs.job import Job


def steps(report, count=50, pause_s=0.02, seen=None):
    for i in range(count):
        time.sleep(pause_s)
        if seen is not None:
            seen.append(i)
        report(i + 1, count, "working")
    return "value"


def test_it_gives_what_the_work_returns():
    assert Job("work", lambda report: steps(report, 3)).start().wait(10) == "value"


def test_cancel_is_answered_between_two_pieces():
    seen = []
    job = Job("work", lambda report: steps(report, 500, seen=seen)).start()
    time.sleep(0.1)
    since = time.monotonic()
    job.cancel()
    with pytest.raises(Cancelled, match="nothing changed"):
        job.wait(10)
    assert time.monotonic() - since < 0.5 and job.status == "cancelled" and len(seen) < 100


def test_what_it_raises_comes_out():
    def work(report):
        raise InputError("work", "nonsense", "fix it")

    job = Job("work", work).start()
    with pytest.raises(InputError, match="nonsense"):
        job.wait(10)
    assert job.status == "failed"


def test_waiting_ends_and_the_job_goes_on():
    job = Job("work", lambda report: steps(report, 20)).start()
    with pytest.raises(TimeoutError, match="still runs"):
        job.wait(0.01)
    assert job.wait(10) == "value"


def test_it_can_be_awaited_while_others_work():
    async def both():
        ticks = 0

        async def other():
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.01)

        beside = asyncio.ensure_future(other())
        value = await Job("work", lambda report: steps(report, 10)).start()
        beside.cancel()
        return value, ticks

    value, ticks = asyncio.run(both())
    assert value == "value" and ticks > 5


def test_cancelling_what_awaits_it_cancels_it():
    async def interrupted():
        job = Job("work", lambda report: steps(report, 500)).start()
        waiting = asyncio.ensure_future(job._poll())
        await asyncio.sleep(0.1)
        waiting.cancel()
        with pytest.raises(Cancelled):
            await waiting
        return job

    assert asyncio.run(interrupted()).status == "cancelled"


def test_reports_come_at_most_ten_times_a_second_and_know_what_is_left():
    texts = []
    job = Job("work", lambda report: steps(report, 60, 0.005))
    job.reported.connect(lambda job: texts.append(str(job.progress)))
    job.start().wait(30)
    assert 2 <= len(texts) <= 50 and texts[-1] == "working: 99 %", "not complete: the job may do more"


def test_what_it_does_says_how_long_that_takes():
    job = Job("work", lambda report: steps(report, 3, 0.6))
    left = []
    job.reported.connect(lambda job: left.append(job.progress.seconds_left))
    job.start().wait(30)
    assert left[0] is None and left[1] == pytest.approx(0.6, abs=0.5) and left[2] is None


def test_it_says_at_once_that_it_cancels():
    reported, held = threading.Event(), threading.Event()

    def work(report):
        report(1, 3, "working")
        reported.set()
        held.wait(20)
        report(2, 3, "working")

    said = []
    job = Job("work", work)
    job.reported.connect(lambda job: said.append(str(job.progress)))
    job.start()
    assert reported.wait(20)
    job.cancel()
    job.cancel()
    assert said[-1] == "cancelling ..." and said.count("cancelling ...") == 1 and job.running and job.cancelling
    held.set()
    with pytest.raises(Cancelled):
        job.wait(20)
    assert said[-1] == "cancelling ..." and not job.running
    job.cancel()
    assert said.count("cancelling ...") == 1, "there is nothing left to cancel"


def test_a_submitted_step_is_the_step(fresh):
    run = fresh.submit(fresh.run, "w8a8").wait(60)
    assert fresh["w8a8"] is run and fresh.job.status == "done" and "fp32" in fresh


def test_one_at_a_time(fresh):
    held = threading.Event()
    fresh.jobs.start("something long", lambda report: held.wait(20))
    for action in (lambda: fresh.submit(fresh.run, "w8a8"), lambda: fresh.jobs.start("another", print)):
        with pytest.raises(InputError, match="something long still runs"):
            action()
    held.set()
    fresh.job.wait(20)
    with fresh.jobs.alone("a step"), pytest.raises(InputError, match="another step still runs"):
        fresh.run("w8a8")


def test_a_wrong_precision_is_an_error_before_any_work(fresh):
    with pytest.raises(PrecisionError):
        fresh.submit(fresh.run, "w99a1")
    with pytest.raises(InputError, match="calibration method"):
        fresh.submit(fresh.run, "w8a8", calibration_method={"stem.conv": "guess"})
    assert fresh.job is None


def test_a_cancelled_step_leaves_the_workflow_as_it_was(fresh):
    fresh.run("w8a8")
    before = dict(fresh.runs)
    job = fresh.submit(fresh.run, "w4a8")
    job.cancel()
    with pytest.raises(Cancelled):
        job.wait(60)
    assert fresh.runs == before
    assert fresh.run("w4a8").verdict is not None, "and it can be run again"


def test_the_caller_s_later_threads_keep_their_number_of_cores():
    """torch hands the last number that any thread set to every new thread."""
    seen, before = [], torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        job = Job("work", lambda report: steps(report, 3))
        job._threads = 1  # as on a machine of two cores
        job.start().wait(10)
        thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        thread.start()
        thread.join()
    finally:
        torch.set_num_threads(before)
    assert seen == [2]
