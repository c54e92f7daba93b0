"""The recovery panel without a browser: choose, follow, look, keep or discard."""

import pytest

from qnb.document import MIME
from qnb.methods import METHODS
from qnb.panels.base import LIVE
from tests.flows import new_flow
from tests.panels.test_panels import settle


@pytest.fixture(scope="module")
def flow():
    made = new_flow()
    made.run("w4a8")
    return made


@pytest.fixture
def panel(flow):
    flow.proposal = None
    found = flow.recovery_panel("w4a8")
    yield found
    found.close()


def choose(panel, *names):
    for name, box in panel.boxes.items():
        box.value = name in names


def test_before_it_says_what_was_lost_and_what_can_be_done(panel):
    assert "w4a8 loses 0.05" in panel.caption.value and "a new run beside the old one" in panel.caption.value
    assert panel.views.widget.layout.display == "none" and panel.decide.layout.display == "none"
    assert set(panel.boxes) == set(METHODS) and not panel.start.disabled
    assert 'flow.recover("w4a8", "auto")' in repr(panel)


def test_recover_look_and_discard(panel, flow):
    choose(panel, "seq_mse", "correct_bias")
    panel.start.click()
    assert panel.start.disabled and panel.job.cancel.layout.display is None
    settle(flow)
    assert flow.proposal is not None and "w4a8+seq_mse+correct_bias" not in flow
    assert "metric 0.9259 → " in panel.caption.value and "Keep it?" in panel.caption.value
    assert panel.decide.layout.display == "flex" and panel.views.widget.layout.display is None
    assert "seq_mse" in panel.views.done.value and len(panel.views.layers.rows) == len(flow["w4a8"].comparison)
    assert "own, before" in str(panel.views.layers.columns)
    page = panel.document().html()
    assert "svg+xml" in page and "Applied methods" in page and "seq_mse" in repr(panel)
    panel.discard.click()
    assert flow.proposal is None and panel.views.widget.layout.display == "none"
    assert panel.codes == ['flow.recover("w4a8", ["seq_mse", "correct_bias"])']


def test_keep_makes_it_a_run_and_goes_on_from_there(panel, flow):
    choose(panel, "correct_bias")
    panel.start.click()
    settle(flow)
    panel.keep.click()
    assert "w4a8+correct_bias" in flow and panel.name == "w4a8+correct_bias" == flow.selection.run
    assert panel.boxes["correct_bias"].disabled and panel.decide.layout.display == "none"
    assert panel.views.widget.layout.display is None
    panel.views._clicked({"place": 3})
    assert flow.selection.layer == panel.views.layers.rows[3]["id"]
    panel.run.value = "w4a8"
    assert not panel.boxes["correct_bias"].disabled and "w4a8 loses" in panel.caption.value
    del flow.runs["w4a8+correct_bias"]


def test_nothing_chosen_and_wrong_orders_are_said(panel, flow):
    choose(panel)
    panel.start.click()
    assert "no method selected" in panel.job.text.value
    choose(panel, "adaround", "gptq")
    panel.start.click()
    assert "take one of" in panel.job.text.value


def test_cancel_leaves_no_proposal(panel, flow):
    panel.auto.click()
    panel.job.cancel.click()
    settle(flow)
    assert "cancelled" in panel.job.text.value and flow.proposal is None


def test_without_a_run_it_says_what_to_do():
    panel = new_flow().recovery_panel()
    assert "No run yet" in panel.caption.value and panel.auto.disabled and "no run yet" in repr(panel)
    panel.close()


def test_the_bundle_has_a_static_form_beside_the_live_one(panel):
    bundle = panel._repr_mimebundle_()
    assert {"text/plain", "text/html", MIME, LIVE} <= set(bundle)
    panel.close()
    assert LIVE not in panel._repr_mimebundle_()
