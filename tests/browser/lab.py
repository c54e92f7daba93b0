"""Fixtures of the browser tests: one server and one browser for all of them, one page for a test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tools import lab as labs

ROOT = Path(__file__).parents[2]
NO_BROWSER = "there is no chromium on the PATH"
# anywidget complains of a widget that takes more than 2 s to start; a machine that runs other tests may need more.
PATIENCE = "{ const timeout = AbortSignal.timeout; AbortSignal.timeout = ms => timeout.call(AbortSignal, 30 * ms); }"


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


@pytest.fixture(scope="package")
def browser():
    """What makes pages of one browser, which then loads JupyterLab's scripts once.

    It ends with this folder's tests: while it is there, its event loop runs in this thread and allows no other.
    """
    if not labs.chromium():
        pytest.skip(NO_BROWSER)  # under QNB_CI, tests/conftest.py makes that a failure
    with labs.browse() as page:
        context = page.context.browser.new_context(viewport=page.viewport_size)
        context.add_init_script(PATIENCE)
        yield context


@pytest.fixture
def lab(server, browser):
    """A page with nothing open yet: ``lab.open("name.ipynb")``."""
    with browser.new_page() as page:
        yield labs.Lab(page, server)


def screenshot(lab: labs.Lab, name: str) -> None:
    """Keep a picture where QNB_SCREENSHOTS names a folder."""
    folder = os.environ.get("QNB_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        lab.page.screenshot(path=str(Path(folder) / f"{name}.png"))
