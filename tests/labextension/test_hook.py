"""The build hook's decisions, without building: hatch is not part of the installation, so it is stood in for."""

import importlib.util
import json
import os
import sys
from types import ModuleType, SimpleNamespace

import pytest

from tests.browser.lab import ROOT

INTERFACE = "hatchling.builders.hooks.plugin.interface"


@pytest.fixture
def hook(monkeypatch):
    stand_in = ModuleType(INTERFACE)
    stand_in.BuildHookInterface = object
    names = INTERFACE.split(".")
    for end in range(1, len(names)):
        monkeypatch.setitem(sys.modules, ".".join(names[:end]), ModuleType(names[end - 1]))
    monkeypatch.setitem(sys.modules, INTERFACE, stand_in)
    monkeypatch.delenv("QNB_SKIP_LABEXTENSION", raising=False)
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def project(tmp_path, hook):
    """One source, one notebook, built after both were written."""
    notebook = {"cells": [{"cell_type": "markdown", "source": ["text\n", "## A title\n"]}], "metadata": {}}
    for name, text in {
        "labextension/src/a.ts": "",
        "hatch_build.py": "",
        "build/labextension/install.json": "{}",
        "notebooks/a.ipynb": json.dumps(notebook),
        "notebooks/helper.py": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        os.utime(tmp_path / name, (1000, 2000 if name.startswith("build") else 1000))
    return tmp_path


def made(hook, root, target="wheel"):
    found = hook.LabExtensionHook()
    found.root, found.target_name = str(root), target
    found.app = SimpleNamespace(display_warning=lambda text: None)
    return found


def test_nothing_is_asked_for_where_nothing_is_stale(hook, project):
    assert made(hook, project).dependencies() == []
    data = {"force_include": {}, "shared_data": {}}
    made(hook, project).initialize("standard", data)
    assert list(data["force_include"].values()) == ["qnb/tutorials/a.ipynb"]
    assert list(data["shared_data"].values()) == ["share/jupyter/labextensions/qnb"]


@pytest.mark.parametrize(("node", "count"), [(True, 1), (False, 2)], ids=["with node", "without node"])
def test_a_newer_source_asks_for_the_builder(hook, project, monkeypatch, node, count):
    (project / "labextension/src/a.ts").write_text("changed")
    monkeypatch.setattr(hook, "has_node", lambda: node)
    assert len(made(hook, project).dependencies()) == count
    assert made(hook, project, "sdist").dependencies() == []


def test_it_can_be_left_out(hook, project, monkeypatch):
    monkeypatch.setenv("QNB_SKIP_LABEXTENSION", "1")
    (project / "build/labextension/install.json").unlink()
    data = {"force_include": {}, "shared_data": {}}
    made(hook, project).initialize("standard", data)
    assert made(hook, project).dependencies() == [] and data["shared_data"] == {}


def test_a_build_that_fails_says_what_to_do(hook, project):
    with pytest.raises(SystemExit, match="(?s)no_such_module.*node >= 20.19.*QNB_SKIP_LABEXTENSION=1"):
        hook.run(project, "no_such_module")


@pytest.mark.parametrize(("said", "good"), [("v20.19.0", True), ("v22.1.0", True), ("v18.20.1", False), ("", False)])
def test_node_must_be_new_enough(hook, monkeypatch, said, good):
    monkeypatch.setattr(hook.shutil, "which", lambda name: "node")
    monkeypatch.setattr(hook.subprocess, "run", lambda *a, **k: SimpleNamespace(stdout=said))
    assert hook.has_node() is good


def test_notebooks_are_listed_with_their_titles(hook, project):
    hook.copy_notebooks(project / "notebooks", project / "out")
    assert json.loads((project / "out/index.json").read_text()) == [{"file": "a.ipynb", "title": "A title"}]
