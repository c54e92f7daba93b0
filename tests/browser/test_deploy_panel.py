"""The deploy panel as a person meets it: Deploy, look at the layers, copy the commands; reopened without a kernel."""

import re

import nbformat
import pytest
from nbformat import v4

from tests.browser.lab import screenshot
from tools import lab as labs
from tools.execute_notebooks import KERNEL

pytestmark = [pytest.mark.browser, pytest.mark.slow]
CELLS = [
    """import qnb
demo = qnb.demo.digits()
flow = qnb.Workflow(demo.model, demo.calibration[:1], demo.evaluate, target="onnxruntime-cpu")
flow.run("w8a8")
None""",
    "flow.deploy_panel()",
]


def test_deploy_look_copy_and_reopen(lab, notebook_folder):
    cells = [v4.new_code_cell(source) for source in CELLS]
    path = notebook_folder / "deploy-panel.ipynb"
    nbformat.write(v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL}), path)
    lab.open(path.name)
    lab.run_all(120)
    assert lab.faults() == []
    page, panel = lab.page, lab.page.locator(".qnb-panel")
    panel.get_by_text("w8a8 is not deployed yet").wait_for(timeout=20_000)
    panel.locator("button", has_text=re.compile("^Deploy$")).click()
    panel.get_by_text("w8a8 deployed: the simulation agrees").wait_for(timeout=60_000)
    bars = panel.locator(".qnb-plot").first
    bars.locator(".gtitle", has_text="ONNX Runtime, CPU: ").wait_for(timeout=20_000)
    assert bars.locator(".point").count() >= 22 and (notebook_folder / "deploy" / "commands.sh").exists()
    screenshot(lab, "deploy-panel")
    panel.locator(".lm-TabBar-tab", has_text="Table of layers").click()
    panel.locator(".qnb-grid td", has_text=re.compile("^classifier$")).last.click()
    wanted, said = "Selection(run='w8a8', layers=['classifier'])", ""
    for _ in range(40):  # the click takes its way through the kernel, which another process may slow down
        said = lab.kernel("print(flow.selection)").strip()
        if said == wanted:
            break
        page.wait_for_timeout(250)
    assert said == wanted
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    panel.locator(".lm-TabBar-tab", has_text="On the device").click()
    panel.locator(".qnb-code button", has_text="Copy commands").click()
    panel.get_by_text("Copied").wait_for(timeout=5_000)
    assert "qairt-converter" in page.evaluate("() => navigator.clipboard.readText()")
    assert len(lab.cells()) == 2, "commands are for a shell, they do not become a cell"
    page.evaluate(f"""async () => {{ {labs.PANEL}.content.activeCellIndex = 1;
        await window.jupyterapp.commands.execute('notebook:run-cell'); }}""")  # what is stored is what a cell gave
    panel.get_by_text("w8a8 deployed: the simulation agrees").wait_for(timeout=20_000)
    page.evaluate(f"async () => {{ await {labs.PANEL}.context.save(); }}")
    lab.close()
    lab.open(path.name)  # its new kernel knows nothing of the panel
    lab.visit(1)
    page.get_by_text("w8a8 deployed: the simulation agrees").first.wait_for(timeout=20_000)
    text = page.locator(".jp-Notebook").inner_text()
    assert "top-1 agreement" in text and "qairt-converter" in text and "model not found" not in text.lower()
    assert lab.console_errors == []
    lab.close()
