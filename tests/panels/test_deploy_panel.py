"""The deploy panel without a browser: what it says before and after, what its buttons do."""

import pytest

import qnb
from qnb.document import MIME
from qnb.panels.base import LIVE
from qnb.runtimes import qnn_library
from tests.flows import EVIL, deployment, evil_flow, new_flow
from tests.panels.test_panels import all_widgets, settle


@pytest.fixture(scope="module")
def flow():
    made = new_flow()
    made.run("w8a8")
    return made


@pytest.fixture
def panel(flow, tmp_path):
    """Of w8a8, into a folder of this test, on ONNX Runtime only."""
    flow.deployments.clear()
    found = flow.deploy_panel()
    found.boxes["htp"].value = False
    found.folder.value = str(tmp_path / "out")
    yield found
    found.close()


def test_before_it_says_what_it_will_do_and_why(panel):
    assert panel.name == "w8a8" and panel.views.widget.layout.display == "none"
    assert "not deployed yet" in panel.caption.value and "what the device computes" in panel.caption.value
    assert 'flow.deploy("w8a8", "deploy")' in repr(panel) and "svg+xml" in panel.document().html()


def test_deploy_and_look(panel, flow, tmp_path):
    panel.deploy.click()
    assert panel.deploy.disabled and panel.job.cancel.layout.display is None
    settle(flow)
    assert (tmp_path / "out" / "commands.sh").exists() and "w8a8" in flow.deployments
    assert "✓ w8a8 deployed: the simulation agrees" in panel.caption.value and "done" in panel.job.text.value
    views = panel.views
    files = ["w8a8.onnx", "w8a8-float.onnx", "w8a8.encodings", "w8a8-sm8650-htp.json", "w8a8-sm8650-extensions.json"]
    assert [row["id"] for row in views.files.rows] == [*files, "inputs/w8a8/", "expected/w8a8/"]
    assert "qairt-converter" in views.commands.value and views.copy.code == flow.deployments["w8a8"].commands
    assert "ONNX Runtime, CPU" in views.table.value and "top-1 agreement" in views.table.value
    assert panel.codes == [f'flow.deploy("w8a8", "{tmp_path}/out", runtimes=["onnxruntime"])']
    views.bars._heard(None, {"kind": "click", "place": 3}, [])
    assert (flow.selection.run, flow.selection.layer) == ("w8a8", views.order[3])
    assert views.bars.marks == [3] and views.layers.selected == [views.order[3]]
    views.layers.selected = [views.order[5]]
    assert flow.selection.layer == views.order[5] and views.bars.marks == [5]
    panel.run.value = "fp32"
    assert views.widget.layout.display == "none" and "fp32 is not deployed yet" in panel.caption.value
    panel.run.value = "w8a8"
    assert views.widget.layout.display is None and "the simulation agrees" in repr(panel)


def test_cancel(panel, flow, tmp_path):
    panel.deploy.click()
    panel.job.cancel.click()
    settle(flow)
    assert "cancelled" in panel.job.text.value and not flow.deployments and not list((tmp_path / "out").glob("*"))


def test_measure_shows_latency(panel, flow):
    panel.by.value = "latency_ms"
    assert "flow.measure()" in str(panel.plot.figure)
    panel.measure.click()
    settle(flow)
    assert "FP32: w8a8" in panel.plot.alt or "Fastest" in panel.plot.alt
    assert panel.codes == ["flow.measure()"]
    flow.performance.clear()


@pytest.mark.parametrize(("name", "value", "says"), [("folder", " ", "no folder"), ("box", False, "no runtime")])
def test_what_is_missing_is_said_in_the_panel(panel, flow, name, value, says):
    job = flow.job
    (panel.folder if name == "folder" else panel.boxes["onnxruntime"]).value = value
    panel.deploy.click()
    assert says in panel.job.text.value and flow.job is job and not panel.codes


def test_htp_is_disabled_where_it_cannot_run(flow, monkeypatch):
    monkeypatch.setattr(qnn_library, "qnn_available", lambda: f"not {EVIL} installed")
    panel = flow.deploy_panel("fp32")
    assert panel.boxes["htp"].disabled and not panel.boxes["htp"].value and panel.name == "fp32"
    assert "installed" in panel.why.value and "<img" not in panel.why.value
    assert panel.order() == {"run": "fp32", "folder": "deploy", "runtimes": ["onnxruntime"]}


def test_the_socs_that_suit_the_target_come_first(flow):
    panel = flow.deploy_panel()
    first = [value for _, value in panel.soc.options][:2]
    assert first == ["sm8650", "qcs8300"] and panel.soc.value == "sm8650" and len(panel.soc.options) > 20
    panel.soc.value = "sm8550"
    assert panel.order()["soc"] == "sm8550"


def test_without_runs(fresh):
    panel = fresh.deploy_panel()
    assert panel.deploy.disabled and "run a step first" in panel.caption.value and "no run yet" in repr(panel)
    fresh.run("fp16")
    assert not panel.deploy.disabled and panel.name == "fp16"


def test_a_loaded_workflow_shows_it_and_runs_nothing(flow, tmp_path):
    deployment(flow)
    flow.save(tmp_path / "x.qnb")
    panel = qnb.load(tmp_path / "x.qnb").deploy_panel()
    assert panel.deploy.disabled and panel.measure.disabled and "agrees to 35 dB on HTP v75" in panel.caption.value


def test_every_form_and_names_from_outside_stay_text():
    flow = evil_flow()
    made = deployment(flow, EVIL)
    made.runtimes[0].fidelity.loc[0, "layer"] = EVIL
    panel = flow.deploy_panel(EVIL)
    bundle = panel._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html", MIME, LIVE} and "<script" not in bundle["text/html"]
    said = [w.value for w in all_widgets(panel.widget) if type(w).__name__ == "HTML"]
    figures = [str(w.figure) for w in all_widgets(panel.widget) if type(w).__name__ == "Plot"]
    assert "<img src=x" not in "".join([*said, *figures, bundle["text/html"]]) and EVIL in repr(panel)
    panel.close()
    assert LIVE not in panel._repr_mimebundle_()


def test_the_workflow_panel_deploys_too(flow, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flow.deployments.clear()
    asked = []
    monkeypatch.setattr(flow, "deploy", lambda **order: asked.append((order["run"], order["folder"])), raising=False)
    panel = flow.panel()
    panel.deploy_button.click()
    settle(flow)
    assert asked == [("w8a8", "deploy")] and panel.codes == ['flow.deploy("w8a8", "deploy")']
