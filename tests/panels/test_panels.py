"""Panels without a browser: what their widgets say, what their buttons do, what is left when they close."""

import time

import pytest

from qnb import panels
from qnb.document import MIME
from qnb.errors import InputError
from qnb.panels import shelf
from qnb.panels.base import LIVE
from tests.flows import EVIL, evil_flow, new_flow
from tests.workflow.next_steps_table import passing
from tests.workflow.stubs import deployed, stub_flow, stub_run


@pytest.fixture
def flow():
    flow = new_flow()
    flow.run("w8a8")
    flow.run("w4a8")
    return flow


def settle(flow):
    """Wait for the job, and until the panels have heard of its end."""
    flow.job._thread.join(60)
    assert not flow.job.running
    time.sleep(0.05)


def comms():
    import comm

    return len(comm.get_comm_manager().comms)


class TestWorkflowPanel:
    def test_without_runs_it_says_what_to_do(self, fresh):
        panel = fresh.panel()
        assert "<b>Next: Check the model.</b> Before any numbers" in panel.steps[0].text.value
        assert panel.steps[0].text.value.count("?.") == 0 and not panel.next_button.disabled
        assert panel.steps[1].widget.layout.display == "none"
        assert panel.results.layout.display == "none" and "to do" in panel.stages["fp16"].value
        assert "flow.check()" in repr(panel)

    def test_run_next_walks_the_ladder(self, fresh, monkeypatch):
        flow, panel = fresh, fresh.panel()
        monkeypatch.setattr(flow, "deploy", lambda run, folder, progress: deployed(flow, run), raising=False)
        for _ in range(5):
            panel.next_button.click()
            settle(flow)
        assert "done" in panel.job.text.value and panel.grid.rows[0]["id"] == "fp32"
        assert panel.codes == [
            "flow.check()",
            'flow.run("fp16")',
            'flow.deploy("fp16", "deploy")',
            'flow.run("w16a16")',
            'flow.run("w8a16")',
        ]

    def test_run_next_stands_beside_the_step_that_it_does(self):
        """The first one, unless that needs a person."""
        for flow, place in (
            (stub_flow(*passing("fp16")), 0),
            (stub_flow(*passing("w16a16"), stub_run("w8a16", "unclear")), 1),
            (stub_flow(stub_run("fp16", "fail"), *passing("w16a16", "w8a8", "w4a8")), 0),
        ):
            panel = flow.panel()
            assert panel.next_step is flow.next_steps()[place] or panel.next_step == flow.next_steps()[place]
            lines = [panel.next_button in step.widget.children for step in panel.steps]
            assert lines == [place == 0, place == 1] and panel.next_button.layout.display is None
            assert panel.steps[0].text.value.startswith("<div><b>Next: ") and panel._action() is not None
            assert "Or: " in panel.steps[1].text.value or panel.steps[1].widget.layout.display == "none"
            assert [step.code.code for step in panel.steps if step.code.layout.display is None] == [
                a.code for a in flow.next_steps()[:2] if a.code
            ]
            panel.close()

    def test_where_nothing_is_left_to_do_there_is_no_dead_button(self):
        panel = deployed(stub_flow(*passing("w16a16", "w4a8")), "w4a8").panel()
        assert "Done here: run W4A8 on the device" in panel.steps[0].text.value
        assert panel.next_button.layout.display == "none" and "commands" in panel.steps[0].code.code

    def test_a_proposal_is_kept_by_run_next(self):
        flow = stub_flow(*passing("w16a16", "w8a8"), stub_run("w4a8", "fail"))
        flow.proposal = stub_run("w4a8+auto", "pass", "w4a8", base="w4a8", auto=True)
        panel = flow.panel()
        panel.next_button.click()
        assert "w4a8+auto" in flow and flow.proposal is None and "Deploy w4a8+auto" in panel.steps[0].text.value

    def test_any_precision_can_be_typed(self, fresh):
        panel = fresh.panel()
        panel.precision.value = "w6a8"
        panel.run_buttons[3].click()
        settle(fresh)
        assert "w6a8" in fresh and "w6a8" in panel.stages["reduce"].value

    def test_what_is_wrong_is_said_in_the_panel(self, fresh):
        panel = fresh.panel()
        panel.precision.value = EVIL
        panel.run_buttons[3].click()
        assert fresh.job is None and "✗" in panel.job.text.value and "<img" not in panel.job.text.value

    def test_a_step_that_fails_says_why(self, flow):
        panel = flow.panel()

        def broken(model):
            raise ValueError(EVIL)

        flow.evaluate = broken
        panel.run_buttons[1].click()
        settle(flow)
        assert "ValueError" in panel.job.text.value and "<img" not in panel.job.text.value
        assert "fp16" not in flow and not panel.run_buttons[1].disabled

    def test_cancel(self, flow):
        panel = flow.panel()
        panel.run_buttons[1].click()
        panel.job.cancel.click()
        settle(flow)
        assert "cancelled" in panel.job.text.value and "fp16" not in flow and panel.job.cancel.disabled

    def test_clicks_select_runs_in_every_panel(self, flow):
        one, other = flow.panel(), flow.panel()
        one.plot._heard(None, {"kind": "click", "text": "w4a8"}, [])
        assert flow.selection.run == "w4a8" and other.grid.selected == ["w4a8"]
        other.grid.selected = ["w8a8"]
        assert flow.selection.run == "w8a8" and one.grid.selected == ["w8a8"]
        one.plot._heard(None, {"kind": "click", "text": "no such run"}, [])
        assert flow.selection.run == "w8a8"


class TestLayerExplorer:
    def test_it_opens_at_the_weakest_layer(self, flow):
        explorer = flow.explore("w4a8")
        assert flow.selection.layer == flow["w4a8"].weakest_layer[0]
        assert explorer.bars.marks == [explorer.order.index(flow.selection.layer)]
        assert (
            flow.selection.layer in explorer.views.tabs["Values"].histogram.alt
            and "SQNR, own error" in explorer.views.tabs["Values"].figures.value
        )

    def test_a_click_changes_the_detail(self, flow):
        explorer = flow.explore("w4a8")
        before = explorer.views.tabs["Values"].figures.value
        explorer.bars._heard(None, {"kind": "click", "place": 7}, [])
        assert flow.selection.layer == explorer.order[7] and explorer.views.tabs["Values"].figures.value != before
        assert explorer.views.grid.selected == [explorer.order[7]]
        explorer.bars._heard(None, {"kind": "click", "place": 9, "more": True}, [])
        assert len(flow.selection.layers) == 2 and explorer.bars.marks == [7, 9]

    @pytest.mark.parametrize(("key", "to"), [("ArrowRight", 4), ("ArrowLeft", 2), ("Home", 0), ("End", -1)])
    def test_keys(self, flow, key, to):
        explorer = flow.explore("w4a8")
        flow.selection.layer = explorer.order[3]
        explorer.bars._heard(None, {"kind": "key", "key": key}, [])
        assert flow.selection.layer == explorer.order[to]

    @pytest.mark.parametrize(
        "message",
        [{"kind": "click", "place": 10**9}, {"kind": "click"}, {"kind": "key"}, {}, {"kind": "click", "place": "x"}],
    )
    def test_odd_messages_do_nothing(self, flow, message):
        explorer = flow.explore("w4a8")
        before = flow.selection.layer
        explorer.bars._heard(None, message, [])
        assert flow.selection.layer == before

    def test_every_tab_draws_the_selected_layer(self, flow):
        explorer = flow.explore("w4a8")
        flow.selection.layer = "stem.conv"
        views = explorer.views
        order = list(views.tabs)
        for tab, plot in (("FP32 vs quantized", "plot"), ("Weight ranges", "plot"), ("Distribution", "errors")):
            views.widget.selected_index = order.index(tab)
            assert "stem.conv" in getattr(views.tabs[tab], plot).alt
        figures = views.tabs["Distribution"].figures.value
        assert "kurtosis" in figures and "of 256" in figures and "Channels: the" in figures and "Tokens" not in figures
        views.widget.selected_index = order.index("Worst cases")
        assert (
            "Channels with the largest error" in views.tabs["Worst cases"].widget.value
            and "Input samples" in views.tabs["Worst cases"].widget.value
        )
        flow.selection.layer = "pool"
        views.widget.selected_index = order.index("Weight ranges")
        assert "no weights" in str(views.tabs["Weight ranges"].plot.figure)

    def test_modules_fold_into_one_bar_and_open_by_a_click(self, flow):
        explorer = flow.explore("w4a8")
        layers = len(explorer.order)
        explorer.modules.value = True
        assert "blocks.0" in explorer.order and len(explorer.order) < layers
        explorer.bars._heard(None, {"kind": "click", "place": explorer.order.index("blocks.0")}, [])
        assert "blocks.0.add" in explorer.order and "blocks.1" in explorer.order
        explorer.modules.value = False
        assert len(explorer.order) == layers

    def test_what_if_try_undo_keep(self, flow):
        explorer = flow.explore("w4a8")
        flow.selection.layer = "stem.conv"
        bar = explorer.what_if
        bar.precision.value = "w8a8"
        bar.tries.click()
        settle(flow)
        assert "stem.conv: w8a8" in bar.result.value and "→" in bar.result.value and not bar.keep.disabled
        bar.undo.click()
        assert "→" not in bar.result.value and bar.keep.disabled and list(flow.runs) == ["fp32", "w8a8", "w4a8"]
        bar.tries.click()
        settle(flow)
        bar.keep.click()
        settle(flow)
        assert flow["w4a8+1"].settings["layers"] == {"stem.conv": "w8a8"}
        assert explorer.codes == ['flow.run("w4a8", layers={"stem.conv": "w8a8"})']

    def test_two_runs(self, flow):
        explorer = flow.explore("w4a8", "w8a8")
        assert len(explorer.bars.figure["data"]) == 2 and explorer.views.tabs["Values"].figures.value.count("<th ") == 3
        explorer.compared_to.value = "(none)"
        assert flow.selection.compared_to is None and explorer.views.tabs["Values"].figures.value.count("<th ") == 2

    def test_the_difference_of_two_runs(self, flow):
        explorer = flow.explore("w4a8", "w8a8")
        assert "w4a8 is worse than w8a8: loses" in explorer.verdict.value and "is worse than" in repr(explorer)
        assert explorer.difference.layout.display is None and explorer.bars.figure["layout"]["barmode"] == "group"
        explorer.difference.value = True
        assert "layers won" in explorer.bars.alt and "w4a8 against w8a8" in str(explorer.bars.figure["layout"]["title"])
        explorer.bars._heard(None, {"kind": "click", "place": 7}, [])
        assert flow.selection.layer == explorer.order[7] and explorer.bars.marks == [7]
        explorer.modules.value = True
        assert len(explorer.bars.figure["data"][0]["x"]) == len(explorer.order) < len(flow["w4a8"].comparison)
        explorer.compared_to.value = "(none)"
        assert explorer.verdict.value == "" and explorer.difference.layout.display == "none"
        assert "weakest layer" in explorer.bars.alt, "of one run there are its own bars"

    def test_a_run_made_again_is_compared_again(self, flow):
        explorer = flow.explore("w4a8", "w8a8")
        flow.run("w4a8", layers={"*": "w8a8"}, name="w4a8")
        assert "w8a8 and w4a8: no difference" in explorer.verdict.value

    def test_choosing_another_run_reads_its_layers(self, flow):
        explorer = flow.explore("w4a8")
        explorer.run.value = "w8a8"
        explorer.views._reading.wait(60)
        assert (
            flow.selection.run == "w8a8"
            and flow.profiles.of(flow["w8a8"])
            and "w8a8" in explorer.views.tabs["Values"].histogram.alt
        )

    def test_wrong_runs_are_refused(self, flow, fresh):
        for names, message in ((("fp32",), "reference itself"), (("w1",), "no run"), (("w8a8",) * 3, "one or two")):
            with pytest.raises(InputError, match=message):
                flow.explore(*names)
        with pytest.raises(InputError, match="run one"):
            fresh.explore()


def test_the_same_layers_in_a_loaded_workflow(flow, tmp_path):
    import qnb

    flow.save(tmp_path / "x.qnb")
    loaded = qnb.load(tmp_path / "x.qnb")
    explorer, panel = loaded.explore("w4a8"), loaded.panel()
    assert "need the model" in str(explorer.views.tabs["Values"].histogram.figure) and explorer.what_if.tries.disabled
    assert all(b.disabled for b in panel.run_buttons) and "from a file" in repr(panel)
    assert panel.next_button.disabled and "To run more steps: qnb.load(path, model=" in panel.steps[0].text.value


def test_the_bundle_has_every_form(flow):
    for panel in (flow.panel(), flow.explore("w4a8")):
        bundle = panel._repr_mimebundle_()
        assert set(bundle) == {"text/plain", "text/html", MIME, LIVE} and "<script" not in bundle["text/html"]
        panel.close()
        assert LIVE not in panel._repr_mimebundle_() and repr(panel)
        flow.run("w8a8")  # a closed panel hears nothing any more


def test_closing_frees_every_comm(flow):
    panels.widgets.Library.ready()
    before, listeners = comms(), len(flow.changed)
    for _ in range(3):
        made = [flow.panel(), flow.explore("w4a8")]
        assert comms() > before + 50
        for panel in made:
            panel.close()
        assert comms() == before and len(flow.changed) == listeners


def test_a_new_run_of_a_cell_closes_what_it_had_made(flow, monkeypatch):
    cell = {"id": "a", "count": 1}
    monkeypatch.setattr(shelf, "_cell", lambda: (cell["id"], cell["count"]))
    first, second = flow.panel(), flow.panel()
    assert not first.closed, "one cell may show two"
    cell["count"] = 2
    third = flow.panel()
    assert first.closed and second.closed and not third.closed
    cell["id"] = "b"
    assert not flow.panel().closed and not third.closed


def test_names_from_outside_stay_text():
    flow = evil_flow()
    for panel in (flow.panel(), flow.explore(EVIL)):
        html = [w.value for w in all_widgets(panel.widget) if type(w).__name__ == "HTML"]
        figures = [str(w.figure) for w in all_widgets(panel.widget) if type(w).__name__ == "Plot"]
        assert "<img" not in "".join(html + figures) and EVIL in repr(panel)


def all_widgets(widget):
    yield widget
    for child in getattr(widget, "children", ()):
        yield from all_widgets(child)


def test_a_panel_that_cannot_be_drawn_spoils_no_step(flow):
    panel = flow.panel()

    def broken():
        raise RuntimeError(EVIL)

    panel.draw = broken
    assert flow.run("w16a16").verdict.status == "pass"
    assert "could not be drawn" in panel.job.text.value and "<img" not in panel.job.text.value


def test_what_is_known_is_shown_while_something_else_is_read(flow):
    explorer = flow.explore("w4a8")
    with flow.profiles.lock:  # another run's layers
        flow.selection.layer = "classifier"
        assert "classifier" in explorer.views.tabs["Values"].histogram.alt


def test_cancel_stays_in_view_when_something_else_has_been_said(flow):
    import threading

    held, explorer = threading.Event(), flow.explore("w4a8")
    flow.jobs.start("something long", lambda report: held.wait(20))
    explorer.job.say("")
    assert explorer.job.widget.layout.display == "flex" and not explorer.job.cancel.disabled
    held.set()
    settle(flow)
    assert explorer.job.cancel.disabled
