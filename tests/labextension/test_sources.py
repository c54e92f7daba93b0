"""The extension's sources, and what the build made of them where it has been built."""

import json
import re

import nbformat
import pytest

import qnb
from qnb import document
from tests.browser.lab import ROOT
from tools.execute_notebooks import execute

SOURCES, BUILT = ROOT / "labextension", ROOT / "build" / "labextension"
TEMPLATES = sorted((SOURCES / "templates").glob("*.ipynb"))
built = pytest.mark.skipif(not (BUILT / "install.json").exists(), reason="installed without the JupyterLab extension")


def test_one_version_and_one_contract():
    package = json.loads((SOURCES / "package.json").read_text())
    contract = (SOURCES / "src" / "contract.ts").read_text()
    assert package["version"] == qnb.__version__
    assert f"MIME = '{document.MIME}'" in contract and f"VERSION = {document.VERSION};" in contract


def test_the_lock_file_names_no_host():
    assert not re.search(r"https?:", (SOURCES / "yarn.lock").read_text())


def test_data_never_becomes_markup():
    for path in (SOURCES / "src").rglob("*.ts"):
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|\beval\(", path.read_text()), path.name


def test_every_setting_is_read():
    settings = (SOURCES / "src" / "settings.ts").read_text()
    for name in json.loads((SOURCES / "schema" / "plugin.json").read_text())["properties"]:
        assert f"composite.{name}" in settings


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_a_template_is_clean(path):
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    assert notebook.metadata.qnb.label and notebook.cells[0].source.startswith("# Quantize")
    assert all(not cell.outputs and cell.execution_count is None for cell in notebook.cells if cell.cell_type == "code")


@pytest.mark.slow
@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_a_template_runs(path, tmp_path):
    execute(nbformat.read(path, 4), tmp_path)


@built
def test_what_is_built_is_complete():
    package = json.loads((BUILT / "package.json").read_text())
    assert (BUILT / package["jupyterlab"]["_build"]["load"]).exists()
    assert (BUILT / "schemas" / "qnb" / "plugin.json").exists()
    for kind in ("templates", "tutorials"):
        index = json.loads((BUILT / kind / "index.json").read_text())
        assert {entry["file"] for entry in index} == {path.name for path in (BUILT / kind).glob("*.ipynb")}
        assert all(entry["title"] for entry in index)
    assert [entry["label"] for entry in json.loads((BUILT / "templates" / "index.json").read_text())] == [
        "vision model",
        "transformer",
        "your own model",
    ]
