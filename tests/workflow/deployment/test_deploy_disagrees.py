"""A deployment that a runtime refuses, or computes otherwise, says so wherever it is shown, and is never "deployed"."""

import json
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

import qnb
from qnb.errors import TargetError
from qnb.html import TONES
from qnb.runtimes import RUNTIMES, OnnxRuntime, QnnHtp, qnn_library
from qnb.workflow.deployment import deploy
from qnb.workflow.deployment.result import Deployment
from qnb.workflow.documents import workflow as documents
from qnb.workflow.guidance import stages

CPU = "onnxruntime"
SAYS = (
    "✗ w8a8 not deployed: on {} output 'classes' disagrees with the simulation (",
    " expected); it begins at layer 'softmax' (softmax: ",
    ", its input is the same)",
)


class Detector(nn.Module):
    """Boxes beside classes."""

    def __init__(self):
        super().__init__()
        self.stem, self.boxes, self.classes = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1), nn.Conv2d(8, 5, 1)

    def forward(self, x):
        hidden = torch.relu(self.stem(x))
        return {"boxes": self.boxes(hidden) * 20, "classes": self.classes(hidden).softmax(1)}


def detector_flow(precisions=("w8a8", "w8a16")):
    torch.manual_seed(0)
    batches = [torch.randn(8, 3, 8, 8) for _ in range(2)]
    flow = qnb.Workflow(Detector().eval(), batches, lambda model: 1.0, tolerance=0.01)
    flow.check()
    for precision in ("fp16", "w16a16", *precisions):
        flow.run(precision)
    return flow


def off(values, by=0.75):
    """Values, or codes of 0..1, that are off by so much."""
    steps = {torch.uint8: 255, torch.uint16: 65535}.get(values.dtype)
    return values + by if steps is None else values.int() + round(by * steps)


class WithoutZeroPoint(OnnxRuntime):
    """A runtime whose 8-bit softmax is off by a part of its range, wherever it is read."""

    def values(self, names, *inputs):
        softmax = next(entry["tensor"] for entry in self.metadata["layers"] if entry["layer"] == "softmax")
        found = super().values(names, *inputs)
        return {name: off(value) if name == softmax else value for name, value in found.items()}

    def run(self, *inputs):
        found = super().run(*inputs)
        return tuple(off(v) if t.name == "classes" else v for t, v in zip(self.outputs, found, strict=True))

    def compile(self, path):
        for file in (path, path.with_suffix(".bin")):
            file.write_bytes(b"compiled")
        return path


class Elsewhere(WithoutZeroPoint):
    """The same in HTP's place."""

    name, title, home, rank, compiles = "htp", "HTP", "HTP", 1, True
    title_for = QnnHtp.title_for

    def placement(self):
        return super().placement().assign(provider="HTP")


@pytest.fixture
def odd_htp(monkeypatch):
    """HTP computes a softmax otherwise, as it did at 8 bits under a range with a zero point."""
    monkeypatch.setitem(RUNTIMES.rows, "htp", Elsewhere)


@pytest.fixture(scope="module")
def flow():
    return detector_flow()


@pytest.fixture(scope="module")
def failed(flow, tmp_path_factory):
    """(flow, its deployment): ONNX Runtime agrees, HTP does not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RUNTIMES.rows, "htp", Elsewhere)
        return flow, flow.deploy("w8a8", tmp_path_factory.mktemp("out"), samples=8)


def said(text, on="HTP v75"):
    """Whether a text says which output, on which runtime, how far, and where it begins; and no "deployed" of it."""
    words = [part.format(on) for part in SAYS]
    return all(part in text for part in words) and "w8a8 deployed" not in text


def plain(page: str) -> str:
    return page.replace("&#x27;", "'").replace("&#39;", "'")


def test_the_states_say_which_runtime_it_is(failed):
    _, found = failed
    assert (found[CPU].status, found["htp"].status) == ("completed", "disagrees")
    assert found[CPU].agrees and not found["htp"].agrees and not found.agrees and not found.simulation_confirmed
    worst = found["htp"].disagreement
    assert (worst.output, worst.layer, worst.op) == ("classes", "softmax", "softmax")
    assert worst.sqnr_db < worst.expected_db and worst.input_db > 40


def test_text_and_html(failed):
    _, found = failed
    text, page = repr(found), plain(found._repr_html_())
    assert said(text.splitlines()[0]) and said(page) and found.document().tone == "bad"
    for words in (
        "HTP v75 computes something else from them",
        "these files do not compute",
        "disagrees",
        "run it again with more bits at layer 'softmax'",
        "Do not ship these files",
    ):
        assert words in text and words in page, words


def test_every_output_is_shown_by_name(failed):
    _, found = failed
    (table,) = [b for b in found.document().blocks if getattr(b, "caption", "") == "Output by output"]
    rows = {(r.output, r.runtime): r.agrees for r in table.frame.itertuples()}
    assert rows["boxes", "HTP v75"] == "yes" and rows["classes", "ONNX Runtime, CPU"] == "yes"
    assert rows["classes", "HTP v75"].startswith("no: ")


def test_the_chart_marks_the_layer(failed):
    _, found = failed
    (chart,) = [b for b in found.document().blocks if hasattr(b, "figure")]
    title = chart.figure["layout"]["title"]["text"]
    assert title.startswith(f"{found['htp'].title} disagrees from layer softmax on: ")
    order = list(chart.figure["data"][0]["x"])
    assert [s["x0"] for s in chart.figure["layout"]["shapes"]] == [order.index("softmax")]


def test_the_panel(failed):
    flow, _ = failed
    panel = flow.deploy_panel("w8a8")
    told = plain(panel.caption.value)
    assert said(told) and 'role="alert"' in told and "Do not ship these files" in told
    assert said(repr(panel)) and "Output by output" in panel.views.table.value
    panel.close()


def test_ladder_next_steps_dashboard_and_report(failed, tmp_path):
    flow, found = failed
    stage = stages.stages(flow)[-1]
    assert (stage.status, stage.mark, stage.run) == ("fail", "✗", "w8a8") and said(f"✗ {stage.text}")
    first, *rest = flow.next_steps()
    assert first.title == "Do not ship W8A8" and said(f"✗ {first.reason}") and first.code == 'flow.deploy_panel("w8a8")'
    orders = [a for a in rest if a.deploy or a.run]
    assert orders[0].deploy == {"run": "w8a16", "folder": "deploy"} and orders[0].title == "Deploy W8A16 instead"
    assert orders[1].run == {"precision": "w8a8", "layers": {"softmax": "w8a16"}}
    assert not any("commands" in a.code for a in flow.next_steps())
    dashboard = documents.dashboard(flow)
    assert said(dashboard.text())
    assert any(b.tone == "bad" and said(b.words) for b in dashboard.blocks if hasattr(b, "words"))
    flow.report(tmp_path / "x.html", interactive=False)
    page = plain((tmp_path / "x.html").read_text())
    assert said(page) and f'border-left:4px solid {TONES["bad"]};padding-left:8px">✗ w8a8 not deployed' in page
    panel = flow.panel()
    assert said(repr(panel).replace("✗ Deploy   w8a8", "✗ w8a8"))
    panel.close()


def test_the_layer_with_more_bits_is_a_run(flow):
    order = {"precision": "w8a8", "layers": {"softmax": "w8a16"}}
    assert flow.run(**order, name="wider").sim.layers().set_index("layer").activation_bits["softmax"] == 16


def test_saved_and_loaded_it_says_the_same(failed, tmp_path):
    flow, found = failed
    flow.save(tmp_path / "x.qnb")
    again = qnb.load(tmp_path / "x.qnb")
    loaded = again.deployments["w8a8"]
    assert repr(loaded) == repr(found)
    assert repr(loaded["htp"].differences) == repr(found["htp"].differences)
    assert loaded._repr_html_() == found._repr_html_() and loaded["htp"].status == "disagrees"
    assert again.next_steps() == flow.next_steps() and stages.stages(again) == stages.stages(flow)


def test_a_file_from_before_it_was_judged_is_judged_when_it_is_read(failed, tmp_path):
    flow, _ = failed
    flow.save(tmp_path / "new.qnb")
    with zipfile.ZipFile(tmp_path / "new.qnb") as new, zipfile.ZipFile(tmp_path / "old.qnb", "w") as old:
        for name in new.namelist():
            data = new.read(name)
            if name == "workflow.json":
                content = json.loads(data)
                for stored in content["deployments"]:
                    for on in stored["runtimes"]:
                        del on["differences"]
                        on["status"] = "completed"
                data = json.dumps(content)
            old.writestr(name, data)
    loaded = qnb.load(tmp_path / "old.qnb").deployments["w8a8"]
    assert loaded[CPU].status == "completed" and loaded["htp"].status == "disagrees"
    assert said(repr(loaded)) and loaded.document().tone == "bad"


def test_a_part_of_an_output_that_larger_values_hide(tmp_path, monkeypatch):
    """One output of boxes in the hundreds and scores: 45 dB as a whole, and the scores are nonsense."""

    class Joined(Detector):
        def forward(self, x):
            found = super().forward(x)
            return torch.cat([found["boxes"] * 50, found["classes"]], 1)

    class Odd(WithoutZeroPoint):
        def run(self, *inputs):
            whole = OnnxRuntime.run(self, *inputs)
            return torch.cat([whole[:, :4], off(whole[:, 4:])], 1)

    torch.manual_seed(0)
    batches = [torch.randn(8, 3, 8, 8)]
    flow = qnb.Workflow(Joined().eval(), batches, lambda model: 1.0)
    flow.run("w8a16")
    monkeypatch.setitem(RUNTIMES.rows, CPU, Odd)
    found = flow.deploy("w8a16", tmp_path, runtimes=CPU, samples=4)
    assert found[CPU].output_sqnr_db > 45
    assert "✗ w8a16 not deployed: on ONNX Runtime, CPU the part of output 'output' from layer 'softmax'" in repr(found)
    assert "Also" not in repr(found), "the output as a whole is not said to disagree"


def write_other_weights(monkeypatch):
    """Files are of a simulation with other weights in one layer."""
    plain_export = deploy.export_onnx

    def other(sim, path, **how):
        changed = sim.copy()
        weights = changed.weight(next(k for k in changed.plan.weights if changed.plan.weights[k].layer == "classes"))
        weights.set_encoding(weights.scale * 0.05, weights.zero_point)
        return plain_export(changed, path, **how)

    monkeypatch.setattr(deploy, "export_onnx", other)


def test_a_file_that_is_another_model_is_found_out(flow, tmp_path, monkeypatch):
    """Nothing stands in here: the files are of a simulation with other weights in one layer."""
    write_other_weights(monkeypatch)
    found = flow.deploy("w8a16", tmp_path, runtimes=CPU, samples=4)
    assert repr(found).startswith("✗ w8a16 not deployed: on ONNX Runtime, CPU output 'classes' disagrees")
    assert found[CPU].disagreement.layer == "classes"


class TestRefused:
    @pytest.fixture
    def refused(self, flow, tmp_path, monkeypatch):
        class Refusing(QnnHtp):
            @classmethod
            def open(cls, path, soc, threads):
                raise TargetError("QnnHtp", "sm8650 does not take softmax (Softmax)", "choose another precision")

        monkeypatch.setitem(RUNTIMES.rows, "htp", Refusing)
        return lambda **how: flow.deploy("w8a8", tmp_path, samples=2, evaluate=False, **how)

    def test_is_no_success_where_another_runtime_agrees(self, flow, refused):
        found = refused()
        assert repr(found).startswith("✗ w8a8 not deployed: HTP v75 refuses its file; the simulation agrees ")
        assert (
            "w8a8 deployed" not in repr(found) and found.document().tone == "bad" and found[CPU].status == "completed"
        )
        assert "does not take softmax (Softmax). choose another precision" in repr(found)
        assert "nothing is known of w8a8 there" in repr(found) and "HTP v75 refuses the file" in repr(found)
        stage, first = stages.stages(flow)[-1], flow.next_steps()[0]
        assert stage.status == "fail" and "w8a8 not deployed: HTP v75 refuses its file" in stage.text
        assert first.title == "Do not ship W8A8" and "Nothing is known of its accuracy on the target" in first.reason
        assert not any("commands" in a.code or a.title.startswith("Give layer") for a in flow.next_steps())

    def test_alone(self, refused):
        assert repr(refused(runtimes="htp")).startswith("✗ w8a8 not deployed: HTP v75 refuses its file\n")


def test_where_htp_is_not_installed_the_files_are_written_and_not_verified(flow, tmp_path, monkeypatch):
    monkeypatch.setattr(qnn_library, "unsupported", lambda: None)
    monkeypatch.setitem(sys.modules, "onnxruntime_qnn", None)
    found = flow.deploy("w8a8", tmp_path, samples=2, evaluate=False)
    assert repr(found).startswith("! w8a8 written, not verified on HTP v75 (not installed); the simulation agrees ")
    assert found.document().tone == "warn" and not found.failure and not found.agrees
    alone = flow.deploy("w8a8", tmp_path, samples=2, evaluate=False, runtimes="htp")
    assert repr(alone).startswith("! w8a8 written, not verified on HTP v75 (not installed)\n")
    assert stages.stages(flow)[-1].status == "unclear"
    assert (Path(alone.folder) / "w8a8.onnx").exists() and isinstance(alone, Deployment)


def test_on_htp_itself(htp, flow, tmp_path, monkeypatch):
    """The files are of a simulation whose scores have other weights."""
    right = flow.deploy("w8a8", tmp_path, runtimes="htp", samples=2, evaluate=False)
    assert right.agrees and repr(right).startswith("✓ w8a8 deployed: the simulation agrees ")
    write_other_weights(monkeypatch)
    found = flow.deploy("w8a8", tmp_path, runtimes="htp", samples=2, evaluate=False)
    assert found["htp"].status == "disagrees" and found["htp"].disagreement.layer == "classes"


class Surprisal(nn.Module):
    """A logarithm of 16 bits, which HTP computes wrongly; ``log_softmax``, its remedy, it does not."""

    def __init__(self, remedied=False):
        super().__init__()
        self.conv, self.remedied = nn.Conv2d(3, 8, 3), remedied

    def forward(self, x):
        scores = self.conv(x)
        return scores.log_softmax(1) if self.remedied else torch.log(scores.softmax(1) + 0.05)


def surprisal(remedied):
    torch.manual_seed(0)
    batches = [torch.randn(4, 3, 8, 8)]
    return qnb.Workflow(Surprisal(remedied).eval(), batches, lambda model: 1.0, tolerance=0.01)


def test_what_is_known_of_the_target_is_said_with_the_remedy(htp, tmp_path):
    flow, after = surprisal(remedied=False), surprisal(remedied=True)
    warned = str(flow.check())
    flow.run("w8a16")
    found = flow.deploy("w8a16", tmp_path / "out", samples=4)
    assert found["htp"].status == "disagrees" and not found[CPU].known
    (known,) = found["htp"].known
    assert "computes log wrongly, layer 'log': use 8-bit activations there, or log_softmax" in known and known in warned
    assert f"Known: {known}." in str(found)
    flow.save(tmp_path / "saved.qnb")
    assert qnb.load(tmp_path / "saved.qnb").deployments["w8a16"]["htp"].known == (known,)
    after.run("w8a16")
    remedied = after.deploy("w8a16", tmp_path / "remedied", samples=4)["htp"]
    assert remedied.agrees and not remedied.known
