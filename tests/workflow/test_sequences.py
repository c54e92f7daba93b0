"""Sequence errors in a workflow: kept by run, shown, saved and loaded, in the report and in the explorer."""

import json
import zipfile

import pandas as pd
import pytest

import qnb
from qnb.errors import Cancelled, FileError, InputError
from qnb.panels.layer_tabs import TABS, TokenPositions
from qnb.workflow.storage import archive
from tests.flows import new_flow

FRAMES = ("positions", "heads", "predictions")


@pytest.fixture(scope="module")
def flow():
    demo = qnb.demo.transformer()
    flow = qnb.Workflow(demo.model, demo.calibration[:2], demo.evaluate)
    flow.run("w8a8")
    flow.sequence_errors("w8a8")
    return flow


def test_it_is_kept_by_run_and_shows_itself(flow):
    found = flow.sequences["w8a8"]
    assert found.positions.position.max() == 15 and found.heads["head"].max() == 3 and len(found.predictions) == 1
    assert [f.layout.title.text[:14] for f in found.figures()] == ["w8a8: weakest ", "w8a8: weakest "]
    page = found.document()
    assert page.title.startswith("w8a8: weakest position") and "top-1 agreement" in page.text()
    assert repr(found) == page.title


def test_it_is_saved_and_loaded(flow, tmp_path):
    flow.save(tmp_path / "a.qnb")
    again, found = qnb.load(tmp_path / "a.qnb").sequences["w8a8"], flow.sequences["w8a8"]
    for name in FRAMES:
        pd.testing.assert_frame_equal(getattr(again, name), getattr(found, name), check_exact=True)
    assert again.document().json() == found.document().json()


def edited(path, to, edit):
    """The file with other content."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(to, "w") as new:
        for item in old.infolist():
            data = old.read(item)
            if item.filename == archive.WORKFLOW:
                content = json.loads(data)
                edit(content)
                data = json.dumps(content).encode()
            new.writestr(item, data)
    return to


def test_a_file_that_was_saved_before_it_was_there_loads(flow, tmp_path):
    flow.save(tmp_path / "a.qnb")
    older = edited(tmp_path / "a.qnb", tmp_path / "b.qnb", lambda content: content.pop("sequences"))
    assert qnb.load(older).sequences == {}


def first(content, table, column):
    cells = {c["name"]: c for c in content["sequences"][0][table]["columns"]}
    return cells[column]["values"]


EDITS = {
    "twice": lambda c: first(c, "positions", "position").__setitem__(1, 0),
    "a head that is no number": lambda c: first(c, "heads", "head").__setitem__(0, "x"),
    "a negative count": lambda c: first(c, "predictions", "n").__setitem__(0, -1),
    "no column": lambda c: c["sequences"][0]["heads"]["columns"].pop(2),
    "another run": lambda c: c["sequences"][0].update(run="none"),
    "a figure that is text": lambda c: c["sequences"][0].update(kl_nats="much"),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_a_damaged_file_is_refused(flow, tmp_path, edit):
    flow.save(tmp_path / "a.qnb")
    with pytest.raises(FileError):
        qnb.load(edited(tmp_path / "a.qnb", tmp_path / "b.qnb", edit))


def test_the_report_has_it(flow, tmp_path):
    flow.report(tmp_path / "r.html", interactive=False)
    page = (tmp_path / "r.html").read_text()
    assert "weakest at token position" in page and "The weakest attention heads" in page


def test_the_explorer_has_a_tab_where_there_are_tokens(flow, digits):
    assert TokenPositions.suits(flow) and not TokenPositions.suits(digits) and "Token positions" in TABS
    tab = TokenPositions()
    profile = flow.profile("w8a8")["blocks.0.qkv"]
    tab.draw(flow, "w8a8", profile)
    assert "blocks.0.qkv" in str(tab.plot.figure)
    assert "Token positions" in flow.explore("w8a8").views.widget.titles
    assert "Token positions" not in digits.explore("w8a8").views.widget.titles


def test_a_run_that_is_replaced_forgets_it():
    demo = qnb.demo.transformer()
    flow = qnb.Workflow(demo.model, demo.calibration[:1], demo.evaluate)
    flow.run("w8a8")
    with pytest.raises(Cancelled):
        flow.sequence_errors("w8a8", progress=cancel)
    assert flow.sequences == {}
    flow.sequence_errors("w8a8")
    flow.run("w8a8")
    assert flow.sequences == {}


def cancel(done, total, message):
    if done:
        raise Cancelled("stop", "the user", "nothing")


def test_wrong_calls(digits):
    with pytest.raises(InputError, match="no simulation"):
        digits.sequence_errors("fp32")
    with pytest.raises(InputError, match="no run"):
        digits.sequence_errors("w3a3")
    flow = new_flow()
    flow.run("w8a8")
    with pytest.raises(InputError, match="without token positions"):
        flow.sequence_errors("w8a8")
    assert flow.sequences == {}
