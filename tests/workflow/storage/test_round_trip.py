"""All that a workflow found comes back from its file, and shows the same."""

import dataclasses
import json
import zipfile

import pandas as pd
import pytest
import torch

import qnb
from qnb import targets
from qnb.measures import Score
from qnb.workflow.documents import workflow as documents
from qnb.workflow.guidance import stages
from qnb.workflow.storage import writing
from tests.flows import EVIL, OWN_TARGET, new_flow, twofold

NOTE = " (from a file)"


@pytest.fixture(scope="module")
def path(full, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "full.qnb"
    full.save(path)
    return path


@pytest.fixture(scope="module")
def loaded(path):
    return qnb.load(path)


@pytest.fixture(scope="module")
def going_on(path):
    model, calibration, evaluate = twofold()
    return qnb.load(path, model=model, calibration=calibration, evaluate=evaluate)


def same(a, b, where=""):
    """Whether two results are equal in all parts, frames with dtypes, NaN being itself."""
    assert type(a) is type(b), where
    if isinstance(a, pd.DataFrame):
        pd.testing.assert_frame_equal(a, b, check_exact=True, obj=where)
        same(a.attrs, b.attrs, f"{where}.attrs")
    elif dataclasses.is_dataclass(a) and not isinstance(a, Score):
        for field in dataclasses.fields(a):
            same(getattr(a, field.name), getattr(b, field.name), f"{where}.{field.name}")
    elif isinstance(a, dict):
        assert list(a) == list(b), where
        for key in a:
            same(a[key], b[key], f"{where}[{key!r}]")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for index, (x, y) in enumerate(zip(a, b, strict=True)):
            same(x, y, f"{where}[{index}]")
    elif isinstance(a, qnb.QuantSim):
        assert (
            a.encodings().equals(b.encodings())
            and a.applied_methods == b.applied_methods
            and a.layers().equals(b.layers())
        ), where
    else:
        assert a == b or (a != a and b != b), where


@pytest.mark.parametrize(
    "part",
    [
        "check_result",
        "runs",
        "proposal",
        "sensitivities",
        "attributions",
        "calibration_curves",
        "diagnoses",
        "deployments",
        "performance",
        "target",
        "tolerance",
        "calibration_method",
        "evaluation_forwards",
    ],
)
def test_every_result_is_equal(full, loaded, part):
    assert getattr(full, part)
    same(getattr(full, part), getattr(loaded, part), part)


def test_what_the_full_flow_holds_is_all_there_is(full):
    """Else these tests would not see what is missing in a file."""
    for run in (full["low+equalize+adaround"], full["low+auto"], full.proposal):
        assert run.recovery and run.sim is not None and run.settings["from"].startswith("low")
    assert len(full["low+auto"].attempts) > 1
    assert full["fp16"].float16 is not None and full["low+auto"].attempts is not None and full["low+auto"].next_steps
    assert len(full["low+equalize+adaround"].recovery[1].history) and full["low+mixed-1"].recovery[0].tables
    assert full["low+equalize+adaround"].sim.captured is not full.captured and len(full.diagnoses["low"]) >= 1
    assert len(full["low"].clipping) > 3 and full["fp16"].clipping is None and full["fp32"].clipping is None
    assert full["w8a8"].score.per_sample and full["low"].settings["options"] == {"percentile": 99.5}


def forms(document):
    return document.text(), document.html(), json.dumps(document.json())


def test_it_shows_the_same(full, loaded, going_on):
    expected = forms(documents.dashboard(full))
    assert forms(documents.dashboard(going_on)) == expected
    from_file = forms(documents.dashboard(loaded))
    assert tuple(text.replace(NOTE, "") for text in from_file) == expected and all(NOTE in text for text in from_file)
    assert forms(going_on.document()) == forms(full.document())
    assert repr(loaded).replace(NOTE, "") == repr(full) and loaded._repr_html_().replace(NOTE, "") == full._repr_html_()
    assert forms(going_on.panel().document()) == forms(full.panel().document())


def test_every_part_of_it_shows_the_same(full, loaded, going_on):
    for flow in (loaded, going_on):
        pd.testing.assert_frame_equal(flow.summary(), full.summary())
        assert flow.next_steps() == full.next_steps() and stages.stages(flow) == stages.stages(full)
        for name, run in full.runs.items():
            assert forms(flow[name].document()) == forms(run.document())
            for a, b in zip(flow[name].recovery, run.recovery, strict=True):
                assert forms(a.document()) == forms(b.document())
        for part in (
            "sensitivities",
            "attributions",
            "calibration_curves",
            "pareto_fronts",
            "diagnoses",
            "deployments",
        ):
            for name, found in getattr(full, part).items():
                assert forms(getattr(flow, part)[name].document()) == forms(found.document())
        assert forms(flow.check_result.document()) == forms(full.check_result.document())


def test_the_report_is_the_same_and_tells_all(full, loaded, tmp_path):
    for name, flow in (("full", full), ("loaded", loaded)):
        flow.report(tmp_path / name, interactive=False)
    pages = [(tmp_path / name).read_text() for name in ("full", "loaded")]
    assert pages[1].replace(NOTE, "").split("<footer>")[0] == pages[0].split("<footer>")[0]
    for words in (
        "can be quantized",
        "Layers by kind",
        "What auto tried",
        "Layers before and after",
        "loss ends at",
        "The weights are sensitive",
        "Most sensitive",
        "mixes of precisions",
        "Points measured",
        "Proposed, not kept yet",
        "Simulation vs runtime",
        "Size and speed",
        "Next: ",
        "percentile ranges, percentile 99.5, head at w8a8, seed 0, calibration data",
        f"Made by qnb {qnb.__version__} on 20",
    ):
        assert words in pages[0], words
    assert all(run.name in pages[0] for run in full.runs.values())


def test_simulations_compute_the_same_and_share_one_model(full, loaded):
    x = full.calibration[0]
    for name, run in full.runs.items():
        if run.sim is not None:
            with torch.no_grad():
                before, after = run.sim(x), loaded[name].sim(x)
            assert all(torch.equal(before[k], after[k]) for k in ("logits", "hidden"))
            own = run.sim.captured is not full.captured
            assert (loaded[name].sim.captured is loaded.captured) != own
    a, b = (flow["low+equalize+adaround"].sim.reference_model(x)["logits"] for flow in (full, loaded))
    assert torch.equal(a, b)


def test_a_target_of_ones_own(loaded):
    assert loaded.target == OWN_TARGET and loaded["w8a8"].sim.target == OWN_TARGET
    assert OWN_TARGET.name not in targets.TARGETS


class TestFront:
    def test_it_can_be_looked_at(self, full, loaded):
        before, after = full.pareto_fronts["low"], loaded.pareto_fronts["low"]
        pd.testing.assert_frame_equal(after.table, before.table)
        pd.testing.assert_frame_equal(after.front.bits(), before.front.bits())
        assert after.chosen == before.chosen == 1 and after.front.order() == before.front.order()
        assert after.code() == before.code() and "cost=bits_of_weights" in after.code()
        assert after.choose(2).cost_text() == before.cost_text(2) and after.choose(1).chart() == before.chart()
        assert after.front.scores == before.front.scores and after.front.reference == before.front.reference

    def test_what_needs_the_model_says_so(self, loaded):
        for call in (lambda f: f.verify(0), lambda f: f.keep(0)):
            with pytest.raises(qnb.errors.InputError, match="qnb.load"):
                call(loaded.pareto_fronts["low"])

    def test_it_goes_on_as_if_it_had_not_been_saved(self, full, going_on, monkeypatch):
        before, after = full.pareto_fronts["low"], going_on.pareto_fronts["low"]
        new = next(i for i in range(len(before.front)) if i not in before.front.scores)
        names = []
        evaluate = going_on.evaluate
        monkeypatch.setattr("qnb.methods.precision.precision_front.evaluate_trials", counted(names))
        after.verify(*after.front.scores, new)
        assert names == [f"point {new}"], "what was measured before is not measured again"
        monkeypatch.undo()
        assert going_on.evaluate is evaluate
        expected = full_front_score(full, new)
        assert after.front.scores[new] == expected
        kept = after.keep(1, name="again")
        assert kept.score == full["low+mixed-1"].score
        pd.testing.assert_frame_equal(kept.comparison, full["low+mixed-1"].comparison)


def counted(names):
    from qnb.measures.sensitivity.trials import evaluate_trials

    def evaluate(sim, trials, *args, **kwargs):
        names.extend(trial.name for trial in trials)
        return evaluate_trials(sim, trials, *args, **kwargs)

    return evaluate


def full_front_score(full, point):
    """What the saved front measures, on a twin, so that the shared flow stays as it is."""
    front = full.pareto_fronts["low"].front
    from qnb.methods.precision.cache import SearchCache
    from qnb.methods.precision.precision_front import PrecisionFront

    twin = PrecisionFront(front.choices, front.points, SearchCache(None, lambda: "", ""), front.seed)
    twin.verify([point], full.evaluate)
    return twin.scores[point]


def test_saved_again_it_is_the_same_file(loaded, path, tmp_path):
    loaded.save(tmp_path / "again.qnb")
    with zipfile.ZipFile(path) as one, zipfile.ZipFile(tmp_path / "again.qnb") as two:
        assert one.namelist() == two.namelist()
        first, second = (json.loads(archive.read("workflow.json")) for archive in (one, two))
        written = first.pop("written"), second.pop("written")
        assert first == second and written[0].keys() == written[1].keys()
        for name in one.namelist():
            if name.endswith(".safetensors"):
                assert one.read(name) == two.read(name)


def test_weights_are_stored_once_and_as_they_are(full, path):
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: info for info in archive.infolist()}
        plain = archive.read("sims/1.safetensors")
    assert all(
        (info.compress_type == zipfile.ZIP_STORED) == name.endswith(".safetensors") for name, info in members.items()
    )
    assert b"reference/" not in plain and b"model/" not in plain and b'"graph"' not in plain
    assert len(members) == 3 + 7


class TestNames:
    @pytest.mark.parametrize("layer", ["nan", "inf", "null", "3x3"])
    def test_a_layer_may_have_any_name(self, layer, tmp_path):
        model = torch.nn.Module()
        model.add_module(layer, torch.nn.Linear(3, 2))
        model.forward = lambda x: getattr(model, layer)(x)
        flow = qnb.Workflow(model.eval(), [torch.randn(4, 3)], lambda m: 1.0)
        flow.run("w8a8")
        flow.save(tmp_path / "x.qnb")
        loaded = qnb.load(tmp_path / "x.qnb")
        assert loaded["w8a8"].comparison.layer.tolist() == [layer]
        pd.testing.assert_frame_equal(loaded["w8a8"].comparison, flow["w8a8"].comparison)

    def test_markup_stays_text(self, tmp_path):
        model, batches, evaluate = twofold()
        flow = qnb.Workflow(model, batches, evaluate)
        flow.run("w8a8", name=EVIL)
        flow.diagnose(EVIL)
        flow.save(tmp_path / "x.qnb")
        loaded = qnb.load(tmp_path / "x.qnb")
        assert EVIL not in documents.dashboard(loaded).html()
        assert documents.dashboard(loaded).html().replace(NOTE, "") == documents.dashboard(flow).html()


def test_nothing_found_yet(tmp_path):
    flow = new_flow()
    flow.save(tmp_path / "x.qnb")
    loaded = qnb.load(tmp_path / "x.qnb")
    assert repr(loaded).replace(NOTE, "") == repr(flow) and not loaded.runs
    loaded.save(tmp_path / "y.qnb")
    demo = qnb.demo.digits()
    going_on = qnb.load(tmp_path / "y.qnb", model=demo.model, calibration=demo.calibration[:2], evaluate=demo.evaluate)
    assert repr(going_on) == repr(flow)


def test_a_diagnosis_is_forgotten_with_its_run():
    model, batches, evaluate = twofold()
    flow = qnb.Workflow(model, batches, evaluate)
    flow.run("w4a8")
    found = flow.diagnose()
    assert flow.diagnoses == {"w4a8": found}
    before = flow.diagnoses
    again = flow.diagnose("w4a8")
    assert flow.diagnoses["w4a8"] is again and before["w4a8"] is found, "a dict of results is replaced, not changed"
    flow.run("w4a8")
    assert flow.diagnoses == {}


def test_a_save_that_fails_leaves_the_old_file(full, tmp_path, monkeypatch):
    path = tmp_path / "x.qnb"
    path.write_bytes(b"old")

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing.sims, "dumps", full_disk)
    with pytest.raises(qnb.errors.FileError, match="No space left on device"):
        full.save(path)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
