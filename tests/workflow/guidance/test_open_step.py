"""A step that fails or is unclear: what settles it, one situation after the other."""

import pytest

from qnb.columns import CONTROL
from qnb.workflow.verdict import FAIL, PASS
from tests.workflow.next_steps_table import auto, passing
from tests.workflow.stubs import CLOSE, NO_N, SEPARATE, stub_flow, stub_run


def first(*runs, **more):
    return stub_flow(*runs, **more).next_steps()[0]


def test_an_undecided_step_says_how_many_samples_decide_it_and_nothing_lower_is_proposed():
    flow = stub_flow(*passing("fp16", CONTROL), stub_run("w8a16", "unclear"), stub_run("w8a8", "fail"))
    said = flow.next_steps()
    assert said[0].title == "Evaluate about 2,100 samples" and not said[0].code
    assert "-0.008 to 0.016" in said[0].reason and "500 samples" in said[0].reason
    assert said[1].recover == {"run": "w8a16", "methods": "auto"}
    assert not any("w4a8" in a.code or "w8a8" in a.code for a in said)


def test_without_n_or_per_sample_values_these_are_asked_for():
    said = first(stub_run("w8a8", "unclear", samples=NO_N), *passing("w16a16", "w8a16"))
    assert said.title == "Return qnb.Score with per_sample"
    said = first(stub_run("w8a8", "unclear", samples=SEPARATE), *passing("w16a16", "w8a16"))
    assert said.title == "Compare sample by sample" and "about 2,100 samples would decide" in said.reason


def test_too_close_to_call():
    flow = stub_flow(stub_run("w8a8", "unclear", drop=CLOSE), *passing("w16a16", "w8a16"))
    recover, accept = flow.next_steps()[:2]
    assert recover.recover and accept.title == "Accept W8A8 or recover it" and "0.021" in accept.reason


@pytest.mark.parametrize(
    ("states", "says"),
    [
        ({CONTROL: PASS, "w8a16": FAIL}, "8-bit weights cause the loss"),
        ({"w8a16": PASS, "w8a8": FAIL}, "8-bit activations cause the loss"),
        ({"w8a8": PASS, "w4a8": FAIL}, "4-bit weights cause the loss"),
        ({"w8a16": PASS, "w4a16": FAIL}, "4-bit weights cause the loss"),
        ({"w8a8": PASS, "w4a16": PASS, "w4a8": FAIL}, "4-bit weights and 8-bit activations cause the loss"),
        ({"w8a8": PASS, "w6a6": FAIL}, "W8A8 passes. Try"),
    ],
)
def test_which_half_costs_the_accuracy(states, says):
    said = stub_flow(*(stub_run(name, state) for name, state in states.items())).next_steps()
    recover = next(a for a in said if a.recover)
    assert says in recover.reason and "0.2 where 0.01 is allowed" in recover.reason


def test_before_a_recovery_the_step_above_is_run():
    assert first(stub_run("w8a8", "fail")).run == {"precision": CONTROL}
    assert first(stub_run("w8a8", "fail"), *passing(CONTROL)).run == {"precision": "w8a16"}
    assert first(stub_run("w4a8", "fail"), *passing("w8a8")).recover == {"run": "w4a8", "methods": "auto"}
    assert first(stub_run("w6a8", "fail"), *passing("w8a16")).run == {"precision": "w8a8"}


def test_after_a_recovery_without_success_the_best_is_shipped_or_more_is_tried():
    runs = [*passing("fp16", CONTROL, "w8a16", "w8a8"), stub_run("w4a8", "fail"), auto("w4a8", "fail")]
    flow = stub_flow(*runs)
    said = flow.next_steps()
    assert said[0].deploy == {"run": "w8a8", "folder": "deploy"}
    assert said[1].run == {"precision": "w4a8", "layers": {"head": "w8a16"}}
    assert [a.recover["methods"] for a in said if a.recover] == ["mixed_precision", "train"]
    mixed = stub_run("w4a8+1", "fail", "w4a8", layers={"head": "w8a16"})
    trained = stub_run("x", "fail", "w4a8", base="w4a8", recover=[{"method": "train", "options": {}}])
    said = stub_flow(*runs, mixed, trained).next_steps()
    assert not any(a.run for a in said) and "Find the causes" in [a.title for a in said]
    flow.diagnoses = {"w4a8": "known"}
    assert "Find the causes" not in [a.title for a in flow.next_steps()]
    assert [a.recover["methods"] for a in said if a.recover] == ["mixed_precision"]


def test_without_any_that_passes_a_higher_precision_then_the_baseline_then_the_tolerance():
    flow = stub_flow(
        *passing(CONTROL),
        stub_run("w8a16", "fail"),
        auto("w8a16", "fail", recover=[{"method": "mixed_precision"}, {"method": "train"}]),
    )
    said = flow.next_steps()
    assert said[0].run == {"precision": "w8a16", "layers": {"head": CONTROL}}
    assert [a.title for a in said if a.run or a.deploy][1:] == ["Run FP16 instead", "Deploy W16A16"], "htp-v75 runs it"
    assert not any("Deploy" in a.title for a in stub_flow(*flow.runs.values(), target="htp-v68").next_steps())
    flow.runs = {n: r for n, r in flow.runs.items() if n != CONTROL} | {"fp16": stub_run("fp16", "fail")}
    assert flow.next_steps()[-1].title == "Raise the tolerance or the bits"


def test_fp16_that_overflows_keeps_layers_out_then_looks_then_goes_on_with_integers():
    flow = stub_flow(stub_run("fp16", "fail", overflow=["stem.conv"]))
    keep, look, go_on = flow.next_steps()
    assert keep.run == {"precision": "fp16", "layers": {"stem.conv": "fp32"}}
    assert look.code == 'flow.layer("fp16", "head")' and go_on.run == {"precision": CONTROL}
    flow.runs = flow.runs | {"fp16+1": stub_run("fp16+1", "fail", "fp16", layers={"stem.conv": "fp32"})}
    assert [a.title[:4] for a in flow.next_steps()] == ["Look", "Run "], "what was done is not proposed again"
