"""The recovery and mixed precision panels as a person meets them; reopened without a kernel they still read."""

import re

import nbformat
import pytest
from nbformat import v4

from tests.browser.lab import screenshot
from tools import lab as labs
from tools.execute_notebooks import KERNEL

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SETUP = """import qnb
demo = qnb.demo.digits()
flow = qnb.Workflow(demo.model, demo.calibration[:2], demo.evaluate)
flow.run("w8a8"); flow.run("w4a8")
None"""


def opened(lab, folder, name, *cells):
    made = [v4.new_code_cell(source) for source in (SETUP, *cells)]
    nbformat.write(v4.new_notebook(cells=made, metadata={"kernelspec": KERNEL}), folder / name)
    lab.open(name)
    lab.run_all(120)
    assert lab.faults() == []
    return lab.page.locator(".qnb-panel").last


def reopened(lab, name):
    """Saved with what its last cell gives now, and opened by a kernel that knows nothing of it."""
    page = lab.page
    page.evaluate(f"""async () => {{ {labs.PANEL}.content.activeCellIndex = 1;
        await window.jupyterapp.commands.execute('notebook:run-cell'); }}""")
    page.wait_for_timeout(1500)
    page.evaluate(f"async () => {{ await {labs.PANEL}.context.save(); }}")
    lab.close()
    lab.open(name)
    lab.visit(1)
    page.wait_for_timeout(500)
    text = page.locator(".jp-Notebook").inner_text()
    assert "model not found" not in text.lower()
    return text


def test_recover_look_keep_and_reopen(lab, notebook_folder):
    panel = opened(lab, notebook_folder, "recovery-panel.ipynb", "flow.recovery_panel('w4a8')")
    panel.get_by_text("w4a8 loses").first.wait_for(timeout=20_000)
    panel.locator("label", has_text="Sequential MSE").click()
    panel.locator("label", has_text="AdaRound").click()
    panel.locator("button", has_text=re.compile("^Recover$")).click()
    panel.locator(".qnb-plot .gtitle", has_text=re.compile("loss", re.I)).wait_for(timeout=90_000)  # as it falls
    panel.get_by_text("Keep it?").wait_for(timeout=120_000)
    bars = panel.locator(".qnb-plot").first
    bars.locator(".gtitle", has_text="layers closer to FP32").wait_for(timeout=20_000)
    assert bars.locator(".point").count() >= 44
    screenshot(lab, "recovery-panel")
    panel.locator(".lm-TabBar-tab", has_text="Applied methods").click()
    panel.get_by_text("SQNR at the output").wait_for(timeout=10_000)
    panel.locator("button", has_text=re.compile("^Keep$")).click()
    panel.locator("button", has_text=re.compile("^Keep$")).wait_for(state="hidden", timeout=20_000)
    assert "w4a8+seq_mse+adaround" in lab.kernel("print(list(flow.runs))")
    text = reopened(lab, "recovery-panel.ipynb")
    assert "Recover the accuracy of w4a8" in text and "adaround" in text


def test_a_recovery_that_is_cancelled_changes_nothing(lab, notebook_folder):
    panel = opened(lab, notebook_folder, "recovery-cancel.ipynb", "flow.recovery_panel('w4a8')")
    panel.locator("label", has_text="AdaRound").click()
    panel.locator("button", has_text=re.compile("^Recover$")).click()
    panel.locator("button", has_text=re.compile("^Cancel$")).click()
    panel.get_by_text("cancelled; nothing changed").wait_for(timeout=30_000)
    assert lab.kernel("print(list(flow.runs), flow.proposal)").strip() == "['fp32', 'w8a8', 'w4a8'] None"


def chosen(lab) -> int:
    return int(lab.kernel("print(flow.pareto_fronts['w8a8'].chosen)"))


def test_search_slide_verify_keep_and_reopen(lab, notebook_folder):
    panel = opened(lab, notebook_folder, "precision-panel.ipynb", "flow.precision_panel('w8a8')")
    panel.get_by_text("No search from w8a8 yet").wait_for(timeout=20_000)
    panel.locator("button", has_text=re.compile("^Search$")).click()
    panel.get_by_text("mixes of precisions").first.wait_for(timeout=180_000)
    front, strip = panel.locator(".qnb-plot").first, panel.locator(".qnb-plot").nth(1)
    front.locator(".gtitle", has_text="Chosen").wait_for(timeout=20_000)
    strip.locator(".gtitle", has_text="Bits").wait_for(timeout=20_000)
    assert front.locator(".point").count() >= 30
    before = chosen(lab)
    panel.locator(".noUi-handle").focus()
    for _ in range(3):
        lab.page.keyboard.press("ArrowLeft")
    for _ in range(80):  # each step takes its way through the kernel, which another process may slow down
        if chosen(lab) == before - 3:
            break
        lab.page.wait_for_timeout(250)
    front.locator(".gtitle", has_text="not measured").wait_for(timeout=20_000)
    panel.locator("button", has_text=re.compile("^Verify$")).click()
    panel.get_by_text(re.compile(r"verify point \d+: done")).wait_for(timeout=60_000)
    front.locator(".gtitle", has_text="measured drop").wait_for(timeout=20_000)
    screenshot(lab, "precision-panel")
    panel.locator("button", has_text=re.compile("^Keep$")).click()
    panel.get_by_text(re.compile(r"keep point \d+: done")).wait_for(timeout=60_000)
    assert "w8a8+mixed-" in lab.kernel("print(list(flow.runs))")
    text = reopened(lab, "precision-panel.ipynb")
    assert "mixes of precisions" in text and "Points measured" in text
