"""The line of progress: nothing for short steps, time left for long ones, nothing left behind."""

import io

from qnb.workflow.progress import Line


def line(monkeypatch, off=False):
    monkeypatch.setenv("QNB_PROGRESS", "off" if off else "")
    now = [0.0]
    stream = io.StringIO()
    return Line(stream, lambda: now[0]), stream, now


def test_short_steps_are_silent(monkeypatch):
    progress, stream, now = line(monkeypatch)
    for done in range(5):
        now[0] += 0.1
        progress(done, 5, "calibrating")
    progress.close()
    assert stream.getvalue() == ""


def test_long_steps_say_what_is_left_and_wipe_it(monkeypatch):
    progress, stream, now = line(monkeypatch)
    for done in range(1, 11):
        now[0] += 0.5
        progress(done, 40, "calibrating")
    text = stream.getvalue()
    assert "calibrating: 10 of 40, 15 s left" in text
    progress.close()
    assert stream.getvalue().rsplit("\r", 2)[1].strip() == "" and stream.getvalue().endswith("\r")


def test_not_more_than_ten_lines_a_second(monkeypatch):
    progress, stream, now = line(monkeypatch)
    for done in range(1000):
        now[0] += 0.01
        progress(done, 1000, "comparing")
    assert stream.getvalue().count("\r") <= 91


def test_it_can_be_switched_off(monkeypatch):
    progress, stream, now = line(monkeypatch, off=True)
    now[0] = 10.0
    progress(1, 2, "x")
    assert stream.getvalue() == ""
