"""flow.calibration_curve: kept by run, shown, saved and loaded, in the report and in the explorer."""

import pandas as pd
import pytest

import qnb
from qnb.errors import Cancelled, FileError, InputError
from qnb.panels.layer_tabs import TABS, CalibrationSamples
from tests.flows import new_flow
from tests.workflow.test_sequences import edited


@pytest.fixture(scope="module")
def flow():
    flow = new_flow()
    flow.run("w8a8")
    flow.calibration_curve("w8a8")
    return flow


def test_it_is_kept_by_run_and_shows_itself(flow):
    found = flow.calibration_curves["w8a8"]
    assert found.run == "w8a8" and found.samples == 64
    assert found.table.sqnr_db.iloc[-1] == pytest.approx(flow["w8a8"].output_sqnr_db, abs=1e-5)
    (figure,) = found.figures()
    assert figure.layout.title.text.startswith("w8a8: ")
    page = found.document()
    assert page.title == repr(found) == found.caption() and page.title.startswith("w8a8: 64 calibration samples are")


def test_it_is_saved_and_loaded(flow, tmp_path):
    flow.save(tmp_path / "a.qnb")
    again, found = qnb.load(tmp_path / "a.qnb").calibration_curves["w8a8"], flow.calibration_curves["w8a8"]
    for name in ("table", "ranges"):
        pd.testing.assert_frame_equal(getattr(again, name), getattr(found, name), check_exact=True)
    assert again.document().json() == found.document().json() and again.enough == found.enough
    older = edited(tmp_path / "a.qnb", tmp_path / "b.qnb", lambda content: content.pop("calibration_curves"))
    assert qnb.load(older).calibration_curves == {}


def test_a_loaded_workflow_measures_the_same(flow, tmp_path):
    flow.save(tmp_path / "a.qnb")
    demo = qnb.demo.digits()
    kept = {"model": demo.model, "calibration": demo.calibration[:2], "evaluate": demo.evaluate}
    again = qnb.load(tmp_path / "a.qnb", **kept)
    pd.testing.assert_frame_equal(again.calibration_curve("w8a8").table, flow.calibration_curves["w8a8"].table)


def cells(content, table, column):
    return next(c for c in content["calibration_curves"][0][table]["columns"] if c["name"] == column)["values"]


def rows(content, count):
    for column in content["calibration_curves"][0]["table"]["columns"]:
        del column["values"][count:]


EDITS = {
    "no column": lambda c: c["calibration_curves"][0]["table"]["columns"].pop(0),
    "no row": lambda c: rows(c, 0),
    "a count that is none": lambda c: cells(c, "table", "samples").__setitem__(0, -1),
    "counts that fall": lambda c: cells(c, "table", "samples").__setitem__(0, 900),
    "a count twice": lambda c: cells(c, "ranges", "samples").__setitem__(1, 1),
    "a share that is not known": lambda c: cells(c, "table", "range_share").__setitem__(0, "nan"),
    "enough as a number": lambda c: cells(c, "table", "enough").__setitem__(0, 1),
    "a layer that is no text": lambda c: cells(c, "ranges", "layer").__setitem__(0, None),
    "an end that is not known": lambda c: cells(c, "ranges", "min").__setitem__(0, "nan"),
    "another run": lambda c: c["calibration_curves"][0].update(run="none"),
    "two of a run": lambda c: c["calibration_curves"].append(c["calibration_curves"][0]),
    "something else": lambda c: c["calibration_curves"][0].update(more=1),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_a_damaged_file_is_refused(flow, tmp_path, edit):
    flow.save(tmp_path / "a.qnb")
    with pytest.raises(FileError):
        qnb.load(edited(tmp_path / "a.qnb", tmp_path / "b.qnb", edit))


def test_the_report_has_it(flow, tmp_path):
    flow.report(tmp_path / "r.html", interactive=False)
    page = (tmp_path / "r.html").read_text()
    assert "64 calibration samples are" in page and "By number of samples" in page


def test_the_explorer_has_a_tab(flow):
    assert "Calibration samples" in TABS and "Calibration samples" in flow.explore("w8a8").views.widget.titles
    tab, profile = CalibrationSamples(), flow.profile("w8a8")["stem.conv"]
    tab.draw(flow, "w8a8", profile)
    assert tab.plot.figure["layout"]["title"]["text"].startswith("w8a8: stem.conv: range ")
    other = new_flow()
    other.runs = flow.runs
    tab.draw(other, "w8a8", profile)
    assert "flow.calibration_curve('w8a8') collects ranges" in str(tab.plot.figure)


def test_samples_that_a_run_leaves_out_take_no_part():
    flow = new_flow()
    flow.run("w8a8", leave_out=range(60))
    found = flow.calibration_curve("w8a8")
    assert found.table.samples.tolist() == [1, 2, 4]
    own = flow["w8a8"].sim.encodings().drop_duplicates("layer").set_index("layer")["max"]
    assert found.of_layer("stem.conv")["max"].iloc[-1] == own["stem.conv"]


def test_cancelled_it_leaves_the_workflow_as_it_was_and_a_new_run_forgets_it():
    flow = new_flow()
    flow.run("w8a8")

    def cancel(done, total, message):
        if message == "simulating":
            raise Cancelled("stop", "the user", "nothing")

    with pytest.raises(Cancelled):
        flow.calibration_curve("w8a8", progress=cancel)
    assert flow.calibration_curves == {}
    assert flow.submit(flow.calibration_curve, "w8a8").wait().samples == 64 and list(flow.calibration_curves) == [
        "w8a8"
    ]
    flow.run("w8a8")
    assert flow.calibration_curves == {}


def test_wrong_calls(digits):
    for run, says in (("fp32", "no simulation"), ("w3a3", "no run")):
        with pytest.raises(InputError, match=says):
            digits.calibration_curve(run)
