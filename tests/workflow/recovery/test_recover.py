"""flow.recover: runs beside runs, options to whom they belong, errors before any work, all or nothing."""

import pytest

import qnb
from qnb.errors import Cancelled, InputError
from qnb.methods import METHODS
from tests.flows import new_flow
from tests.methods.states import CancelAfter, same, state


@pytest.fixture(scope="module")
def flow():
    made = new_flow()
    made.run("w4a8")
    return made


@pytest.fixture(scope="module")
def recovered(flow):
    return flow.recover("w4a8", ["seq_mse", "correct_bias"], candidates=10)


def test_a_new_run_stands_beside_the_old_one(flow, recovered):
    assert list(flow.runs)[:3] == ["fp32", "w4a8", "w4a8+seq_mse+correct_bias"]
    assert recovered.score.value > flow["w4a8"].score.value
    assert recovered.output_sqnr_db > flow["w4a8"].output_sqnr_db + 2
    assert recovered.precision == "w4a8" and recovered.size_bytes == flow["w4a8"].size_bytes
    assert flow["w4a8"].sim.applied_methods == () and recovered.sim.applied_methods == ("seq_mse", "correct_bias")


def test_the_run_says_how_it_was_made(recovered):
    assert [r.method for r in recovered.recovery] == ["seq_mse", "correct_bias"]
    assert recovered.settings["from"] == "w4a8"
    assert [step["method"] for step in recovered.settings["recover"]] == ["seq_mse", "correct_bias"]
    assert recovered.settings["recover"][0]["options"]["candidates"] == 10
    text = repr(recovered)
    assert "seq_mse, then correct_bias" in text and "Applied methods" in recovered._repr_html_()


def test_it_belongs_to_the_restore_stage(flow, recovered):
    from qnb.workflow.guidance import stages

    assert stages.stage_of(recovered) == "restore"


def test_one_can_go_on_from_a_recovered_run(flow, recovered):
    with pytest.raises(InputError, match="go in this order: seq_mse, adaround, correct_bias"):
        flow.recover(recovered.name, "adaround")
    again = flow.recover("w4a8", "seq_mse", name="ranges")
    more = flow.recover("ranges", "correct_bias", name="both")
    assert [r.method for r in more.recovery] == ["seq_mse", "correct_bias"] and more.settings["from"] == "ranges"
    assert len(again.recovery) == 1


def test_a_precision_that_was_not_run_is_run_first():
    flow = new_flow()
    flow.recover("w3a8", "seq_mse", candidates=5)
    assert list(flow.runs) == ["fp32", "w3a8", "w3a8+seq_mse"]


@pytest.mark.parametrize(
    ("methods", "options", "says"),
    [
        ([], {}, "no method"),
        (["auto", "seq_mse"], {}, "beside other methods"),
        ("adarond", {}, "Did you mean 'adaround'"),
        (["adaround", "equalize"], {}, "go in this order: equalize, adaround"),
        ("seq_mse", {"iterations": 3}, "seq_mse takes layers, candidates"),
        ("seq_mse", {"seq_mse": {"iteration": 3}}, "unknown option iteration=3.*seq_mse takes"),
        ("seq_mse", {"seq_mse": 3}, "give its options"),
        ("auto", {"iterations": 3}, "unknown option iterations=3.*auto takes"),
    ],
)
def test_what_does_not_fit_is_an_error_before_any_work(flow, methods, options, says):
    before = dict(flow.runs)
    with pytest.raises(InputError, match=says):
        flow.recover("w4a8", methods, **options)
    assert flow.runs == before


def test_fp32_has_nothing_to_recover(flow):
    with pytest.raises(InputError, match="lost nothing"):
        flow.recover("fp32", "seq_mse")


@pytest.mark.parametrize("count", [1, 6, 30])
def test_a_cancelled_recovery_leaves_everything_as_it_was(flow, count):
    runs, before = dict(flow.runs), state(flow["w4a8"].sim)
    with pytest.raises(Cancelled):
        flow.recover("w4a8", ["seq_mse", "correct_bias"], name="never", progress=CancelAfter(count))
    assert flow.runs == runs and same(before, state(flow["w4a8"].sim)) and flow.proposal is None


def test_a_proposal_is_kept_or_not(flow):
    made = flow.recover("w4a8", "correct_bias", name="proposed", keep=False)
    assert "proposed" not in flow and flow.proposal is made
    flow.discard()
    assert flow.proposal is None and "proposed" not in flow
    with pytest.raises(InputError, match="no proposal"):
        flow.keep()
    flow.recover("w4a8", "correct_bias", name="proposed", keep=False)
    assert flow.keep().name == "proposed" and "proposed" in flow and flow.proposal is None


def test_as_a_job(flow):
    job = flow.submit(flow.recover, "w4a8", "correct_bias", name="by-job")
    assert job.wait().name == "by-job" and "by-job" in flow
    with pytest.raises(InputError, match="go in this order"):
        flow.submit(flow.recover, "w4a8", ["adaround", "equalize"])


def test_saved_and_loaded(flow, recovered, tmp_path):
    flow.save(tmp_path / "flow.qnb")
    loaded = qnb.load(tmp_path / "flow.qnb")
    found = loaded[recovered.name]
    assert repr(found) == repr(recovered) and found.sim.applied_methods == recovered.sim.applied_methods
    for a, b in zip(found.recovery, recovered.recovery, strict=True):
        assert a.options == b.options and a.notes == b.notes
        assert a.table.columns.tolist() == b.table.columns.tolist() and len(a.history) == len(b.history)
    assert recovered.name in loaded.summary().run.tolist()


def test_the_next_step_is_to_recover_and_then_no_more():
    flow = new_flow(tolerance=0.02)
    flow.check()
    for precision in ("fp16", "w16a16", "w8a16", "w8a8", "w4a8"):
        flow.run(precision)
    first = flow.next_steps()[0]
    assert first.title == "Recover W4A8" and first.code == 'flow.recover("w4a8", "auto")'
    flow.recover(**first.recover)
    assert flow["w4a8+auto"].verdict.status == "pass"
    assert not any(a.recover for a in flow.next_steps())


def test_every_method_has_a_title_and_a_summary():
    for name in METHODS:
        assert METHODS[name].title and len(METHODS[name].summary) > 20
