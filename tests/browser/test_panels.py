"""The panels as a person meets them: clicks, keys, progress, dark theme, reopened without a kernel."""

import re
import time
from contextlib import suppress

import nbformat
import pytest
from nbformat import v4
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from tests.browser.lab import screenshot
from tools import lab as labs
from tools.execute_notebooks import KERNEL

pytestmark = [pytest.mark.browser, pytest.mark.slow]
WIDGET = "application/vnd.jupyter.widget-view+json"
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
ONE_RUN = FLOW + "flow.run('w4a8')\nNone"
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
RUNS_OF_A_CELL = 20
NOTEBOOKS = {
    "workflow": [FLOW, "flow.panel()"],
    "explorer": [RUNS, "ran = globals().get('ran', 0) + 1\nflow.explore('w4a8')"],
    "both": [RUNS, "flow.panel()", "flow.explore('w4a8')"],
    "hostile": [HOSTILE, "flow.panel()", "flow.explore()", "flow"],
    "asked": [
        ONE_RUN,
        "from qnb.panels.widgets import Library\nLibrary.ready = classmethod(lambda cls: None)",
        "flow.panel()",
    ],
}


@pytest.fixture(scope="module")
def opened(server, browser, notebook_folder, request):
    """A notebook of these cells, run once: its tests follow each other in the order in which they stand here."""
    name = f"panels-{request.param}.ipynb"
    cells = [v4.new_code_cell(source) for source in NOTEBOOKS[request.param]]
    nbformat.write(v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL}), notebook_folder / name)
    with browser.new_page() as page:
        lab = labs.Lab(page, server)
        lab.open(name)
        lab.run_all(120)
        assert lab.faults() == []
        page.wait_for_selector(".qnb-panel", timeout=20_000)
        yield lab
        lab.close()


@pytest.fixture(autouse=True)
def no_errors(opened):
    yield
    heard = list(opened.console_errors)
    opened.console_errors.clear()
    assert heard == []


def opening(name):
    return pytest.mark.parametrize("opened", [name], indirect=True, scope="module")


def button(lab, text, nth=0):
    return lab.page.locator(".qnb-panel button", has_text=re.compile(f"^{text}$")).nth(nth)


def status(lab):
    return lab.page.locator(".qnb-panel [role=status]").filter(has_text=re.compile(r"flow\.|what if")).first


def hit(lab, mark, text):
    """Click in the middle of a chart's mark, which Plotly covers with a layer of its own, until a text shows."""
    mark.scroll_into_view_if_needed()
    box = mark.bounding_box()
    where = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    shown = lab.page.get_by_text(text)
    for _ in range(5):  # a click counts where Plotly has seen the pointer come, which a busy machine does late
        lab.page.mouse.move(0, 0)
        lab.page.mouse.move(*where)
        lab.page.wait_for_timeout(300)
        lab.page.mouse.click(*where)
        with suppress(PlaywrightTimeout):
            return shown.wait_for(timeout=5_000)
    raise AssertionError(f"no click made {text!r} show")


def eventually(lab, check, timeout_s=20) -> None:
    """What follows a key or a click may take its time; then it must hold."""
    end = time.monotonic() + timeout_s
    while not check():
        assert time.monotonic() < end, "it has not happened"
        lab.page.wait_for_timeout(200)


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
    page.get_by_text("cancelled; nothing changed").wait_for(timeout=20_000)
    assert kernel(opened, "print(list(flow.runs))").strip() == "['fp32', 'fp16']"
    assert button(opened, "Cancel").is_hidden()


@opening("explorer")
def test_a_click_on_a_bar_changes_the_detail_and_what_if_is_undone(opened):
    page = opened.page
    bars = page.locator(".qnb-plot").first
    bars.locator(".point").nth(7).wait_for(timeout=20_000)
    name = kernel(opened, "print(flow['w4a8'].comparison.layer[7])")
    hit(opened, bars.locator(".point").nth(7), f"What if {name} had")
    page.locator(".qnb-plot .gtitle", has_text=re.compile(f"w4a8, {name}: .* clipped")).wait_for(timeout=20_000)
    page.locator(".qnb-panel select").nth(2).select_option("w8a8")
    button(opened, "Try").click()
    page.get_by_text(f"{name}: w8a8").wait_for(timeout=20_000)
    screenshot(opened, "explorer-what-if")
    button(opened, "Undo").click()
    page.get_by_text(f"{name}: w8a8").wait_for(state="detached", timeout=20_000)
    assert kernel(opened, "print(list(flow.runs))").strip() == "['fp32', 'w16a16', 'w8a8', 'w4a8']"


@opening("both")
def test_the_keyboard_reaches_everything(opened):
    page = opened.page
    page.locator(".qnb-plot .point").first.wait_for(timeout=20_000)
    page.locator(".qnb-panel button").first.focus()
    seen = set()
    for _ in range(60):
        seen.add(
            page.evaluate(
                "() => { const e = document.activeElement; return e.closest('.qnb-panel') ? "
                "(e.getAttribute('aria-label') || e.textContent || e.placeholder || e.tagName)"
                ".trim().slice(0, 24) : ''; }"
            )
        )
        page.keyboard.press("Tab")
    assert {"Run", "Run next", "Copy as code", "Code", "One bar per module"} <= seen
    bars = page.locator(".qnb-plot[tabindex='0']")
    bars.focus()
    assert bars.evaluate("e => getComputedStyle(e).outlineStyle") != "none", "the focus is seen"
    before = kernel(opened, "print(flow.selection.layer)")
    page.keyboard.press("ArrowRight")
    eventually(opened, lambda: kernel(opened, "print(flow.selection.layer)") != before)
    cells = len(opened.cells())
    code = page.locator(".qnb-code button:enabled", has_text="Copy as code").first
    code.focus()
    page.keyboard.press("Enter")
    page.get_by_text("Inserted below").first.wait_for(timeout=20_000)
    assert len(opened.cells()) == cells + 1 and code.get_attribute("title") in page.evaluate(
        f"() => {labs.PANEL}.content.widgets.map(w => w.model.sharedModel.source)"
    )
    button(opened, "One bar per module").focus()
    page.keyboard.press("Enter")
    folded = "from qnb.panels import shelf; print('blocks.0' in shelf.panels()[-1].order)"
    eventually(opened, lambda: kernel(opened, folded) == "True")
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
    selected = "print(flow['w4a8'].comparison.nsmallest(2, 'own_sqnr_db').layer.iloc[%d] == flow.selection.layer)"
    eventually(opened, lambda: kernel(opened, selected % 0) == "True")
    page.keyboard.press("ArrowDown")
    eventually(opened, lambda: kernel(opened, selected % 1) == "True")


@opening("explorer")
def test_a_click_while_the_table_scrolls_is_a_click(opened):
    page = opened.page
    page.locator(".qnb-panel .lm-TabBar-tab", has_text="All layers").click()
    row = page.locator(".qnb-grid tr[aria-selected=false]").nth(3)
    row.scroll_into_view_if_needed()
    name, box = row.locator("td").first.inner_text(), row.bounding_box()
    page.mouse.move(box["x"] + 30, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.locator(".qnb-grid-frame").last.evaluate("frame => frame.dispatchEvent(new Event('scroll'))")
    page.mouse.up()
    eventually(opened, lambda: kernel(opened, "print(flow.selection.layer)") == name)


@opening("both")
def test_dark(opened):
    opened.page.locator(".qnb-plot .point").first.wait_for(timeout=20_000)
    opened.theme("JupyterLab Dark")

    def light() -> bool:
        ink = opened.page.locator(".qnb-plot .xtitle").first.evaluate("e => getComputedStyle(e).fill")
        return min(int(v) for v in re.findall(r"\d+", ink)[:3]) > 150

    eventually(opened, light)  # light text on a dark page
    screenshot(opened, "panels-dark")
    opened.theme("JupyterLab Light")


@opening("both")
def test_reopened_without_a_kernel_the_written_form_stands_there(opened):
    page = opened.page
    page.evaluate(f"async () => {{ await {labs.PANEL}.context.save(); }}")
    opened.close()
    opened.open("panels-both.ipynb")  # its new kernel knows nothing of the panels
    panel, explorer = (cell["index"] for cell in opened.cells() if WIDGET in cell["mimes"])
    opened.visit(panel)
    page.get_by_text("Workflow: DigitsNet for htp-v75").wait_for(timeout=20_000)
    opened.visit(explorer)
    page.get_by_text("the layers with the largest own error").first.wait_for(timeout=20_000)
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
    eventually(opened, lambda: EVIL in page.locator(".jp-Notebook").inner_text())


@opening("asked")
def test_a_chart_asks_for_plotly_where_it_did_not_come_by_itself(opened):
    opened.visit(2)
    opened.page.locator(".qnb-plot .points path").first.wait_for(timeout=30_000)


@opening("explorer")
def test_many_runs_of_a_cell_leak_no_comms(opened):
    count = "import comm; print(len(comm.get_comm_manager().comms), ran)"
    script = f"""async () => {{
      {labs.PANEL}.content.activeCellIndex = 1;
      await window.jupyterapp.commands.execute('notebook:run-cell');
    }}"""
    opened.page.evaluate(script)
    before, ran = map(int, kernel(opened, count).split())
    for _ in range(RUNS_OF_A_CELL):
        opened.page.evaluate(script)
    after, runs = map(int, kernel(opened, count).split())
    assert runs == ran + RUNS_OF_A_CELL
    assert after <= before
