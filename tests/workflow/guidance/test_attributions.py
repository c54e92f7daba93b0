"""flow.attribute: kept by run, in the report, run by submit."""

import pytest

import qnb
from qnb.columns import ATTRIBUTION
from qnb.errors import Cancelled, InputError
from tests.flows import new_flow
from tests.methods.states import CancelAfter, same, state


@pytest.fixture(scope="module")
def flow():
    made = new_flow()
    made.run("w4a8")
    return made


def test_it_shows_as_chart_and_table_and_is_kept(flow, tmp_path):
    found = flow.attribute("w4a8")
    assert flow.attributions["w4a8"] is found and tuple(found.table.columns) == ATTRIBUTION
    assert isinstance(found, qnb.measures.Attribution) and abs(found.residual) < 0.01
    assert repr(found) == found.caption() and found.caption().startswith("w4a8: Output ")
    assert found.figures()[0].layout.title.text.startswith("w4a8: most of the error: ")
    flow.report(tmp_path / "page.html", interactive=False)
    page = (tmp_path / "page.html").read_text()
    assert found.caption() in page and "w4a8: most of the error: " in page


def test_a_run_made_again_forgets_it():
    flow = new_flow()
    flow.run("w8a8")
    flow.submit(flow.attribute, "w8a8").wait()
    assert list(flow.attributions) == ["w8a8"]
    flow.run("w8a8")
    assert not flow.attributions


def test_what_cannot_be_asked_is_said(flow, tmp_path):
    with pytest.raises(InputError, match="no simulation"):
        flow.attribute("fp32")
    with pytest.raises(InputError, match="no simulation"):
        flow.submit(flow.attribute, "fp32")
    flow.save(tmp_path / "flow.qnb")
    with pytest.raises(InputError, match="without model, data and evaluate"):
        qnb.load(tmp_path / "flow.qnb").attribute("w4a8")


def test_cancelled_it_leaves_everything_as_it_was():
    flow = new_flow()
    sim = flow.run("w4a8").sim
    before = state(sim)
    with pytest.raises(Cancelled):
        flow.attribute("w4a8", progress=CancelAfter(3))
    assert same(before, state(sim)) and not flow.attributions
