"""The six stages: what each says before, during and after."""

import math
from dataclasses import replace

import pytest

from qnb.columns import CONTROL
from qnb.measures.metrics.score import Drop
from qnb.workflow.guidance import stages
from qnb.workflow.precisions import LADDER
from qnb.workflow.verdict import Verdict
from tests.flows import deployment, new_flow
from tests.workflow.stubs import stub_flow, stub_run


def by_name(flow):
    return {s.stage: s for s in stages.stages(flow)}


def test_before_anything_every_stage_asks_its_question(fresh):
    found = stages.stages(fresh)
    assert [s.stage for s in found] == ["check", "fp16", "w16a16", "reduce", "restore", "deploy"]
    assert {s.status for s in found} == {"todo"} and all(s.text for s in found)


def test_reduce_is_the_smallest_that_is_within_tolerance(digits):
    found = by_name(digits)
    assert found["check"].status == "pass" and found["check"].text.startswith("22 layers with")
    assert found["reduce"].run == "w8a8" and found["reduce"].status == "pass" and "1 more run" in found["reduce"].text
    assert found["reduce"].metric and found["reduce"].drop and found["reduce"].size.endswith("kB")
    assert found["fp16"].status == "todo" and "deploy w8a8, " in found["deploy"].text


def test_without_any_the_last_failure_stands_there():
    flow = new_flow()
    flow.run("w4a8")
    flow.runs["w4a8"] = replace(flow["w4a8"], verdict=Verdict("fail", "loses much"))
    assert by_name(flow)["reduce"].status == "fail" and "take" not in by_name(flow)["deploy"].text


def test_runs_with_layers_of_their_own_are_restored_accuracy():
    flow = new_flow()
    flow.run("w4a8", layers={"stem.conv": "w8a8"})
    flow.run("w8a8", calibration_method={"stem.conv": "percentile"}, name="other ranges")
    assert {r.name: stages.stage_of(r) for r in flow.runs.values()} == {
        "fp32": "",
        "w4a8+1": "restore",
        "other ranges": "restore",
    }
    assert stages.row(flow["w4a8+1"])["stage"] == "restore"


@pytest.fixture(scope="module")
def walked():
    """w8a8 is the smallest that passes, and the last; nothing was deployed yet."""
    flow = new_flow()
    flow.run("w8a8")
    for name in LADDER[:-1]:  # what they hold does not matter here
        state = "pass" if name in ("w16a16", "w8a8") else "fail"
        run = replace(flow["w8a8"], name=name, precision=name, verdict=Verdict(state, "so it is"))
        flow.runs = flow.runs | {name: run}
    flow.target = replace(flow.target, precisions=LADDER[:-1], accepts_any_precision=False)
    return flow


@pytest.mark.parametrize(
    ("found", "state", "says"),
    [
        ({}, "pass", "simulation agrees to 35 dB"),
        (
            {"db": math.inf, "runtime": "onnxruntime"},
            "pass",
            "w8a8 on ONNX Runtime, CPU: metric 0.9759, simulation agrees (lossless)",
        ),
        ({"drop": 0.5}, "fail", "metric 0.4759"),
        ({"drop": 0.5, "__drop": Drop(0.5, 0.0, 0.6, True, None)}, "unclear", "metric 0.4759"),
        (
            {"db": 12.0},
            "fail",
            "w8a8 not deployed: on HTP v75 output 'output' disagrees with the simulation (12.0 dB, "
            "22 expected); it begins at layer 'stem.conv' (conv2d: 12.0 dB, its input is the same)",
        ),
        ({"fallback_nodes": ("conv",)}, "unclear", "agrees to 35 dB"),
        ({"score": None, "__drop": None}, "unclear", "metric not evaluated there"),
        (
            {"fidelity": None, "status": "not installed"},
            "unclear",
            "not run on any runtime (HTP v75 (sm8650, emulated): not installed)",
        ),
        (
            {"fidelity": None, "status": "refused", "score": None, "__drop": None},
            "fail",
            "w8a8 not deployed: HTP v75 refuses its file",
        ),
    ],
    ids=[
        "pass",
        "lossless",
        "metric fails",
        "metric unclear",
        "disagrees",
        "fallback_nodes",
        "no metric",
        "missing",
        "refused",
    ],
)
def test_the_target_has_the_last_word(walked, found, state, says):
    changes = {k: v for k, v in found.items() if not k.startswith("__")}
    if "__drop" in found:
        made = deployment(walked, **changes)
        made = replace(made, runtimes=(replace(made.runtimes[0], drop=found["__drop"]),))
        walked.deployments["w8a8"] = made
    else:
        deployment(walked, **changes)
    stage = by_name(walked)["deploy"]
    assert (stage.status, stage.run) == (state, "w8a8") and says in stage.text and stage.size == "49 kB"
    advice = walked.next_steps()[0]
    if state == "pass":
        assert advice.title == "Done here: run W8A8 on the device"
        assert advice.code == 'print(flow.deployments["w8a8"].commands)'
    else:
        failed = "not deployed" in says
        assert advice.title in (
            ("Do not ship W8A8",) if failed else ("Look at what the runtime makes of W8A8", "Get a runtime for W8A8")
        )
        assert advice.code == 'flow.deploy_panel("w8a8")' and says in advice.reason


def test_the_last_advice_deploys_the_smallest(walked):
    walked.deployments.clear()
    advice = walked.next_steps()[-1]
    assert advice.code == 'flow.deploy("w8a8", "deploy")' and advice.title == "Deploy W8A8"
    assert advice.deploy == {"run": "w8a8", "folder": "deploy"} and by_name(walked)["deploy"].status == "todo"


def test_another_run_on_the_target_is_not_the_smallest(walked):
    walked.deployments.clear()
    deployment(walked, "w8a16", db=70.0)
    stage = by_name(walked)["deploy"]
    assert stage.status == "unclear" and stage.run == "w8a16" and "w8a8 is the smallest" in stage.text
    assert walked.next_steps()[-1].code == 'flow.deploy("w8a8", "deploy")'
    walked.deployments.clear()


def test_of_equal_size_the_fewest_bit_operations_then_the_smallest_drop_then_the_first():
    a = stub_run("a", "pass", "w8a16", size=100, drop=(0.001, 0, 0.002))
    b = stub_run("b", "pass", "w8a8", size=100, drop=(0.005, 0, 0.008))
    c, d = replace(b, name="c", drop=Drop(0.003, 0, 0.008, True, 0.1)), replace(b, name="d")
    for runs, best in (((a, b), "b"), ((b, c), "c"), ((c, b), "c"), ((b, d), "b"), ((d, b), "d")):
        assert shipped(*runs) == {best}


def test_the_control_is_no_candidate():
    control, half = stub_run(CONTROL, "pass", size=10), stub_run("fp16", "pass", size=100)
    assert shipped(control, half) == {"fp16"} and stages.best(stub_flow(control)) is None
    mix = stub_run("mix", "pass", CONTROL, size=90, layers={"head": "w8a16"})
    assert shipped(control, mix, half) == {"fp16"} and shipped(control, replace(mix, size_bytes=9)) == {"mix"}


def shipped(*runs) -> set[str]:
    """Who is said to be best: by chart, advice, ladder, panel and report."""
    from qnb.workflow.documents import workflow as documents

    flow = stub_flow(*runs)
    title = flow.chart().layout.title.text
    deploy = next(a.deploy["run"] for a in flow.next_steps() if a.deploy)
    stage = next(s for s in stages.stages(flow) if s.stage == "deploy").text
    report = next(a["code"] for a in documents.panel(flow).next if "deploy" in a["code"])
    panel = flow.deploy_panel()
    panel.close()
    return {
        title.split(": ")[1].split(",")[0],
        deploy,
        stage.split("deploy ")[1].split(",")[0],
        report.split('"')[1],
        panel.name,
        stages.best(flow).name,
    }
