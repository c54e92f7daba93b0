"""Where a workflow stands, beside a step that is open: the baseline, FP16, proposals, files, the end of the road."""

import ast

import pytest

from qnb.columns import CONTROL
from qnb.workflow.precisions import LADDER
from tests.workflow.drawn import SIXTEEN, TRICKY
from tests.workflow.next_steps_table import auto, passing
from tests.workflow.stubs import deployed, stub_flow, stub_run


def first(*runs, **more):
    return stub_flow(*runs, **more).next_steps()[0]


def test_a_control_says_which_of_its_tests_failed():
    output = first(stub_run(CONTROL, "fail", db=31.0))
    assert "below 40 dB the placement or the model is at fault" in output.reason and "31.0 dB" in output.reason
    assert output.code == 'flow.layer("w16a16", "head")'
    metric = first(stub_run(CONTROL, "fail", db=73.7))
    assert metric.title == output.title == "Fix the W16A16 baseline first"
    assert "73.7 dB" in metric.reason and "0.2 where 0.01 is allowed" in metric.reason
    assert "evaluation sees values that calibration did not" in metric.reason
    assert "at fault" not in metric.reason and not metric.code


@pytest.mark.parametrize("db", [31.0, 73.7])
def test_a_control_whose_ranges_may_be_cut_is_calibrated_by_minmax_first(db):
    flow = stub_flow(stub_run(CONTROL, "fail", db=db, calibration_method="percentile"))
    said = flow.next_steps()
    assert (
        said[0].run == {"precision": CONTROL, "name": "w16a16 minmax", "calibration_method": "minmax"}
        and len(said) == 2
    )
    flow.runs = flow.runs | {"w16a16 minmax": stub_run("w16a16 minmax", "pass", CONTROL)}
    assert flow.next_steps()[0].run == {"precision": "w8a16"}, "one control that agrees is enough"


def test_fp16_that_is_enough_ends_the_road_unless_one_wants_less():
    flow = stub_flow(*passing("fp16"))
    measure, less = flow.next_steps()
    assert measure.title == "Measure FP16 latency" and measure.deploy == {"run": "fp16", "folder": "deploy"}
    assert less.run == {"precision": CONTROL}
    deployed(flow, "fp16")
    measure, less = flow.next_steps()
    assert measure.code == 'print(flow.deployments["fp16"].commands)' and less.run == {"precision": CONTROL}
    flow.runs = flow.runs | {CONTROL: stub_run(CONTROL, "pass")}
    assert flow.next_steps()[0].run == {"precision": "w8a16"}


def test_where_the_target_runs_nothing_lower_the_baseline_is_shipped():
    flow = stub_flow(*passing(CONTROL), target=SIXTEEN)
    (deploy,) = flow.next_steps()
    assert deploy.deploy == {"run": CONTROL, "folder": "deploy"}
    (last,) = deployed(flow, CONTROL).next_steps()
    assert last.title == "Done here: compare the runs"


def test_the_road_ends_on_the_device():
    flow = stub_flow(*passing(*LADDER))
    (last,) = flow.next_steps()
    assert last.deploy == {"run": "w4a8", "folder": "deploy"} and "Nothing is left on the ladder" in last.reason
    (last,) = deployed(flow, "w4a8").next_steps()
    assert last.title == "Done here: run W4A8 on the device" and "Nothing is left" in last.reason
    assert last.code == 'print(flow.deployments["w4a8"].commands)'
    (last,) = deployed(flow, "w4a8", "differs").next_steps()
    assert last.title == "Look at what the runtime makes of W4A8" and last.code == 'flow.deploy_panel("w4a8")'
    (last,) = deployed(flow, "w4a8", "nowhere").next_steps()
    assert last.title == "Get a runtime for W4A8" and "not installed" in last.reason


def test_a_deployment_that_fails_is_settled_first():
    flow = deployed(stub_flow(*passing("fp16", CONTROL, "w8a16", "w8a8")), "w8a8", "disagrees")
    look, instead, wider = flow.next_steps()
    assert look.title == "Do not ship W8A8" and "disagrees with the simulation (-36.0 dB, 22 expected)" in look.reason
    assert instead.deploy == {"run": "w8a16", "folder": "deploy"} and instead.title == "Deploy W8A16 instead"
    assert wider.run == {"precision": "w8a8", "layers": {"head": "w8a16"}}, "and no W4A8, which would disagree too"
    deployed(flow, "w8a16", "refused")
    assert [a.deploy["run"] for a in flow.next_steps() if a.deploy] == ["fp16"], "nor what fails as well"
    deployed(flow, "w8a16")
    assert flow.next_steps()[1].code == 'print(flow.deployments["w8a16"].commands)'
    flow.runs = flow.runs | {"w8a8+1": stub_run("w8a8+1", "pass", "w8a8", layers={"head": "w8a16"}, size=2_000_000)}
    assert not any(a.run for a in flow.next_steps()), "it is there already"


def test_a_baseline_that_fails_on_the_target_is_no_end():
    flow = deployed(stub_flow(*passing(CONTROL), target=SIXTEEN), CONTROL, "disagrees")
    assert [a.title for a in flow.next_steps()] == ["Do not ship W16A16"]


def test_a_proposal_waits_for_its_answer():
    flow = stub_flow(*passing("w16a16", "w8a8"), stub_run("w4a8", "fail"))
    flow.proposal = auto("w4a8", "pass")
    assert [a.code for a in flow.next_steps()] == ["flow.keep()", "flow.discard()"]
    flow.proposal = auto("w4a8", "fail", drop=(0.3, 0.2, 0.4))
    assert [a.code for a in flow.next_steps()] == ["flow.discard()"]
    kept = flow.proposal
    flow.runs = flow.runs | {kept.name: kept}
    assert flow.next_steps()[0].deploy, "kept: what comes next is that of the run"


def test_a_workflow_from_a_file_says_the_same():
    runs = passing("fp16", CONTROL)
    assert stub_flow(*runs, model=False).next_steps() == stub_flow(*runs).next_steps()


@pytest.mark.parametrize("name", TRICKY)
def test_names_of_any_kind_are_literals(name):
    flow = stub_flow(*passing(CONTROL, "w8a8"), stub_run(name, "fail", "w4a8"))
    assert ast.literal_eval(ast.parse(flow.next_steps()[0].code).body[0].value.args[0]) == name


def test_a_ladder_step_does_not_replace_a_run_of_that_name():
    flow = stub_flow(*passing(CONTROL), stub_run("w8a16", "pass", "w12a16"))
    assert flow.next_steps()[0].code == 'flow.run("w8a16", name="w8a16 2")'
