"""The workflow notebook in JupyterLab, as a person meets it: opened, run from top to bottom, looked at."""

import pytest

from tests.browser.lab import ROOT, screenshot

pytestmark = [pytest.mark.browser, pytest.mark.slow]
NAME = "01-quantization-workflow.ipynb"


def test_it_opens_runs_and_draws(lab):
    assert (ROOT / "notebooks" / NAME).exists()
    lab.open(NAME)
    lab.run_all(timeout_s=240)
    assert lab.faults() == []
    charts = lab.charts()
    assert charts, "no cell gave a Plotly chart"
    assert {index: lab.draw(index) > 0 for index in charts} == dict.fromkeys(charts, True)
    panel = next(c["index"] for c in lab.cells() if "application/vnd.jupyter.widget-view+json" in c["mimes"])
    lab.visit(panel)
    lab.page.locator(".qnb-panel .qnb-plot .points path").first.wait_for(timeout=20_000)
    screenshot(lab, "notebook-01")
    assert lab.console_errors == []
    lab.close()


def test_stored_charts_draw_without_running_anything(lab):
    lab.open(NAME)
    charts = lab.charts()
    assert charts, "no cell has a stored Plotly chart"
    assert lab.draw(charts[0]) > 0
    assert lab.console_errors == []
    lab.close()
