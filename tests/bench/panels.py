"""Figures of the panels in JupyterLab under Chromium: ``python -m tests.bench.panels``; prints, judges nothing."""

from __future__ import annotations

import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbformat import v4

from tools import lab as labs
from tools.execute_notebooks import KERNEL

LAYERS = 1000
DEEP = f"""import torch, qnb
torch.manual_seed(0)
model = torch.nn.Sequential(*(torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.ReLU()) for _ in range({LAYERS})))
for p in model.parameters():
    p.data *= 2.2
x = [torch.randn(16, 16)]
flow = qnb.Workflow(model.eval(), x, lambda m: float(m(x[0]).mean()))
flow.run("w8a8")
len(flow["w8a8"].comparison)"""
SLOW = """import time, qnb
demo = qnb.demo.digits()
def evaluate(model):
    for batch in demo.calibration * 20:
        model(batch)
        time.sleep(0.2)
    return 1.0
flow = qnb.Workflow(demo.model, demo.calibration[:2], evaluate)
flow.panel()"""
RUNS = """import qnb
demo = qnb.demo.digits()
flow = qnb.Workflow(demo.model, demo.calibration[:2], demo.evaluate)
flow.run("w4a8")"""


def notebook(folder: Path, name: str, cells: list[str]) -> str:
    made = v4.new_notebook(cells=[v4.new_code_cell(c) for c in cells], metadata={"kernelspec": KERNEL})
    nbformat.write(made, folder / name)
    return name


def first_charts(lab: labs.Lab, count: int) -> float:
    """Seconds from when the kernel has run the last cell until so many live charts are drawn."""
    lab.page.evaluate(labs.RUN_ALL)
    lab.page.wait_for_function(labs.RAN, timeout=120_000, polling=20)
    since = time.monotonic()
    drawn = f"() => document.querySelectorAll('.qnb-plot .main-svg:first-child').length >= {count}"
    lab.page.wait_for_function(drawn, timeout=60_000, polling=20)
    return time.monotonic() - since


def click_to_detail(lab: labs.Lab) -> list[float]:
    """Milliseconds from a press of an arrow key or a click until the detail names the next layer."""
    script = """async () => {
      const plot = document.querySelector(".qnb-plot[tabindex='0']");
      const views = [...document.querySelectorAll('.qnb-plot')].at(1);
      const before = views.dataset.drawn;
      const since = performance.now();
      plot.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowRight', bubbles: true }));
      while (views.dataset.drawn === before) await new Promise(requestAnimationFrame);
      return performance.now() - since;
    }"""
    return [lab.page.evaluate(script) for _ in range(15)]


def cancel(lab: labs.Lab) -> float:
    """Seconds from the click on Cancel until the panel says that it is cancelled."""
    page = lab.page
    page.locator(".qnb-panel button", has_text=re.compile("^Run$")).nth(1).click()
    page.get_by_text(re.compile(r"evaluating fp32: [3-9]")).wait_for(timeout=60_000)
    since = time.monotonic()
    page.locator(".qnb-panel button", has_text=re.compile("^Cancel$")).first.click()
    page.get_by_text("cancelled; nothing changed").wait_for(timeout=20_000)
    return time.monotonic() - since


def main() -> int:
    with tempfile.TemporaryDirectory() as private, tempfile.TemporaryDirectory() as notebooks:
        folder = Path(notebooks)
        explore = 'flow.explore("w4a8")'
        one = notebook(folder, "one.ipynb", [RUNS, "flow.panel()"])
        five = notebook(folder, "five.ipynb", [RUNS, "flow.panel()", explore, explore])
        deep = notebook(folder, "deep.ipynb", [DEEP, 'flow.explore("w8a8")'])
        slow = notebook(folder, "slow.ipynb", [SLOW])
        with labs.serve(folder, Path(private)) as server:
            for name, charts in ((one, 1), (five, 5)):
                with labs.browse(1280, 4000) as page:
                    lab = labs.Lab(page, server)
                    lab.open(name)
                    print(f"{charts} charts after the kernel has the result: {first_charts(lab, charts):.1f} s")
                    lab.close()
            with labs.browse(1280, 2000) as page:
                lab = labs.Lab(page, server)
                lab.open(deep)
                print(f"explorer of {LAYERS} layers drawn: {first_charts(lab, 2):.1f} s")
                page.wait_for_timeout(3000)
                times = click_to_detail(lab)
                print(
                    f"key to detail at {LAYERS} layers: median {statistics.median(times):.0f} ms, "
                    f"largest {max(times):.0f} ms"
                )
                lab.close()
            with labs.browse(1280, 1200) as page:
                lab = labs.Lab(page, server)
                lab.open(slow)
                lab.run_all()
                page.wait_for_selector(".qnb-panel")
                page.wait_for_timeout(2000)
                print(f"cancel at steps of 0.2 s: {cancel(lab):.2f} s")
                lab.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
