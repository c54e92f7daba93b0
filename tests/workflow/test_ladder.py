"""The six stages: what each says before, during and after."""

from dataclasses import replace

from qnb.workflow import ladder
from qnb.workflow.verdict import Verdict
from tests.flows import new_flow


def by_name(flow):
    return {s.stage: s for s in ladder.stages(flow)}


def test_before_anything_every_stage_asks_its_question(fresh):
    found = ladder.stages(fresh)
    assert [s.stage for s in found] == ["check", "fp16", "w16a16", "reduce", "restore", "deploy"]
    assert {s.state for s in found} == {"todo"} and all(s.text for s in found)


def test_reduce_is_the_smallest_that_is_within_tolerance(digits):
    found = by_name(digits)
    assert found["check"].state == "ok" and found["check"].text.startswith("22 layers with")
    assert found["reduce"].run == "w8a8" and found["reduce"].state == "ok" and "1 more run" in found["reduce"].text
    assert found["reduce"].metric and found["reduce"].drop and found["reduce"].size.endswith("kB")
    assert found["fp16"].state == "todo" and "take w8a8 there" in found["deploy"].text


def test_without_any_the_last_failure_stands_there():
    flow = new_flow()
    flow.run("w4a8")
    flow.runs["w4a8"] = replace(flow["w4a8"], verdict=Verdict("fail", "loses much"))
    assert by_name(flow)["reduce"].state == "fail" and "take" not in by_name(flow)["deploy"].text


def test_runs_with_layers_of_their_own_are_restored_accuracy():
    flow = new_flow()
    flow.run("w4a8", layers={"stem.conv": "w8a8"})
    flow.run("w8a8", methods={"stem.conv": "percentile"}, name="other ranges")
    assert {r.name: ladder.stage_of(r) for r in flow.runs.values()} == {
        "fp32": "", "w4a8+1": "restore", "other ranges": "restore"}  # fmt: skip
    assert ladder.row(flow["w4a8+1"])["stage"] == "restore"
