"""The recipe "auto": the most promising first, stops when within tolerance, says what it tried."""

from dataclasses import replace

import pytest

from qnb.columns import ATTEMPTS, GUIDED
from qnb.errors import Cancelled, InputError
from tests.flows import new_flow
from tests.methods.states import CancelAfter, same, state
from tests.workflow.diagnosis.plants import PLANTS


@pytest.fixture(scope="module")
def flow():
    made = new_flow(tolerance=0.02)
    made.run("w4a8")
    return made


@pytest.fixture(scope="module")
def found(flow):
    return flow.recover("w4a8", "auto")


def test_it_stops_when_the_tolerance_is_met(flow, found):
    assert found.verdict.status == "pass" and found.name == "w4a8+auto"
    assert found.attempts.verdict.iloc[-1] == "pass" and (found.attempts.verdict.iloc[:-1] != "pass").all()
    assert "train" not in " ".join(found.attempts.tried)


def test_it_says_what_was_tried_what_each_brought_and_what_it_cost(flow, found):
    table = found.attempts
    assert tuple(table.columns) == (*ATTEMPTS, *GUIDED) and table.tried.iloc[0] == "nothing"
    assert table.metric.iloc[0] == flow["w4a8"].score.value and table.metric.iloc[-1] == found.score.value
    assert (table.seconds > 0).all() and "What auto tried" in found._repr_html_()
    assert (
        tuple(table.tried.iloc[-1].split(" + ")) == found.sim.applied_methods == tuple(r.method for r in found.recovery)
    )


def test_kept_is_what_the_result_has_had(found):
    tried = found.attempts.tried[found.attempts.kept]
    kept = [() if name == "nothing" else tuple(name.split(" + ")) for name in tried]
    assert (
        kept == [found.sim.applied_methods[: len(methods)] for methods in kept]
        and kept[-1] == found.sim.applied_methods
    )


def test_what_was_the_best_for_a_while_is_not_kept(flow):
    """A correction was the best until rounding, which cannot follow it, was better without it."""
    from qnb.workflow.recovery import recipe

    def tried(*methods):
        sim = flow["w4a8"].sim.copy()
        sim.applied_methods = methods
        return recipe.Attempt(methods, replace(flow["w4a8"], sim=sim), 1.0, True)

    attempts = [tried("equalize"), tried("equalize", "correct_bias"), tried("equalize", "seq_mse"), tried("smooth")]
    table = recipe.table(flow["w4a8"], attempts, [("train", "no loader")], attempts[2].run)
    assert table.tried[table.kept].tolist() == ["nothing", "equalize", "equalize + seq_mse"]


def test_a_run_that_is_good_already_is_left_as_it_is(flow):
    run = flow.recover("w8a8", "auto")
    assert len(run.attempts) == 1 and run.sim.applied_methods == () and run.verdict.status == "pass"


def test_training_and_more_bits_can_be_left_out():
    flow = new_flow(tolerance=0.0)
    flow.run("w2a8")
    run = flow.recover("w2a8", "auto", train=False, mixed_precision=False)
    assert run.verdict.status != "pass"
    assert not {"train", "mixed_precision"} & set(" + ".join(run.attempts.tried).split(" + "))
    assert run.score.value > flow["w2a8"].score.value


@pytest.mark.parametrize("count", [2, 20, 60])
def test_cancelled_it_leaves_everything_as_it_was(flow, found, count):
    runs, before = dict(flow.runs), state(flow["w4a8"].sim)
    with pytest.raises(Cancelled):
        flow.recover("w4a8", "auto", name="never", progress=CancelAfter(count))
    assert flow.runs == runs and same(before, state(flow["w4a8"].sim))


def test_unknown_options_are_errors(flow):
    with pytest.raises(InputError, match="mixed_precision, train"):
        flow.recover("w4a8", "auto", iterations=3)


def test_a_run_that_was_rounded_gets_what_may_follow():
    flow = new_flow(tolerance=0.0)
    flow.recover("w3a8", "adaround", iterations=5, name="rounded")
    tried = flow.recover("rounded", "auto", train=False, mixed_precision=False).attempts.tried
    assert tried.tolist() == ["nothing", "adaround + correct_bias"]


def test_the_calibration_data_is_blamed_and_nothing_else_is_tried():
    planted = PLANTS["beyond_calibration"].make(0.15)
    run = planted.flow.recover(planted.run, "auto")
    assert run.verdict.status == "fail" and run.sim.applied_methods == ()
    assert "the calibration data is to blame" in run.attempts.verdict.iloc[-1]


def test_what_makes_the_error_gets_more_bits_and_no_more_bytes():
    planted = PLANTS["coarse_probabilities"].make(6.5)
    base = planted.flow[planted.run]
    run = planted.flow.recover(planted.run, "auto", train=False)
    assert "widen" in run.sim.applied_methods and run.size_bytes <= base.size_bytes
    row = run.attempts.set_index("tried").loc[" + ".join(run.sim.applied_methods)]
    assert run.output_sqnr_db > base.output_sqnr_db + 10 and "of the output's error" in row.why


def test_limits_are_kept_and_checked(flow):
    quick = flow.recover("w4a8", "auto", max_seconds=1e-6, name="quick")
    assert (
        quick.sim.applied_methods == ()
        and "max_seconds" in quick.attempts.verdict.iloc[-1] + quick.attempts.verdict.iloc[1]
    )
    few = flow.recover("w4a8", "auto", max_bops=1.0, name="few")
    assert few.sim.applied_methods == () and few.attempts.verdict.str.contains("max_bops").any()
    with pytest.raises(InputError, match="max_bytes"):
        flow.recover("w4a8", "auto", max_bytes=-1)


@pytest.mark.parametrize("cause", ["inside_normalization", "wide_scores"])
def test_what_the_diagnosis_proved_comes_first(cause):
    """The attribution cannot say which half is to blame where the output is broken; the diagnosis names the layers."""
    plant = PLANTS[cause]
    planted = plant.make(plant.strengths[1])
    run = planted.flow.recover(planted.run, "auto", train=False)
    first = run.attempts.iloc[1]
    assert first.tried == "widen" and first.kept and first.verdict == "pass" and first.why.startswith("the diagnosis")
    assert run.verdict.status == "pass" and len(run.attempts) == 2


def test_what_only_a_run_or_a_person_can_do_is_said():
    plant = PLANTS["float16_overflow"]
    planted = plant.make(plant.strengths[0])
    run = planted.flow.recover(planted.run, "auto")
    said = run.attempts[run.attempts.tried.str.startswith("FP32 at")].verdict
    assert len(said) == 1 and 'flow.run("fp16", layers=' in said.iloc[0] and run.verdict.status == "fail"
