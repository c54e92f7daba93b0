"""Plain ipywidgets: where the JupyterLab extension is missing, the panels work and nothing fails."""

import re

import nbformat
import pytest
from nbformat import v4

from tests.browser.test_panels import RUNS, button, hit
from tools import lab as labs
from tools.execute_notebooks import KERNEL

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def plain(browser, tmp_path):
    """A page of a server without qnb's extension."""
    cells = [v4.new_code_cell(source) for source in (RUNS, "flow.panel()", "flow.explore('w4a8')")]
    folder = tmp_path / "notebooks"
    folder.mkdir()
    nbformat.write(v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL}), folder / "plain.ipynb")
    with labs.serve(folder, tmp_path, without=("qnb",)) as without, browser.new_page() as page:
        lab = labs.Lab(page, without)
        lab.open("plain.ipynb")
        yield lab
        lab.close()


def test_panels_work_as_plain_widgets(plain):
    page = plain.page
    assert page.evaluate("() => window.jupyterapp.commands.hasCommand('qnb:show-sidebar')") is False
    plain.run_all(120)
    assert plain.faults() == []
    page.locator(".qnb-plot .point").first.wait_for(timeout=20_000)
    button(plain, "Run next").click()
    page.get_by_text(re.compile(r"flow\..*: done")).first.wait_for(timeout=30_000)
    plain.visit(2)
    name = plain.kernel("print(flow['w4a8'].comparison.layer[5])").strip()
    hit(plain, page.locator(".qnb-plot[tabindex='0'] .point").nth(5), f"What if {name} had")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator(".qnb-code button:enabled").first.click()
    page.get_by_text("Copied").first.wait_for(timeout=20_000)
    assert page.evaluate("() => navigator.clipboard.readText()").startswith("flow.")
    assert plain.console_errors == []
