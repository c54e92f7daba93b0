"""Worst samples in a workflow and its file: figures and numbers are kept, what the samples are is not."""

import json
import zipfile

import pandas as pd
import pytest
import torch
from torch import nn

import qnb
from qnb.errors import Cancelled, FileError
from qnb.workflow.storage import archive
from tests.workflow.test_sequences import edited

SECRET = "a patient's name"


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pictures() -> qnb.Workflow:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5)).eval()
    flow = qnb.Workflow(model, [draw(i, 6, 3, 8, 8) for i in range(3)], lambda m: 1.0)
    flow.run("w4a4")
    return flow


@pytest.fixture(scope="module")
def flow():
    flow = pictures()
    flow.worst_samples("w4a4", count=5)
    return flow


@pytest.fixture
def loaded(flow, tmp_path):
    flow.save(tmp_path / "a.qnb")
    return qnb.load(tmp_path / "a.qnb")


def test_the_last_ones_of_a_run_are_kept(flow):
    found = flow.worst["w4a4"]
    assert len(found.table) == len(found.inputs) == len(found.views) == 5 and not found.other_data
    other = pictures()
    told = []
    other.changed.connect(lambda: told.append(list(other.worst)))
    other.worst_samples("w4a4", count=2)
    assert other.worst_samples("w4a4", "flipped") is other.worst["w4a4"] and told == [["w4a4"]] * 2


def test_it_is_saved_and_loaded_without_the_samples(flow, loaded):
    found, again = flow.worst["w4a4"], loaded.worst["w4a4"]
    pd.testing.assert_frame_equal(again.table, found.table, check_exact=True)
    assert (again.run, again.by, again.seen, again.flipped) == (found.run, found.by, found.seen, found.flipped)
    assert again.inputs == again.views == () and again.chart() is None and again.figures() == []
    assert again.caption() == found.caption() and found.chart() is not None
    said = again.document()
    assert "A file does not hold the samples, nor their pictures" in said.text()
    assert 'flow.worst_samples("w4a4", "output")' in said.text() and "data:image" not in said.html()
    assert "A file does not hold" not in found.document().text()


def test_the_line_shows_them_again(flow):
    found = flow.worst["w4a4"]
    again = eval(found.code, {"flow": pictures()})
    pd.testing.assert_frame_equal(again.table.head(5), found.table)


def test_of_other_data_the_line_says_so(flow, tmp_path):
    other = pictures()
    other.worst_samples("w4a4", "flipped", batches=[draw(9, 4, 3, 8, 8)])
    other.save(tmp_path / "a.qnb")
    again = qnb.load(tmp_path / "a.qnb").worst["w4a4"]
    assert again.other_data and again.code == 'flow.worst_samples("w4a4", "flipped", batches=batches)'


def test_nothing_of_the_samples_is_in_the_file(tmp_path):
    flow = pictures()
    flow.worst_samples("w4a4", count=3, show=lambda x: f"{SECRET} {float(x[0, 0, 0]):.4f}")
    assert SECRET in flow.worst["w4a4"].document().text()
    flow.report(tmp_path / "r.html", interactive=False)
    assert (
        SECRET.replace("'", "&#x27;") in (tmp_path / "r.html").read_text()
        or SECRET in (tmp_path / "r.html").read_text()
    )
    flow.save(tmp_path / "a.qnb")
    flow.worst_samples("w4a4", count=3)
    flow.save(tmp_path / "b.qnb")
    for name in ("a.qnb", "b.qnb"):
        with zipfile.ZipFile(tmp_path / name) as file:
            texts = [file.read(n) for n in (archive.WORKFLOW, archive.DOCUMENT)]
        assert not any(SECRET.encode()[:9] in t or b"data:image" in t for t in texts)
        assert b"lowest SQNR at output" in texts[1] and b"fp32_prediction" in texts[0]


def test_what_is_about_predictions_may_be_missing(tmp_path):
    torch.manual_seed(0)
    flow = qnb.Workflow(nn.Conv1d(2, 3, 3).eval(), [draw(0, 4, 2, 9)], lambda m: 1.0)
    flow.run("w4a4")
    found = flow.worst_samples("w4a4", count=2)
    flow.save(tmp_path / "a.qnb")
    again = qnb.load(tmp_path / "a.qnb").worst["w4a4"]
    pd.testing.assert_frame_equal(again.table, found.table, check_exact=True)
    assert again.flipped == found.flipped


def test_none_that_flipped(tmp_path):
    torch.manual_seed(0)
    flow = qnb.Workflow(nn.Linear(4, 3).eval(), [draw(0, 8, 4)], lambda m: 1.0)
    flow.run("w16a16")
    found = flow.worst_samples("w16a16", "flipped")
    flow.save(tmp_path / "a.qnb")
    again = qnb.load(tmp_path / "a.qnb").worst["w16a16"]
    pd.testing.assert_frame_equal(again.table, found.table, check_exact=True)
    assert again.table.empty and again.document().json() == found.document().json()


def test_a_file_that_was_saved_before_it_was_there_loads(flow, tmp_path):
    flow.save(tmp_path / "a.qnb")
    assert qnb.load(edited(tmp_path / "a.qnb", tmp_path / "b.qnb", lambda c: c.pop("worst"))).worst == {}


def cells(content, column):
    return next(c for c in content["worst"][0]["table"]["columns"] if c["name"] == column)["values"]


EDITS = {
    "no column": lambda c: c["worst"][0]["table"]["columns"].pop(0),
    "no flipped": lambda c: c["worst"][0]["table"]["columns"].pop(4),
    "flipped as text": lambda c: cells(c, "flipped").__setitem__(0, "yes"),
    "flipped as a number": lambda c: cells(c, "flipped").__setitem__(0, 1),
    "a sample that is none": lambda c: cells(c, "sample").__setitem__(0, -1),
    "a sample that is text": lambda c: cells(c, "sample").__setitem__(0, "<b>"),
    "a prediction that is text": lambda c: cells(c, "fp32_prediction").__setitem__(0, "<b>"),
    "an error that is text": lambda c: cells(c, "sqnr_db").__setitem__(0, "much"),
    "more than there were": lambda c: c["worst"][0].update(seen=2),
    "more flipped than there were": lambda c: c["worst"][0].update(flipped=900),
    "seen as text": lambda c: c["worst"][0].update(seen="18"),
    "by as a number": lambda c: c["worst"][0].update(by=1),
    "samples": lambda c: c["worst"][0].update(inputs=[[1.0]]),
    "another run": lambda c: c["worst"][0].update(run="none"),
    "two of a run": lambda c: c["worst"].append(c["worst"][0]),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_a_damaged_file_is_refused(flow, tmp_path, edit):
    flow.save(tmp_path / "a.qnb")
    with pytest.raises(FileError):
        qnb.load(edited(tmp_path / "a.qnb", tmp_path / "b.qnb", edit))


def test_a_line_that_a_file_names_is_still_a_line(flow, tmp_path):
    flow.save(tmp_path / "a.qnb")
    wild = '"); import os #\n<img src=x>'
    again = qnb.load(edited(tmp_path / "a.qnb", tmp_path / "b.qnb", lambda c: c["worst"][0].update(by=wild)))
    found = again.worst["w4a4"]
    assert eval(found.code, {"flow": type("Echo", (), {"worst_samples": staticmethod(lambda *a: a)})}) == ("w4a4", wild)
    assert "<img" not in found.document().html()


def test_the_dashboard_has_it(flow, loaded, tmp_path):
    for name, held in (("live", flow), ("loaded", loaded)):
        held.report(tmp_path / name, interactive=False)
    live, read = ((tmp_path / name).read_text() for name in ("live", "loaded"))
    assert all(flow.worst["w4a4"].caption() in page for page in (live, read))
    assert live.count("data:image/png") == 5 and "data:image/png" not in read and "worst_samples" in read
    assert json.dumps(loaded.document().json())


def test_cancelled_it_leaves_the_workflow_as_it_was_and_a_new_run_forgets_it():
    flow = pictures()

    def cancel(done, total, message):
        if done:
            raise Cancelled("stop", "the user", "nothing")

    with pytest.raises(Cancelled):
        flow.worst_samples("w4a4", progress=cancel)
    assert flow.worst == {}
    flow.worst_samples("w4a4")
    flow.run("w4a4")
    assert flow.worst == {}
