"""The layer explorer's findings without a browser: diagnose, follow a remedy, show a layer."""

import threading
from dataclasses import replace

import pytest

import qnb
from qnb.html import escape
from qnb.panels.diagnosis_bar import MOST, remedy
from qnb.workflow.diagnosis.finding import NOTHING, Diagnosis, Finding
from tests.flows import EVIL, evil_flow, new_flow
from tests.panels.test_panels import all_widgets, comms, settle

WIDER = Finding(
    "stem.conv has few levels",
    ("stem.conv",),
    "own SQNR 12.3 dB",
    "8-bit weights at stem.conv",
    'flow.run("w4a8", layers={"stem.conv": "w8a8"})',
    3.5,
    4.5,
    run={"precision": "w4a8", "layers": {"stem.conv": "w8a8"}},
)
METHOD = Finding(
    "weights are rounded to the nearest level",
    ("no such layer",),
    "weights add 80 % of the error",
    "correct the biases",
    'flow.recover("w4a8", "correct_bias", epsilon=1)',
    recover={"run": "w4a8", "methods": "correct_bias", "epsilon": 1},
)
PERSON = Finding("the data is of one class only", (), "one class of ten", "give other data", "")


@pytest.fixture(scope="module")
def made():
    flow = new_flow()
    flow.run("w8a8")
    flow.run("w4a8")
    return flow


@pytest.fixture
def flow(made):
    """Its runs and diagnoses are as they were after each test."""
    runs = made.runs
    yield made
    made.runs, made.diagnoses = runs, {}


@pytest.fixture
def bar(flow):
    explorer = flow.explore("w4a8")
    yield explorer.diagnosis
    explorer.close()


def tell(flow, *findings, run="w4a8"):
    """As if `Workflow.diagnose` had found these."""
    flow.diagnoses = flow.diagnoses | {run: Diagnosis(run, "fail", "loses 0.05", findings)}
    flow.changed.emit()


def in_view(bar):
    return [row for row in bar.rows if row.widget.layout.display == "flex"]


def shown(button):
    return button.layout.display is None


def test_diagnose_runs_the_step_and_shows_each_finding(bar, flow):
    assert "tries on a copy" in bar.said.value and bar.found.layout.display == "none" and not bar.start.disabled
    bar.start.click()
    assert bar.start.disabled and flow.job.name == "flow.diagnose('w4a8')"
    settle(flow)
    found = flow.diagnoses["w4a8"]
    assert not bar.start.disabled and bar.panel.codes == ['flow.diagnose("w4a8")'] and len(found) > 0
    assert bar.said.value.startswith(f'<div role="status">{len(found)} finding')
    assert [row.finding for row in in_view(bar)] == list(found)
    for row, finding in zip(in_view(bar), found, strict=True):
        assert escape(finding.cause) in row.text.value and escape(finding.code) in row.text.value
        assert row.code.code == finding.code and escape(finding.gain[1:]) in row.text.value
        assert shown(row.follow) == (finding.run is not None or finding.recover is not None)
    assert found.findings[0].cause in repr(bar.panel)


def test_a_row_says_cause_evidence_remedy_gains_and_code(bar, flow):
    tell(flow, WIDER, PERSON)
    row, other = in_view(bar)
    for words in (WIDER.cause, "Own SQNR 12.3 dB", f"Remedy: {WIDER.remedy}; measured gain 4.5 dB, predicted 3.5 dB"):
        assert words.lower() in row.text.value.lower()
    assert row.follow.tooltip == row.code.code == WIDER.code and not row.follow.disabled and shown(row.follow)
    assert not any(map(shown, (other.follow, other.show, other.code))), "only a person can do that"


def test_do_it_runs_the_remedy_and_both_figures_stand_side_by_side(bar, flow):
    tell(flow, WIDER, METHOD)
    row, other = in_view(bar)
    row.follow.click()
    assert row.follow.disabled and other.follow.disabled and bar.start.disabled, "one step at a time"
    settle(flow)
    assert flow["w4a8+1"].settings["layers"] == {"stem.conv": "w8a8"} and bar.panel.codes == [WIDER.code]
    flow.diagnoses = {"w4a8": flow.diagnoses["w4a8"].followed_by(flow["w4a8+1"], 4.25)}
    flow.changed.emit()
    assert "easured gain 4.5 dB, predicted 3.5 dB; w4a8+1 gained 4.2 dB" in row.text.value
    assert row.follow.disabled and row.follow.tooltip == "Done: w4a8+1" and not other.follow.disabled


def test_do_it_recovers_with_the_options(bar, flow, monkeypatch):
    asked = []
    monkeypatch.setattr(flow, "recover", lambda progress, **given: asked.append(given), raising=False)
    tell(flow, METHOD)
    in_view(bar)[0].follow.click()
    settle(flow)
    assert asked == [METHOD.recover] and bar.panel.codes == [METHOD.code]


def test_what_is_wrong_with_a_remedy_is_said_in_the_panel(bar, flow):
    layers = {EVIL: "w8a8"}
    code = f'flow.run("w4a8", layers={{"{EVIL}": "w8a8"}})'
    tell(flow, replace(WIDER, code=code, run={"precision": "w4a8", "layers": layers}))
    in_view(bar)[0].follow.click()
    settle(flow)
    said = bar.panel.job.text.value
    assert "✗" in said and "no layer matches" in said and "<img" not in said and bar.panel.codes == []
    assert not in_view(bar)[0].follow.disabled


def test_a_diagnosis_that_fails_says_why(bar, flow, monkeypatch):
    def broken(run, progress):
        raise ValueError(EVIL)

    monkeypatch.setattr(flow, "diagnose", broken, raising=False)
    bar.start.click()
    settle(flow)
    said = bar.panel.job.text.value
    assert "ValueError" in said and "<img" not in said and not bar.start.disabled and flow.diagnoses == {}


def test_show_layer_selects_it(bar, flow):
    tell(flow, WIDER, METHOD, replace(WIDER, layers=("classifier", "stem.conv")))
    first, unknown, last = in_view(bar)
    assert shown(first.show) and not shown(unknown.show)
    last.show.click()
    assert flow.selection.layers == ("classifier",) and flow.selection.run == "w4a8"
    first.show.click()
    assert flow.selection.layer == "stem.conv" and "stem.conv" in bar.panel.views.tabs["Values"].histogram.alt


def test_nothing_stands_out(bar, flow):
    tell(flow)
    assert NOTHING in bar.said.value and in_view(bar) == [] and NOTHING in repr(bar.panel)


def test_each_run_has_its_own_findings(bar, flow):
    tell(flow, WIDER, PERSON)
    tell(flow, METHOD, run="w8a8")
    flow.selection.run = "w8a8"
    assert [row.finding for row in in_view(bar)] == [METHOD] and bar.code.code == 'flow.diagnose("w8a8")'
    flow.diagnoses = {}
    flow.changed.emit()
    assert in_view(bar) == [] and "tries on a copy" in bar.said.value


def test_a_long_diagnosis_has_no_endless_panel(bar, flow):
    tell(flow, *[WIDER] * 500)
    assert (
        len(bar.rows) == MOST and f"500 findings, the largest measured gain first. The first {MOST}" in bar.said.value
    )


def test_buttons_wait_for_another_step(bar, flow):
    tell(flow, WIDER)
    held = threading.Event()
    flow.jobs.start("something long", lambda report: held.wait(20))
    assert bar.start.disabled and in_view(bar)[0].follow.disabled and not in_view(bar)[0].show.disabled
    held.set()
    settle(flow)
    assert not bar.start.disabled and not in_view(bar)[0].follow.disabled


def test_what_is_not_shown_is_not_run(flow):
    """A file may hold other arguments than its line of code says."""
    assert remedy(flow, WIDER) == (flow.run, WIDER.run)
    assert remedy(flow, replace(WIDER, code="mine." + WIDER.code.partition(".")[2])) == (flow.run, WIDER.run)
    for other in (
        replace(WIDER, run=WIDER.run | {"name": "w8a8"}),
        replace(WIDER, run={"layers": {}}),
        replace(WIDER, code=""),
        replace(METHOD, recover=METHOD.recover | {"cache": "/tmp/x"}),
        replace(METHOD, recover={"methods": "adaround"}),
        PERSON,
    ):
        assert remedy(flow, other) is None


def test_names_from_outside_stay_text():
    flow = evil_flow()
    evil = Finding(EVIL, (EVIL,), EVIL, EVIL, f'flow.run("{EVIL}")', 1.0, 2.0, run={"precision": EVIL}, followed=EVIL)
    tell(flow, evil, run=EVIL)
    explorer = flow.explore(EVIL)
    values = [w.value for w in all_widgets(explorer.widget) if type(w).__name__ == "HTML"]
    assert "<img" not in "".join(values) and explorer.diagnosis.rows[0].text.value.count("&lt;img") == 5
    assert "<img src=x" not in explorer.document().html() and EVIL in repr(explorer)
    explorer.diagnosis.rows[0].show.click()
    assert flow.selection.layer == EVIL
    explorer.close()


def test_a_loaded_workflow_shows_findings_and_says_why_nothing_runs(flow, tmp_path):
    tell(flow, WIDER)
    flow.save(tmp_path / "x.qnb")
    loaded = qnb.load(tmp_path / "x.qnb")
    explorer = loaded.explore("w4a8")
    bar = explorer.diagnosis
    (row,) = in_view(bar)
    assert WIDER.cause in row.text.value and row.follow.disabled and bar.start.disabled
    assert "qnb.load(path, model=" in bar.said.value and "qnb.load(path, model=" in row.follow.tooltip
    row.show.click()
    assert loaded.selection.layer == "stem.conv"
    explorer.close()


def test_closing_frees_every_row(flow):
    flow.explore("w4a8").close()
    before = comms()
    explorer = flow.explore("w4a8")
    tell(flow, WIDER, METHOD)
    assert len(explorer.diagnosis.rows) == 2
    tell(flow, WIDER)
    explorer.close()
    assert comms() == before
