"""flow.diagnose(): findings with gains that were measured, code that runs, nothing where nothing helps."""

import math

import pytest

import qnb
from qnb.errors import Cancelled, InputError
from qnb.measures.layers.output_parts import OutputNoise, sqnr_db
from qnb.workflow.diagnosis.samples import first_batches
from tests.flows import new_flow
from tests.methods.states import CancelAfter, same, state
from tests.workflow.diagnosis.plants import PLANTS


@pytest.fixture(scope="module")
def cancelled_out():
    """A network with a large constant in it, diagnosed."""
    planted = PLANTS["cancellation"].make(300.0)
    planted.flow.diagnose(planted.run, measure=True)
    return planted


def test_the_measured_gain_is_that_of_the_run_that_the_code_makes(cancelled_out):
    flow, run = cancelled_out.flow, cancelled_out.run
    first = flow.diagnoses[run].findings[0]
    made = eval(first.code, {"flow": flow})
    noise = OutputNoise(flow[run].sim, first_batches(flow.batches))
    gained = sqnr_db(noise(made.sim)) - sqnr_db(noise(flow[run].sim))
    assert math.isclose(gained, first.measured_gain_db, abs_tol=0.3)
    assert math.isclose(first.metric, made.score.value, abs_tol=0.01)
    noted = flow.diagnoses[run].findings[0]
    assert noted.followed == made.name and made.name in noted.gain and "measured gain" in noted.gain
    assert math.isclose(noted.followed_gain_db, gained, abs_tol=1e-6), "measured as the remedy was"


def test_the_table_says_what_the_findings_say(cancelled_out):
    found = cancelled_out.flow.diagnoses[cancelled_out.run]
    assert tuple(found.table.columns) == qnb.columns.DIAGNOSIS and len(found.table) == len(found)
    assert found.table.layers[0] == "head.1.add" and found.findings[0].code in repr(found)
    assert "easured gain" in found._repr_html_() and list(found)[0] is found.findings[0]


def test_findings_are_ranked_by_their_gain(cancelled_out):
    gains = [f.measured_gain_db for f in cancelled_out.flow.diagnoses[cancelled_out.run]]
    assert gains == sorted(gains, reverse=True) and min(gains) >= 1.0


def test_the_run_and_its_simulation_stay_as_they_are():
    planted = PLANTS["shared_range"].make(20.0)
    before, run = state(planted.flow[planted.run].sim), planted.flow[planted.run]
    planted.flow.diagnose(planted.run)
    assert planted.flow[planted.run] is run and same(before, state(run.sim))


@pytest.mark.parametrize("count", [1, 8])
def test_a_cancelled_diagnosis_leaves_nothing_behind(count):
    flow = new_flow()
    flow.run("w4a8")
    before = state(flow["w4a8"].sim)
    with pytest.raises(Cancelled):
        flow.diagnose("w4a8", progress=CancelAfter(count))
    assert not flow.diagnoses and same(before, state(flow["w4a8"].sim))


def test_a_wild_sample_is_left_out_of_the_calibration():
    planted = PLANTS["few_samples_set_range"].make(60.0)
    flow = planted.flow
    first = flow.diagnose(planted.run).findings[0]
    made = eval(first.code, {"flow": flow})
    assert made.settings["leave_out"] == [37] and made.output_sqnr_db > 0
    step = lambda run: float(run.sim.encodings().set_index("layer").scale["x"])  # noqa: E731
    assert step(made) < step(flow[planted.run]) / 20


def test_too_few_samples_point_to_the_curve_that_shows_how_many_are_enough():
    planted = PLANTS["few_calibration_samples"].make(4)
    first = planted.flow.diagnose(planted.run).findings[0]
    assert first.name == "few_calibration_samples"
    assert first.code.splitlines()[1] == f"flow.calibration_curve({planted.run!r})"
    found = eval(first.code, {"flow": planted.flow})
    assert found.samples == 8 and planted.flow.calibration_curves[planted.run] is found


def test_what_cannot_be_asked_is_said():
    flow = new_flow()
    with pytest.raises(InputError, match="no run yet"):
        flow.diagnose()
    flow.run("w8a8")
    with pytest.raises(InputError, match="lost nothing"):
        flow.diagnose("fp32")
    with pytest.raises(InputError, match="leave_out"):
        flow.run("w8a8", leave_out=[-1])


def test_a_diagnosis_is_saved_and_read(tmp_path, cancelled_out):
    flow = cancelled_out.flow
    flow.save(tmp_path / "flow.qnb")
    read, known = qnb.load(tmp_path / "flow.qnb").diagnoses[cancelled_out.run], flow.diagnoses[cancelled_out.run]
    assert repr([*map(vars, read.findings)]) == repr([*map(vars, known.findings)])
    assert math.isclose(read.output_sqnr_db, known.output_sqnr_db) and read.seconds == known.seconds
