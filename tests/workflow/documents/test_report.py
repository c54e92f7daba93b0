"""The report: one file, no network, within its size; names from strangers stay text."""

import json
import re
import zipfile

import pytest

import qnb
from qnb.errors import FileError, InputError
from qnb.html import escape
from tests.flows import EVIL, deployment, evil_flow, new_flow, twofold


@pytest.fixture(scope="module")
def evil():
    return evil_flow()


@pytest.mark.parametrize(("interactive", "most"), [(True, 6e6), (False, 4e5)])
def test_sizes_and_no_network(digits, tmp_path, interactive, most):
    digits.report(tmp_path / "x.html", interactive=interactive)
    page = (tmp_path / "x.html").read_text()
    assert len(page.encode()) < most and not re.search(r"<(script|link|img|iframe)[^>]*\b(src|href)=", page)
    assert page.count("<script") == (0 if not interactive else page.count("Plotly.newPlot") + 1)
    assert "w4a8" in page and "stem.conv" in page and (interactive or page.count("<svg") >= 3)


@pytest.mark.parametrize("interactive", [True, False])
def test_names_stay_text(evil, tmp_path, interactive):
    evil.report(tmp_path / "x.html", interactive=interactive)
    assert "<img" not in (tmp_path / "x.html").read_text().replace("<img>", "")


def test_a_file_for_the_dashboard_is_in_the_saved_workflow(tmp_path):
    flow = qnb.Workflow(*twofold())
    flow.run("w8a8", name=EVIL)
    flow.save(tmp_path / "x.qnb")
    with zipfile.ZipFile(tmp_path / "x.qnb") as archive:
        document = json.loads(archive.read("document.json"))
    assert document["version"] == 2 and document["kind"] == "dashboard" and len(document["stages"]) == 6
    figures = [b["figure"] for b in document["blocks"] if b["type"] == "figure"]
    assert len(figures) == 2 and "<img" not in json.dumps(figures)
    assert document["blocks"][-1]["text"].startswith(f"Made by qnb {qnb.__version__} on 20")


def test_nothing_to_report_and_nowhere_to_write(digits, tmp_path):
    with pytest.raises(InputError, match="run a step first"):
        new_flow().report(tmp_path / "x.html")
    with pytest.raises(FileError, match="folder"):
        digits.report(tmp_path / "none" / "x.html")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("interactive", [True, False])
def test_what_was_deployed_is_in_the_report(tmp_path, interactive):
    flow = new_flow()
    flow.run("w8a8")
    flow.report(tmp_path / "before.html", interactive=interactive)
    deployment(flow)
    flow.report(tmp_path / "x.html", interactive=interactive)
    page, before = ((tmp_path / name).read_text() for name in ("x.html", "before.html"))
    for words in ("the simulation agrees to 35 dB on HTP v75", "w8a8.onnx", "Simulation vs runtime"):
        assert words in page and words not in before
    assert page.count("Plotly.newPlot" if interactive else "<svg") > before.count(
        "Plotly.newPlot" if interactive else "<svg"
    )


def test_a_run_that_was_made_from_another_is_compared_with_it(full, tmp_path):
    full.report(tmp_path / "x.html", interactive=False)
    page = (tmp_path / "x.html").read_text()
    for base, name in (("low", "low+equalize+adaround"), ("low+equalize+adaround", "low+auto")):
        assert escape(full.diff(base, name).caption()) in page
    made = [run for run in full.runs.values() if run.settings.get("from") in full.runs]
    assert page.count("What each costs") == len(made) >= 2
