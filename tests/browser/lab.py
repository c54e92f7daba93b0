"""Fixtures of the browser tests: one server for a session, one page for a test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tools import lab as labs

ROOT = Path(__file__).parents[2]
NO_BROWSER = "there is no chromium on the PATH"


@pytest.fixture(scope="session")
def notebook_folder(tmp_path_factory) -> Path:
    """A copy of notebooks/; tests may put their own beside them."""
    return labs.private_copy(ROOT / "notebooks", tmp_path_factory.mktemp("notebooks"))


@pytest.fixture(scope="session")
def server(notebook_folder, tmp_path_factory):
    if not labs.chromium():
        pytest.skip(NO_BROWSER)  # under QNB_CI, tests/conftest.py makes that a failure
    with labs.serve(notebook_folder, tmp_path_factory.mktemp("jupyter")) as running:
        yield running


@pytest.fixture
def lab(server):
    """A page with nothing open yet: ``lab.open("name.ipynb")``."""
    with labs.browse() as page:
        yield labs.Lab(page, server)


def screenshot(lab: labs.Lab, name: str) -> None:
    """Keep a picture where QNB_SCREENSHOTS names a folder."""
    folder = os.environ.get("QNB_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        lab.page.screenshot(path=str(Path(folder) / f"{name}.png"))
