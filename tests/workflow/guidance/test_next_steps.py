"""What is proposed next: in every combination of verdicts, with recoveries, deployments and all else there can be."""

import itertools
import random
import string
from copy import copy
from dataclasses import replace

import pytest

from qnb.columns import CONTROL
from qnb.workflow.guidance import next_steps
from qnb.workflow.precisions import LADDER
from qnb.workflow.verdict import FAIL, PASS, UNCLEAR
from tests.flows import new_flow
from tests.workflow.drawn import SIXTEEN, drawn_flow
from tests.workflow.invariants import below, check, unsettled
from tests.workflow.next_steps_table import PAGE, SITUATIONS, auto, page, passing
from tests.workflow.stubs import STATES, deployed, stub_flow, stub_run

VERDICTS = ("missing", *STATES)
COMBINATIONS = [dict(zip(LADDER, states, strict=True)) for states in itertools.product(VERDICTS, repeat=5)]


def flow_of(states):
    return stub_flow(*(stub_run(name, state) for name, state in states.items() if state != "missing"))


@pytest.mark.parametrize("first", VERDICTS)
def test_every_combination_of_verdicts(first):
    """256 of 1,024 each."""
    for states in (c for c in COMBINATIONS if c["fp16"] == first):
        flow = flow_of(states)
        expect_first(flow, states, check(flow))


def test_the_order_in_which_steps_were_run_does_not_matter():
    for states in COMBINATIONS[::7]:
        there, back = flow_of(states), flow_of(dict(reversed(states.items())))
        assert [a.code for a in there.next_steps()] == [a.code for a in back.next_steps()]


def expect_first(flow, states, said):
    """The first advice of a walked ladder, by cases."""
    done = {name: state for name, state in states.items() if state != "missing"}
    integers = {name: state for name, state in done.items() if name != "fp16"}
    if done and set(done.values()) == {PASS}:
        lowest = [n for n in LADDER if n in done][-1]
        following = LADDER[LADDER.index(lowest) + 1 :]
        if done.keys() == {"fp16"}:
            assert said[0].title == "Measure FP16 latency" and said[1].run == {"precision": CONTROL}
        elif following:
            assert said[0].run == {"precision": following[0]}
        else:
            assert said[0].deploy["run"] == lowest
    step = unsettled(flow)
    if step and states.get(CONTROL) != FAIL:
        text = f"{said[0].title}. {said[0].reason}"
        assert step.upper() in text, "it speaks of the step that is to be settled"
        if done[step] == UNCLEAR:
            assert said[0].title == "Evaluate about 2,100 samples"
        elif integers:
            assert said[0].recover or (said[0].run and below(step, said[0].run["precision"]))


@pytest.mark.parametrize("seed", range(4))
def test_whatever_was_done(seed):
    draw = random.Random(seed)
    for _ in range(250):
        flow = drawn_flow(draw)
        before = dict(vars(flow))
        check(flow)
        assert all(vars(flow)[key] is value for key, value in before.items()), "to ask changes nothing"


def rows(flow) -> list[int]:
    """The rows of the table that hold; every fact is one that it knows."""
    found = next_steps.standing.read(flow)
    assert all(value in next_steps.FACTS[name] for name, value in found.facts.items())
    return [index for index, row in enumerate(next_steps.ROWS) if row.holds(found.facts)]


def test_no_row_is_dead():
    draw, control = random.Random(9), stub_flow(*passing(CONTROL), target=SIXTEEN)
    lost = stub_flow(stub_run("w8a16", "fail"), auto("w8a16", "fail"))
    flows = [lost, control, deployed(copy(control), CONTROL), *(flow() for flow in SITUATIONS.values())]
    reached = {row for flow in (*flows, *(drawn_flow(draw) for _ in range(600))) for row in rows(flow)}
    assert [row.title for index, row in enumerate(next_steps.ROWS) if index not in reached] == []


@pytest.mark.parametrize("row", next_steps.ROWS, ids=lambda row: row.title[:30])
def test_a_row_asks_for_facts_that_there_are(row):
    for name, asked in row.when.items():
        for value in (asked,) if isinstance(asked, str) else asked:
            assert value in next_steps.FACTS[name]
    assert sum(map(bool, (row.run, row.recover, row.deploy, row.code))) <= 1
    assert "flow" in {field for _, field, _, _ in string.Formatter().parse(row.code)} or not row.code


def test_the_page_shows_what_is_said():
    text = PAGE.read_text(encoding="utf-8")
    assert text == page(text), "write it anew: python -m tests.workflow.next_steps_table"
    assert len(SITUATIONS) >= 20


# On a real model: what is said first, done until nothing is left


@pytest.mark.slow
def test_following_the_first_advice_leads_to_the_device(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flow, done = new_flow(tolerance=0.02, target="generic"), []
    while len(done) < 12 and not (said := flow.next_steps()[0]).title.startswith("Done"):
        exec(said.code, {"flow": flow})
        done.append(said.title)
        if done[-1] == "Measure FP16 latency":
            flow.run(CONTROL)  # the person wants less
    assert done == [
        "Check the model",
        "Run FP16",
        "Measure FP16 latency",
        "Run W8A16",
        "Run W8A8",
        "Run W4A8",
        "Recover W4A8",
        "Deploy w4a8+auto",
    ]
    assert said.title == "Done here: run w4a8+auto on the device" and "qairt" in eval(said.code[6:-1], {"flow": flow})


def test_the_code_of_what_is_said_runs_on_a_real_model():
    """Where recovery failed, the baseline fails, FP16 overflows: all code but recoveries, whose tests are elsewhere."""
    flow = new_flow()
    for name in ("fp16", "w8a8", "w4a8"):
        flow.run(name)

    def advice(what, **changed):
        """The advice, once runs have become these."""
        flow.runs = flow.runs | changed
        return next(a for a in flow.next_steps() if a.title == what)

    lost, half, fail = flow["w4a8"], flow["fp16"], flow["w4a8"].verdict
    tried = replace(lost, name="w4a8+auto", attempts=stub_run("w4a8+auto", "fail", "w4a8", auto=True).attempts)
    more = advice("Give the weakest layer more bits", **{tried.name: tried})
    assert eval(more.code, {"flow": flow}).settings["layers"] == more.run["layers"] == {"stem.conv": "w8a16"}
    assert repr(eval(advice("Find the causes").code, {"flow": flow}))
    control = replace(lost, name=CONTROL, precision=CONTROL, output_sqnr_db=20.0)
    assert "SQNR" in repr(eval(advice("Fix the W16A16 baseline first", w16a16=control).code, {"flow": flow}))
    table = half.float16.assign(overflow_fraction=[0.1] + [0.0] * (len(half.float16) - 1))
    flow.runs = {"fp32": flow["fp32"], "fp16": replace(half, verdict=fail, drop=lost.drop, float16=table)}
    assert repr(eval(advice("Look at the layer that FP16 harms most").code, {"flow": flow}))
    keep = advice("Keep FP16 out of the layers that overflow")
    assert eval(keep.code, {"flow": flow}).settings["layers"] == {table.layer.iloc[0]: "fp32"}
