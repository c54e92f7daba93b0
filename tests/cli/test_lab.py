"""What is copied, what is kept, and what JupyterLab is called with."""

import importlib.util
import os
import subprocess
import sys

import pytest

from qnb.cli import lab as module
from qnb.cli import main
from qnb.cli.lab import lab
from qnb.errors import InputError


class Runner:
    """Notes what it is asked to run."""

    def __init__(self, status=0):
        self.status, self.calls = status, []

    def __call__(self, command, folder):
        self.calls.append((command, folder))
        return self.status


@pytest.fixture
def checkout(tmp_path):
    """A folder that looks like a checkout."""
    folder = tmp_path / "checkout"
    (folder / "notebooks").mkdir(parents=True)
    (folder / "pyproject.toml").write_text("")
    for name in ("02-b.ipynb", "01-a.ipynb", "conftest.py"):
        (folder / "notebooks" / name).write_text(name)
    return folder


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """As installed from a wheel: the notebooks lie in the package."""
    package = tmp_path / "site-packages" / "qnb"
    (package / "tutorials").mkdir(parents=True)
    for name in ("01-a.ipynb", "02-b.ipynb"):
        (package / "tutorials" / name).write_text(name)
    monkeypatch.setattr(module.resources, "files", lambda name: package)
    return package.parent


def test_in_a_checkout_its_own_notebooks_are_opened(checkout):
    run, said = Runner(3), []
    assert lab(None, ["--no-browser"], runner=run, checkout=checkout, say=said.append) == 3
    ((command, folder),) = run.calls
    assert folder == checkout / "notebooks" and not said
    assert command[:4] == [sys.executable, "-m", "jupyter", "lab"] and command[-2:] == ["01-a.ipynb", "--no-browser"]


def test_from_a_wheel_they_are_copied_and_never_overwritten(wheel, tmp_path):
    target, run, said = tmp_path / "new" / "folder", Runner(), []
    assert lab(target, runner=run, checkout=wheel, say=said.append) == 0
    assert sorted(p.name for p in target.iterdir()) == ["01-a.ipynb", "02-b.ipynb"]
    assert said == [f"Copied to {target}: 01-a.ipynb, 02-b.ipynb"]
    (target / "01-a.ipynb").write_text("mine")
    (target / "02-b.ipynb").unlink()
    said.clear()
    lab(target, runner=run, checkout=wheel, say=said.append)
    assert (target / "01-a.ipynb").read_text() == "mine" and (target / "02-b.ipynb").read_text() == "02-b.ipynb"
    assert said == [f"Copied to {target}: 02-b.ipynb", f"Already in {target}, unchanged: 01-a.ipynb"]
    assert [folder for _, folder in run.calls] == [target, target]


def test_the_default_folder_is_below_the_current_one(wheel, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = Runner()
    lab(runner=run, checkout=wheel, say=lambda text: None)
    assert run.calls[0][1] == tmp_path / "qnb-notebooks"


def test_a_folder_named_in_a_checkout_gets_copies_of_notebooks_alone(checkout, tmp_path):
    run = Runner()
    lab(tmp_path / "mine", runner=run, checkout=checkout, say=lambda text: None)
    assert sorted(p.name for p in (tmp_path / "mine").iterdir()) == ["01-a.ipynb", "02-b.ipynb"]
    assert run.calls[0][1] == tmp_path / "mine"


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="users have no number here")
@pytest.mark.parametrize(("user", "given", "count"), [(0, [], 1), (0, ["--allow-root"], 1), (1000, [], 0)])
def test_only_root_is_allowed_to_be_root(checkout, monkeypatch, user, given, count):
    monkeypatch.setattr(os, "geteuid", lambda: user)
    run = Runner()
    lab(None, given, runner=run, checkout=checkout)
    assert run.calls[0][0].count("--allow-root") == count


def test_without_jupyterlab(checkout, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="not installed.*pip install jupyterlab"):
        lab(runner=Runner(), checkout=checkout)


def test_without_notebooks(tmp_path, wheel):
    for path in (wheel / "qnb" / "tutorials").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="no notebooks.*reinstall"):
        lab(tmp_path / "x", runner=Runner(), checkout=wheel)
    (wheel / "qnb" / "tutorials").rmdir()
    with pytest.raises(InputError, match="no notebooks"):
        lab(tmp_path / "x", runner=Runner(), checkout=wheel)
    assert not (tmp_path / "x").exists()


def test_a_folder_that_cannot_be_written_to(wheel, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    run = Runner()
    for target in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match="cannot write to .*qnb lab ~/qnb-notebooks"):
            lab(target, runner=run, checkout=wheel, say=lambda text: None)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(InputError, match="read-only"):
        lab(tmp_path / "locked", runner=run, checkout=wheel, say=lambda text: None)
    assert not run.calls


def test_the_real_runner_runs_in_the_folder_and_returns_the_status(tmp_path):
    code = "import pathlib, sys; pathlib.Path('here').touch(); sys.exit(5)"
    assert module.run([sys.executable, "-c", code], tmp_path) == 5
    assert (tmp_path / "here").exists()


def test_main_splits_the_arguments_and_says_errors(monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(module, "lab", lambda *given: seen.append(given) or 0)
    assert main(["lab", "there", "--", "--port", "8889", "--", "x"]) == 0
    assert main(["lab", "--", "--no-browser"]) == 0
    assert seen == [("there", ["--port", "8889", "--", "x"]), (None, ["--no-browser"])]

    def fails(*given):
        raise InputError("qnb lab", "nothing here", "look there")

    monkeypatch.setattr(module, "lab", fails)
    assert main(["lab"]) == 1
    assert capsys.readouterr().err == "qnb: qnb lab: nothing here. To fix: look there.\n"


def test_help():
    run = subprocess.run([sys.executable, "-m", "qnb.cli", "lab", "--help"], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0 and "FOLDER" in run.stdout and "-- JUPYTER ARGUMENTS" in run.stdout
