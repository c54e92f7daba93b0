"""How far a step is: never complete while work goes on, time left per stage, what was known stays known."""

import pytest

from qnb.workflow.jobs.pace import Pace, Progress


@pytest.fixture
def now():
    return [100.0]


def after(pace, now, seconds, *report):
    now[0] += seconds
    return pace.report(*report)


def test_time_left_is_that_of_the_stage(now):
    pace = Pace(lambda: now[0])
    assert pace.progress == Progress() and str(pace.progress) == "starting"
    assert after(pace, now, 5, 0, 4, "calibrating w8a8").left == ""
    assert str(after(pace, now, 10, 1, 4, "calibrating w8a8")) == "calibrating w8a8: 25 %, 30 s left"
    assert str(after(pace, now, 10, 2, 4, "calibrating w8a8")) == "calibrating w8a8: 50 %, 20 s left"
    assert str(after(pace, now, 1, 0, 4, "comparing w8a8")) == "comparing w8a8: 0 %"


def test_a_stage_whose_first_report_came_after_the_first_piece(now):
    pace = Pace(lambda: now[0])
    assert after(pace, now, 60, 1, 5, "working").left == ""
    assert after(pace, now, 2, 2, 5, "working").seconds_left == 6.0


def test_it_is_never_complete_while_it_runs(now):
    pace = Pace(lambda: now[0])
    for done in range(9):
        progress = after(pace, now, 0.2, done, 8, "evaluating")
        assert "100 %" not in str(progress) and not str(progress).endswith(", 0 s left")
        assert progress.fraction < 1
    assert str(progress) == "evaluating: 99 %" and progress.seconds_left is None


def test_a_report_without_a_total_says_that_it_goes_on(now):
    pace = Pace(lambda: now[0])
    after(pace, now, 1, 0, 8, "measuring layers")
    known = after(pace, now, 1, 2, 8, "measuring layers")
    again = after(pace, now, 0, 0, None, "measuring layers")
    assert (again.done, again.total, again.seconds_left) == (2, 8, known.seconds_left)
    assert after(pace, now, 0, 3, None, "another").total is None


def test_a_stage_of_the_same_name_begins_anew(now):
    pace = Pace(lambda: now[0])
    after(pace, now, 1, 0, 8, "measuring layers")
    after(pace, now, 8, 8, 8, "measuring layers")
    assert after(pace, now, 1, 0, 8, "measuring layers").done == 0
    assert after(pace, now, 2, 1, 8, "measuring layers").seconds_left == 14.0


def test_what_nobody_knows_is_not_made_up(now):
    pace = Pace(lambda: now[0])
    progress = after(pace, now, 1, 12, None, "evaluating fp32")
    assert progress.fraction is None and str(progress) == "evaluating fp32: 12 done"
    assert Progress("evaluating", 9, 8).fraction is None, "more than was expected"


def test_stages_are_numbered_as_long_as_the_number_holds(now):
    pace = Pace(lambda: now[0], stages=2)
    assert [pace.report(0, 4, name).what for name in ("a", "a", "b", "c")] == ["a (1 of 2)"] * 2 + ["b (2 of 2)", "c"]
    assert Pace(stages=1).report(0, 4, "a").what == "a"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, ""),
        (0.4, ""),
        (0.99, ""),
        (1.4, "1 s left"),
        (59.6, "60 s left"),
        (119, "119 s left"),
        (120, "2 min left"),
        (3600, "60 min left"),
        (7300, "2 h left"),
    ],
)
def test_time_is_said_in_a_unit_that_can_be_read(seconds, said):
    assert Progress("x", 1, 2, seconds).left == said
