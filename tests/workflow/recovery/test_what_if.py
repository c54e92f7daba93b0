"""What if: the same figures as a run of the changes, the run itself untouched, undo and keep."""

import numpy as np
import pytest

from qnb.errors import Cancelled, InputError, PrecisionError
from tests.flows import new_flow


@pytest.fixture(scope="module")
def flow():
    flow = new_flow()
    flow.run("w4a8")
    return flow


def test_a_change_is_what_a_run_of_it_gives(flow):
    before = flow["w4a8"].comparison.copy()
    trial = flow.what_if("w4a8").change("stem.conv", "w8a8").change("blocks.0.*", calibration_method="percentile")
    kept = flow.run("w4a8", layers={"stem.conv": "w8a8"}, calibration_method={"blocks.0.*": "percentile"}, name="kept")
    assert flow["w4a8"].comparison.equals(before)
    wanted = kept.comparison.set_index("layer").loc[trial.table.layer]
    assert np.allclose(trial.table.after_db, wanted.sqnr_db, rtol=0, atol=0.2)
    assert np.allclose(trial.table.own_after_db, wanted.own_sqnr_db, rtol=0, atol=0.2)
    assert trial.table.after_db[0] - trial.table.before_db[0] > 15
    assert trial.after["size_bytes"] == kept.size_bytes > trial.before["size_bytes"]
    assert abs(trial.after["sqnr_db"] - kept.output_sqnr_db) < 0.2


def test_undo_takes_the_last_back(flow):
    trial = flow.what_if("w4a8").change("stem.conv", "w8a8")
    first = trial.after
    trial.change("classifier", "w16a16").undo()
    assert trial.after == first and trial.code == 'flow.run("w4a8", layers={"stem.conv": "w8a8"})'
    assert trial.undo().undo().changes == () and "No change yet" in repr(trial)


def test_the_last_change_of_a_layer_counts(flow):
    trial = flow.what_if("w4a8").change(["stem.conv", "classifier"], "w8a8").change("stem.conv", "w16a16")
    assert trial.arguments()["layers"] == {"classifier": "w8a8", "stem.conv": "w16a16"}


def test_keep_is_a_run_with_the_same_settings(flow):
    run = flow.what_if("w4a8").change("stem.conv", "w8a8").keep("mine")
    assert flow["mine"] is run and run.settings["layers"] == {"stem.conv": "w8a8"}
    again = flow.what_if("mine").change("classifier", "w8a8")
    assert again.arguments()["layers"] == {"stem.conv": "w8a8", "classifier": "w8a8"}, "what was there stays"


def test_errors_change_nothing(flow):
    trial = flow.what_if("w4a8")
    for arguments, error in (
        (("nothing", "w8a8"), InputError),
        (("stem.conv", "w99"), PrecisionError),
        (("stem.conv",), InputError),
        (("stem.conv", None, "guess"), InputError),
    ):
        with pytest.raises(error):
            trial.change(*arguments)

    def cancel(*_):
        raise Cancelled("trial")

    with pytest.raises(Cancelled):
        trial.change("stem.conv", "w8a8", progress=cancel)
    assert trial.changes == () and flow["w4a8"].sim.calibrated
    with pytest.raises(InputError, match="no change"):
        trial.keep()
    with pytest.raises(InputError, match="no simulation"):
        flow.what_if("fp32")
