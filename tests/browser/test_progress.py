"""The bar in a cell whose step takes long: it is seen, cancels the step, and leaves nothing behind."""

import json

import nbformat
import pytest
from nbformat import v4

from tests.browser.lab import screenshot
from tools.execute_notebooks import KERNEL

pytestmark = pytest.mark.browser
NAME = "progress.ipynb"
SETUP = """%env QNB_PROGRESS=on
import time, torch, qnb
from qnb.errors import Cancelled
batches = [torch.randn(8, 4) for _ in range(40)]
def evaluate(model):
    for batch in batches:
        model(batch)
        time.sleep(pause)
    return 1.0
flow = qnb.Workflow(torch.nn.Linear(4, 4).eval(), batches[:2], evaluate)
pause = 0
flow.run("fp32"); None"""
CANCEL = """pause = 0.25
try:
    flow.run("w8a8")
except Cancelled:
    pass"""
FINISH = """pause = 0.06
flow.run("w8a8"); None"""
STOP = """pause = 0.25
flow.run("w4a8")"""
BAR = ".qnb-Progress"
PANEL = "window.jupyterapp.shell.currentWidget"
RUN = f"""i => {{ const notebook = {PANEL}.content; notebook.activeCellIndex = i; window.qnbDone = false;
  window.jupyterapp.commands.execute('notebook:run-cell').finally(() => {{ window.qnbDone = true; }}); }}"""
OUTPUTS = f"() => {PANEL}.content.widgets.slice(1).map(w => w.model.outputs.toJSON())"
HEIGHTS = f"() => {PANEL}.content.widgets.map(w => w.node.getBoundingClientRect().height)"


@pytest.fixture(scope="module")
def opened(server, browser, notebook_folder):
    """A notebook whose first cell has run."""
    from tools import lab as labs

    cells = [v4.new_code_cell(source) for source in (SETUP, CANCEL, FINISH, STOP)]
    nbformat.write(v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL}), notebook_folder / NAME)
    with browser.new_page() as page:
        lab = labs.Lab(page, server)
        lab.open(NAME)
        run(lab, 0)
        ended(lab)
        yield lab
        lab.close()


def run(lab, cell: int) -> None:
    lab.page.evaluate(RUN, cell)


def ended(lab) -> None:
    lab.page.wait_for_function("() => window.qnbDone", timeout=60_000)


def shown(lab):
    bar = lab.page.locator(BAR)
    bar.wait_for(timeout=20_000)
    lab.page.get_by_text("evaluating w8a8 (3 of 3)").wait_for(timeout=20_000)
    lab.page.wait_for_timeout(700)
    return bar


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_it_is_seen_and_cancels_the_step(opened, theme):
    lab = opened
    lab.theme(f"JupyterLab {theme}")
    before = lab.page.evaluate(HEIGHTS)
    run(lab, 1)
    bar = shown(lab)
    track = bar.get_by_role("progressbar")
    assert 0 < int(track.get_attribute("aria-valuenow")) < 99 and "s left" in bar.inner_text()
    assert bar.bounding_box()["height"] < 40, "one line"
    screenshot(lab, f"progress-{theme.lower()}")
    bar.evaluate("node => node.addEventListener('click', () => { window.qnbTold = node.innerText; })")
    bar.get_by_role("button", name="Cancel").click()
    told = lab.page.evaluate("() => window.qnbTold")
    assert "cancelling …" in told and "left" not in told, "at once"
    ended(lab)
    assert bar.count() == 0 and lab.page.evaluate(OUTPUTS) == [[]] * 3 and lab.page.evaluate(HEIGHTS) == before
    screenshot(lab, f"progress-{theme.lower()}-cancelled")
    assert lab.kernel("print('w8a8' in flow)").strip() == "False"


def test_a_step_that_ends_leaves_nothing(opened):
    lab = opened
    before = lab.page.evaluate(HEIGHTS)
    run(lab, 2)
    lab.page.locator(BAR).wait_for(timeout=20_000)
    ended(lab)
    assert lab.page.locator(BAR).count() == 0 and lab.page.evaluate(OUTPUTS) == [[]] * 3
    assert lab.page.evaluate(HEIGHTS) == before and lab.kernel("print('w8a8' in flow)").strip() == "True"
    comms = "import comm; print(len(comm.get_comm_manager().comms))"
    assert lab.kernel(comms).strip() == "0"


def test_it_is_gone_after_an_interrupt_and_after_a_restart(opened):
    lab = opened
    for end in ("interruptKernel", "restartKernel"):
        run(lab, 3)
        lab.page.locator(BAR).wait_for(timeout=20_000)
        session = f"{PANEL}.context.sessionContext"
        lab.page.evaluate(
            {
                "interruptKernel": f"() => {session}.session.kernel.interrupt()",
                "restartKernel": f"() => {session}.restartKernel()",
            }[end]
        )
        lab.page.locator(BAR).wait_for(state="detached", timeout=20_000)
        ended(lab)
        if end == "interruptKernel":
            (said,) = lab.page.evaluate(OUTPUTS)[2]
            assert said["traceback"] == ["flow.run('w4a8'): interrupted; nothing changed. To fix: run the step again."]
        lab.page.evaluate("() => window.jupyterapp.commands.execute('notebook:clear-cell-output')")


def test_the_notebook_holds_nothing_of_it(opened, notebook_folder):
    lab = opened
    lab.page.evaluate(f"() => {PANEL}.context.save()")
    saved = json.loads((notebook_folder / NAME).read_text())
    assert [cell["outputs"] for cell in saved["cells"][1:]] == [[]] * 3
    assert "widgets" not in saved["metadata"] and "qnb-" not in json.dumps(saved["cells"][1:])
    lab.open(NAME)
    assert lab.page.locator(BAR).count() == 0 and lab.faults() == []
    assert [error for error in lab.console_errors if "debugger state" not in error] == []
