"""The panels as a person meets them: clicks, keys, progress, dark theme, reopened without a kernel."""

import re

import nbformat
import pytest
from nbformat import v4

from tests.browser.lab import screenshot
from tools import lab as labs
from tools.execute_notebooks import KERNEL

pytestmark = [pytest.mark.browser, pytest.mark.slow]
EVIL = "<img src=x onerror=hacked=1>"
FLOW = """import time, torch, qnb
demo = qnb.demo.digits()
slow = False
def evaluate(model):
    if slow:
        for batch in demo.calibration * 10:
            model(batch)
            time.sleep(0.2)
    return demo.evaluate(model)
flow = qnb.Workflow(demo.model, demo.calibration[:2], evaluate)
"""
RUNS = FLOW + "for p in ('w16a16', 'w8a8', 'w4a8'):\n    flow.run(p)\nNone"
HOSTILE = f"""import torch, qnb
class Evil(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.add_module({EVIL!r}, torch.nn.Linear(3, 2))
    def forward(self, x):
        return next(self.children())(x)
x = torch.randn(4, 3)
flow = qnb.Workflow(Evil().eval(), [x], lambda m: 1.0)
flow.run('w8a8', name={EVIL!r})
"""
NOTEBOOKS = {
    "workflow": [FLOW, "flow.panel()"],
    "explorer": [RUNS, "flow.explore('w4a8')"],
    "both": [RUNS, "flow.panel()", "flow.explore('w4a8')"],
    "hostile": [HOSTILE, "flow.panel()", "flow.explore()", "flow"],
    "comms": [RUNS, "ran = globals().get('ran', 0) + 1\nflow.explore('w4a8')"],
    "asked": [RUNS, "from qnb.panels.widgets import Library\nLibrary.ready = classmethod(lambda cls: None)",
              "flow.panel()"],
}


@pytest.fixture
def opened(lab, notebook_folder, request):
    """A notebook of these cells, run."""
    name = f"panels-{request.param}.ipynb"
    cells = [v4.new_code_cell(source) for source in NOTEBOOKS[request.param]]
    nbformat.write(v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL}), notebook_folder / name)
    lab.open(name)
    lab.run_all(120)
    assert lab.faults() == []
    lab.page.wait_for_selector(".qnb-panel", timeout=20_000)
    yield lab
    assert lab.console_errors == []
    lab.close()


def opening(name):
    return pytest.mark.parametrize("opened", [name], indirect=True)


def button(lab, text, nth=0):
    return lab.page.locator(".qnb-panel button", has_text=re.compile(f"^{text}$")).nth(nth)


def status(lab):
    return lab.page.locator(".qnb-panel [role=status]").filter(has_text=re.compile(r"flow\.|what if")).first


def hit(lab, mark):
    """Click in the middle of a chart's mark, which Plotly covers with a layer of its own."""
    mark.scroll_into_view_if_needed()
    box = mark.bounding_box()
    where = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    lab.page.mouse.move(*where)
    lab.page.wait_for_timeout(300)
    lab.page.mouse.click(*where)


def kernel(lab, code):
    return lab.kernel(code).strip()


@opening("workflow")
def test_run_shows_progress_and_cancel_leaves_all_as_it_was(opened):
    page = opened.page
    kernel(opened, "slow = False")
    button(opened, "Run next").click()
    page.get_by_text("flow.check(): done").wait_for(timeout=20_000)
    button(opened, "Run next").click()
    page.get_by_text("flow.run('fp16'): done").wait_for(timeout=20_000)
    kernel(opened, "slow = True")
    button(opened, "Run", 2).click()
    page.get_by_text(re.compile(r"evaluating w16a16: \d+")).wait_for(timeout=20_000)
    assert button(opened, "Run", 1).is_disabled()
    screenshot(opened, "panel-running")
    button(opened, "Cancel").click()
    page.get_by_text("cancelled; everything is as it was").wait_for(timeout=5_000)
    assert kernel(opened, "print(list(flow.runs))").strip() == "['fp32', 'fp16']"
    assert button(opened, "Cancel").is_hidden()


@opening("explorer")
def test_a_click_on_a_bar_changes_the_detail_and_what_if_is_undone(opened):
    page = opened.page
    bars = page.locator(".qnb-plot").first
    bars.locator(".point").nth(7).wait_for(timeout=20_000)
    hit(opened, bars.locator(".point").nth(7))
    name = kernel(opened, "print(flow['w4a8'].comparison.layer[7])").strip()
    page.get_by_text(f"What if {name} had").wait_for(timeout=5_000)
    page.locator(".qnb-plot .gtitle", has_text=re.compile(f"w4a8, {name}: .* clipped")).wait_for(timeout=5_000)
    page.locator(".qnb-panel select").nth(2).select_option("w8a8")
    button(opened, "Try").click()
    page.get_by_text(f"{name}: w8a8").wait_for(timeout=10_000)
    screenshot(opened, "explorer-what-if")
    button(opened, "Undo").click()
    page.get_by_text(f"{name}: w8a8").wait_for(state="detached", timeout=5_000)
    assert kernel(opened, "print(list(flow.runs))").strip() == "['fp32', 'w16a16', 'w8a8', 'w4a8']"


@opening("both")
def test_the_keyboard_reaches_everything(opened):
    page = opened.page
    page.locator(".qnb-plot .point").first.wait_for(timeout=20_000)
    page.locator(".qnb-panel button").first.focus()
    seen = set()
    for _ in range(60):
        seen.add(page.evaluate("() => { const e = document.activeElement; return e.closest('.qnb-panel') ? "
                               "(e.getAttribute('aria-label') || e.textContent || e.placeholder || e.tagName)"
                               ".trim().slice(0, 24) : ''; }"))  # fmt: skip
        page.keyboard.press("Tab")
    assert {"Run", "Run next", "Copy as code", "Code", "One bar per module"} <= seen
    bars = page.locator(".qnb-plot[tabindex='0']")
    bars.focus()
    assert bars.evaluate("e => getComputedStyle(e).outlineStyle") != "none", "the focus is seen"
    before = kernel(opened, "print(flow.selection.layer)")
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(500)
    after = kernel(opened, "print(flow.selection.layer)")
    assert after != before
    cells = len(opened.cells())
    code = page.locator(".qnb-code button:enabled", has_text="Copy as code").first
    code.focus()
    page.keyboard.press("Enter")
    page.get_by_text("Inserted below").first.wait_for(timeout=5_000)
    assert len(opened.cells()) == cells + 1 and code.get_attribute("title") in page.evaluate(
        f"() => {labs.PANEL}.content.widgets.map(w => w.model.sharedModel.source)")  # fmt: skip
    button(opened, "One bar per module").focus()
    page.keyboard.press("Enter")
    page.wait_for_timeout(500)
    folded = "from qnb.panels import shelf; print('blocks.0' in shelf.panels()[-1].order)"
    assert kernel(opened, folded).strip() == "True"
    button(opened, "Run next").focus()
    page.keyboard.press("Enter")
    page.get_by_text(re.compile(r"flow\..*: done")).first.wait_for(timeout=30_000)


@opening("explorer")
def test_the_long_table_is_searched_sorted_and_walked_by_keys(opened):
    page = opened.page
    page.locator(".qnb-panel .lm-TabBar-tab", has_text="All layers").click()
    page.locator(".qnb-grid-search").last.fill("depthwise")
    page.get_by_text(re.compile(r"^\d of 22 layers$")).wait_for()
    page.locator(".qnb-grid-search").last.fill("")
    page.locator(".qnb-grid th button", has_text="own SQNR").click()
    frame = page.locator(".qnb-grid table").last
    assert frame.locator("th[aria-sort=ascending]").inner_text().startswith("own SQNR")
    frame.focus()
    page.keyboard.press("Home")
    page.wait_for_timeout(400)
    worst = kernel(opened, "print(flow['w4a8'].worst_layer[0], flow.selection.layer)").split()
    assert worst[0] == worst[1]
    page.keyboard.press("ArrowDown")
    page.wait_for_timeout(400)
    second = kernel(opened, "print(flow['w4a8'].comparison.nsmallest(2, 'own_sqnr_db').layer.iloc[1], "
                            "flow.selection.layer)").split()  # fmt: skip
    assert second[0] == second[1]


@opening("both")
def test_dark(opened):
    opened.page.locator(".qnb-plot .point").first.wait_for(timeout=20_000)
    opened.theme("JupyterLab Dark")
    opened.page.wait_for_timeout(800)
    ink = opened.page.locator(".qnb-plot .xtitle").first.evaluate("e => getComputedStyle(e).fill")
    assert min(int(v) for v in re.findall(r"\d+", ink)[:3]) > 150, "light text on a dark page"
    screenshot(opened, "panels-dark")
    opened.theme("JupyterLab Light")


@opening("both")
def test_reopened_without_a_kernel_the_written_form_stands_there(opened):
    page = opened.page
    page.evaluate(f"async () => {{ await {labs.PANEL}.context.save(); }}")
    opened.close()
    opened.open("panels-both.ipynb")  # its new kernel knows nothing of the panels
    opened.visit(1)
    page.get_by_text("Workflow: DigitsNet for htp-v75").wait_for(timeout=20_000)
    opened.visit(2)
    page.get_by_text("the layers that lose most on their own").first.wait_for(timeout=20_000)
    text = page.locator(".jp-Notebook").inner_text().lower()
    assert "model not found" not in text and "error displaying" not in text
    screenshot(opened, "panels-reopened")


@opening("hostile")
def test_hostile_names_stay_text(opened):
    page = opened.page
    page.locator(".qnb-plot").first.wait_for(timeout=20_000)
    for cell in (1, 2, 3):
        opened.visit(cell)
        page.wait_for_timeout(700)
    assert page.evaluate("() => window.hacked") is None
    assert page.locator("img[onerror], img[src=x]").count() == 0
    assert EVIL in page.locator(".jp-Notebook").inner_text()


@opening("asked")
def test_a_chart_asks_for_plotly_where_it_did_not_come_by_itself(opened):
    opened.visit(2)
    opened.page.locator(".qnb-plot .points path").first.wait_for(timeout=30_000)


@opening("comms")
def test_fifty_runs_of_a_cell_leak_no_comms(opened):
    count = "import comm; print(len(comm.get_comm_manager().comms))"
    before = int(kernel(opened, count))
    script = f"""async () => {{
      {labs.PANEL}.content.activeCellIndex = 1;
      await window.jupyterapp.commands.execute('notebook:run-cell');
    }}"""
    for _ in range(50):
        opened.page.evaluate(script)
    assert kernel(opened, "print(ran)") == "51"
    assert int(kernel(opened, count)) <= before
