"""nbval with our rules, run on notebooks that keep and break them: one pytest run, one kernel each."""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import pytest
from nbformat import v4

from tests.notebook_rules import stored

ROOT = Path(__file__).parents[2]
NAMED = "x = 37.25\nprint('value', x)"
FIGURE = """
import base64, numpy as np
from IPython.display import display
y = base64.b64encode(np.array([1.0, 37.25]).tobytes()).decode()
figure = {"data": [{"type": "bar", "uid": str(id(y)), "y": {"bdata": y, "dtype": "f8"}}], "layout": {}}
display({"application/vnd.plotly.v1+json": figure}, raw=True)
"""
THREADS = "import os\nprint(os.environ['OMP_NUM_THREADS'], os.environ['PYTHONHASHSEED'])"


def printed(source, text, **metadata):
    output = v4.new_output("stream", name="stdout", text=text)
    return v4.new_code_cell(source, outputs=[output], execution_count=1, metadata=metadata)


def drawn(value):
    trace = {"type": "bar", "uid": "stored", "y": [1.0, value]}
    mime = {"application/vnd.plotly.v1+json": {"data": [trace], "layout": {}}}
    return v4.new_code_cell(FIGURE, outputs=[v4.new_output("display_data", mime)], execution_count=1)


def notebooks():
    kept = [
        printed(NAMED, f"value {37.25 * (1 + 1e-4)}\n"),
        drawn(37.25 * (1 + 1e-4)),
        printed(THREADS, "1 0\n"),
        v4.new_code_cell("  \n"),
        v4.new_code_cell("raise SystemError", metadata={"tags": ["nbval-skip"]}),
        v4.new_markdown_cell("Text needs no output."),
    ]
    broken = [
        printed(NAMED, f"value {37.25 * 1.01}\n"),
        printed(NAMED, "volume 37.25\n"),
        drawn(37.25 * 1.01),
        v4.new_code_cell("stripped = 1"),
        printed("print(stripped)", "1\n"),  # what a stripped cell defines is there all the same
        v4.new_code_cell("1 / 0", execution_count=2),
    ]
    yield "kept", v4.new_notebook(cells=kept)
    yield "broken", v4.new_notebook(cells=broken)
    yield "widgets", v4.new_notebook(metadata={"widgets": {"application/vnd.jupyter.widget-state+json": {}}})
    yield "large", v4.new_notebook(cells=[v4.new_markdown_cell("x" * 500_000)])


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """(notebook, item) -> "" where it passed, else what it said."""
    folder = tmp_path_factory.mktemp("notebooks")
    for name, notebook in notebooks():
        nbformat.write(notebook, folder / f"{name}.ipynb")
    (folder / "conftest.py").write_text((ROOT / "notebooks" / "conftest.py").read_text())
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    environment["PYTHONPATH"] = str(ROOT)
    report = folder / "report.xml"
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            ".",
            "--nbval",
            "--nbval-current-env",
            "--color=no",
            "-p",
            "no:cacheprovider",
            f"--junitxml={report}",
            f"--rootdir={folder}",
        ],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert report.exists(), run.stdout + run.stderr
    found = {}
    for case in ElementTree.parse(report).iter("testcase"):
        notebook, item = case.get("classname").split(".")[0], case.get("name")
        said = [*case.iter("failure"), *case.iter("error"), *case.iter("skipped")]
        found[notebook, item] = "".join(f"{s.tag}: {s.get('message', '')}{s.text or ''}" for s in said)
    return found


@pytest.mark.parametrize("item", ["as stored", "Cell 0", "Cell 1", "Cell 2", "Cell 3"])
def test_kept(outcomes, item):
    assert outcomes["kept", item] == ""


@pytest.mark.parametrize(
    ("notebook", "item", "says"),
    [
        ("kept", "Cell 4", "skipped"),
        ("broken", "Cell 0", "37.6225 is now 37.25"),
        ("broken", "Cell 1", "'volume' is now 'value'"),
        ("broken", "Cell 2", "data[0].y"),
        ("broken", "Cell 3", "never run"),
        ("broken", "Cell 5", "ZeroDivisionError"),
        ("widgets", "as stored", "metadata.widgets"),
        ("large", "as stored", "500 kB are allowed"),
    ],
    ids=["tagged nbval-skip", "number", "word", "chart", "stripped", "error", "widget state", "size"],
)
def test_broken(outcomes, notebook, item, says):
    assert says in outcomes[notebook, item]


def test_cells_after_a_stripped_one_run_with_what_it_defines(outcomes):
    assert outcomes["broken", "Cell 4"] == ""


def test_what_a_machine_cannot_show_is_not_compared(monkeypatch):
    tagged = {"metadata": {"tags": ["needs-qnn"]}}
    monkeypatch.setattr(stored.importlib.util, "find_spec", lambda name: None)
    assert not stored.can_show(tagged) and stored.can_show({"metadata": {}})
    monkeypatch.setattr(stored.importlib.util, "find_spec", lambda name: name)
    assert stored.can_show(tagged)
