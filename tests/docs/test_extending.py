"""The pages on extending qnb: their code runs, and what it adds is there for others."""

import re
from pathlib import Path

import pytest

import qnb
from qnb.graph import ops
from qnb.methods import METHODS, auto_order
from qnb.ranges import RULES
from qnb.runtimes import RUNTIMES
from qnb.targets import TARGETS
from qnb.workflow.diagnosis.cause import CAUSES

FOLDER = Path(__file__).parents[2] / "docs" / "extending"
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ENTRY = re.compile(r'^\[project\.entry-points\."(.+)"\]\n(\S+) = "(\S+)"$', re.MULTILINE)
GROUPS = {registry.group: registry for registry in (RULES, TARGETS, METHODS, CAUSES, RUNTIMES)}
PAGES = sorted(page.stem for page in FOLDER.glob("*.md") if page.stem != "index")


def text(page: str) -> str:
    return (FOLDER / f"{page}.md").read_text(encoding="utf-8")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a page's code in an empty folder; gives its names."""
    monkeypatch.chdir(tmp_path)

    def run(page: str) -> dict:
        names = {"__name__": "__page__"}
        for found in PYTHON.finditer(text(page)):
            line = text(page)[: found.start(1)].count("\n")  # so that a traceback names the page's line
            exec(compile("\n" * line + found[1], str(FOLDER / f"{page}.md"), "exec"), names)
        return names

    return run


@pytest.mark.slow
def test_a_calibration_method(run):
    names = run("range-rule")
    sim, wide = names["sim"], qnb.QuantSim(names["demo"].model, names["demo"].calibration[0], "w8a8")
    wide.calibrate(names["demo"].calibration)
    ranges = [s.encodings().query("kind == 'activation'")["max"].explode().astype(float) for s in (sim, wide)]
    assert (ranges[0] <= ranges[1] + 1e-6).all() and (ranges[0] < 0.9 * ranges[1]).any()
    assert "sigma" in list(RULES)
    with pytest.raises(qnb.errors.InputError, match="sigmas=0"):
        sim.calibrate(names["demo"].calibration, "sigma", sigmas=0)
    path = qnb.export_encodings(sim, Path("sigma.encodings"))
    assert "quant_scheme" not in path.read_text()
    sim.save("sim.qnb")
    assert qnb.QuantSim.load("sim.qnb").encodings().equals(sim.encodings())


@pytest.mark.slow
def test_a_target(run):
    names = run("target")
    assert names["sim"].target is TARGETS["acme-npu"]
    assert qnb.targets.supported("acme-npu").precision.tolist() == ["fp32", "w8a8", "w4a8"]
    assert "acme-npu" in str(names["flow"].check())
    names["sim"].save("sim.qnb")
    del TARGETS.rows["acme-npu"]
    assert qnb.QuantSim.load("sim.qnb").target == names["sim"].target, "a file holds the target"


def test_an_op(run):
    names = run("op")
    assert "shift_channels" in names["before"].layers().layer.tolist()
    assert names["after"].layers().layer.tolist() == ["conv", "head"] and ops.OPS["shift_channels"].kind == "pass"


@pytest.mark.slow
def test_a_recovery_method(run):
    names = run("method")
    flow, result = names["flow"], names["run"].recovery[-1]
    assert names["run"].name == "w4a8+clip_weights" in flow.runs and result.options["candidates"] == 8
    assert result.table.range_fraction.dropna().between(0.5, 1).all()
    assert (result.table.range_fraction < 1).any() and qnb.methods.clip_weights is METHODS["clip_weights"].apply
    order = auto_order(flow["w4a8"].sim)
    assert order.index("correct_bias") < order.index("clip_weights") < order.index("seq_mse")
    with pytest.raises(qnb.errors.InputError, match="candidates"):
        flow.recover("w4a8", "clip_weights", candidate=8)


@pytest.mark.slow
def test_a_cause(run):
    names = run("cause")
    try:
        first = names["found"].findings[0]
        assert first.name == "one_sided" and first.measured_gain_db > 1 and first.code in str(names["found"])
        ends = names["run"].comparison.set_index("layer").fp32_min.drop("x", errors="ignore")
        one_sided = set(ends.index[ends >= 0]) & set(first.layers)
        assert len(one_sided) > 3 and "one_sided" in CAUSES
    finally:
        del CAUSES.rows["one_sided"]


@pytest.mark.slow
def test_a_runtime(run):
    names = run("runtime")
    found = names["deployed"]["reference"]
    assert found.agrees and found.title == "ONNX reference" and found.output_sqnr_db > 22
    assert found.latency is None and "it computes in NumPy" in found.note
    assert "ONNX reference" in names["deployed"].table.runtime.tolist()


def test_the_table_of_a_runtimes_facts_is_complete():
    from qnb.runtimes.facts import RuntimeFacts

    told = set(
        re.findall(r"`(\w+)(?:\([^`]*\))?`", "".join(re.findall(r"^\| (`.*?) \|", text("runtime"), re.MULTILINE)))
    )
    assert told - {""} == {name for name in vars(RuntimeFacts) if not name.startswith("_")} - {"title_for"}


def test_a_chart(run):
    names = run("chart")
    assert names["chart"].layout.title.text.startswith("Own SQNR by op: ")
    assert len(names["chart"].data[0].x) == len(names["sim"].layers())


def test_a_panel(run):
    names = run("panel-tab")
    panel = names["panel"]
    assert "Weakest layers of w4a8" in panel.table.value and "Weakest layers of w4a8" in repr(panel)
    names["flow"].selection.run = None
    assert "No run is selected" in panel.table.value
    panel.close()
    explorer = names["explorer"]
    assert " in w4a8: " in explorer.views.tabs["Range"].widget.value
    explorer.close()


def test_the_code_of_each_page_is_run_here():
    run_here = set(re.findall(r' run\("(.+)"\)', Path(__file__).read_text(encoding="utf-8")))
    assert {page for page in PAGES if PYTHON.search(text(page))} == run_here


@pytest.mark.parametrize("page", PAGES)
def test_the_index_links_each_page(page):
    assert f"]({page}.md)" in text("index") and f"\n{page}\n" in text("index")


@pytest.mark.parametrize("page", PAGES)
def test_entry_points_are_of_groups_that_exist(page):
    for group, name, _ in ENTRY.findall(text(page)):
        assert group in GROUPS and f'"{name}"' in text(page)


def test_each_group_has_a_page():
    assert {group for page in PAGES for group, _, _ in ENTRY.findall(text(page))} == set(GROUPS)
    assert set(re.findall(r'`"(qnb\.\w+)"` \|$', text("index"), re.MULTILINE)) == set(GROUPS)
