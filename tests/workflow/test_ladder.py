"""The six stages: what each says before, during and after."""

import math
from dataclasses import replace

import pytest

from qnb.measures.score import Drop
from qnb.workflow import ladder
from qnb.workflow.advice import LADDER
from qnb.workflow.verdict import Verdict
from tests.flows import deployment, new_flow


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


@pytest.fixture(scope="module")
def walked():
    """w8a8 is the smallest that does; nothing was deployed yet."""
    flow = new_flow()
    flow.run("w8a8")
    for name in LADDER:  # the ladder's names are all there; what they hold does not matter here
        state = "ok" if name == "w8a8" else "fail"
        flow.runs[name] = replace(flow["w8a8"], name=name, precision=name, verdict=Verdict(state, "so it is"))
    return flow


@pytest.mark.parametrize(
    ("found", "state", "says"),
    [
        ({}, "ok", "simulation agrees to 35 dB"),
        ({"db": math.inf, "runtime": "onnxruntime"}, "ok", "w8a8 on ONNX Runtime, CPU: metric 0.9759, simulation "
         "agrees bit for bit"),
        ({"drop": 0.5}, "fail", "metric 0.4759"),
        ({"drop": 0.5, "__drop": Drop(0.5, 0.0, 0.6, True, None)}, "undecided", "metric 0.4759"),
        ({"db": 12.0}, "undecided", "agrees to 12 dB"),
        ({"elsewhere": ("conv",)}, "undecided", "agrees to 35 dB"),
        ({"score": None, "__drop": None}, "undecided", "metric not evaluated there"),
        ({"fidelity": None, "state": "not installed"}, "undecided", "run nowhere (HTP v75 (sm8650, emulated): "),
    ],
    ids=["ok", "bit for bit", "metric fails", "metric undecided", "not foretold", "elsewhere", "no metric", "missing"],
)  # fmt: skip
def test_the_target_has_the_last_word(walked, found, state, says):
    changes = {k: v for k, v in found.items() if not k.startswith("__")}
    if "__drop" in found:
        made = deployment(walked, **changes)
        made = replace(made, runtimes=(replace(made.runtimes[0], drop=found["__drop"]),))
        walked.deployments["w8a8"] = made
    else:
        deployment(walked, **changes)
    stage = by_name(walked)["deploy"]
    assert (stage.state, stage.run) == (state, "w8a8") and says in stage.text and stage.size == "49 kB"
    (advice,) = [a for a in walked.next() if "Run it on" in a.what or "runtime makes" in a.what]
    assert advice.code == ('print(flow.deployments["w8a8"].commands)' if state == "ok" else
                           'flow.deploy_panel("w8a8")')  # fmt: skip


def test_the_last_advice_deploys_the_smallest(walked):
    walked.deployments.clear()
    advice = walked.next()[-1]
    assert advice.code == 'flow.deploy("w8a8", "deploy")' and advice.what == "Take w8a8 to the target"
    assert advice.deploy == {"name": "w8a8", "folder": "deploy"} and by_name(walked)["deploy"].state == "todo"


def test_another_run_on_the_target_is_not_the_smallest(walked):
    walked.deployments.clear()
    deployment(walked, "w8a16", db=70.0)
    stage = by_name(walked)["deploy"]
    assert stage.state == "undecided" and stage.run == "w8a16" and "w8a8 is the smallest" in stage.text
    assert walked.next()[-1].code == 'flow.deploy("w8a8", "deploy")'
    walked.deployments.clear()
