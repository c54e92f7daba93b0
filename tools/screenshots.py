"""Take pictures of qnb in JupyterLab, 1280x800, light and dark: ``python -m tools.screenshots [FOLDER]``.

The README and the documentation show some of them, from docs/images: ``--docs`` renews those.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from tools import lab as labs

ROOT = Path(__file__).parents[1]
TOUR = "00-tour.ipynb"
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
PANEL, EXPLORER = 7, 9
"""Cells of the tour."""
DOCS = ("deploy-light", "deploy-dark", "explorer-light", "explorer-dark", "panel-light", "panel-dark", "sidebar-light")
SAVED = """import qnb
demo = qnb.demo.digits()
flow = qnb.Workflow(demo.model, calibration=demo.calibration, evaluate=demo.evaluate, tolerance=0.01)
flow.check()
for p in ("fp16", "w16a16", "w8a16", "w8a8", "w4a8"):
    flow.run(p)
flow.save("digits.qnb")"""


class Camera:
    """Takes each picture in both themes."""

    def __init__(self, lab: labs.Lab, folder: Path):
        self.lab, self.folder = lab, folder

    def __call__(self, name: str, wait_ms: int = 900) -> None:
        for short, theme in THEMES.items():
            self.lab.theme(theme)
            self.lab.page.wait_for_timeout(wait_ms)
            self.lab.page.screenshot(path=str(self.folder / f"{name}-{short}.png"))
        self.lab.theme(THEMES["light"])

    def cell(self, name: str, index: int, down: int = 0) -> None:
        """A cell at the top of the page, or so many pixels below that."""
        for _ in range(2):  # what is above grows when it is drawn
            self.lab.visit(index)
            self.lab.page.wait_for_timeout(1500)
        self.lab.page.evaluate("d => document.querySelector('.jp-WindowedPanel-outer').scrollBy(0, d)", down)
        self(name)


def deploy_panel(lab: labs.Lab, camera: Camera) -> None:
    """A cell of its own at the end of the tour; W8A8 on both runtimes where there are both."""
    lab.page.evaluate("""async () => {
      const app = window.jupyterapp, content = app.shell.currentWidget.content;
      content.activeCellIndex = content.widgets.length - 1;
      await app.commands.execute('notebook:insert-cell-below');
      content.activeCell.model.sharedModel.setSource('flow.deploy_panel("w8a8")');
      await app.commands.execute('notebook:run-cell');
    }""")
    lab.kernel("flow.deploy('w8a8', 'deploy'); None")
    last = len(lab.cells()) - 1
    lab.visit(last)
    lab.page.wait_for_timeout(2500)
    camera.cell("deploy", last)


def take(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as private:
        notebooks = labs.private_copy(ROOT / "notebooks", Path(private) / "notebooks")
        with labs.serve(notebooks, Path(private)) as server, labs.browse(1280, 800) as page:
            lab = labs.Lab(page, server)
            camera = Camera(lab, folder)
            lab.open(TOUR)
            camera("tour-stored")
            lab.command("application:toggle-left-area")
            lab.run_all()
            lab.kernel("flow.selection.set(run='w4a8', compared_to=None, layers=['stem.conv'])")
            camera.cell("panel", PANEL)
            camera.cell("explorer", EXPLORER)
            camera.cell("explorer-detail", EXPLORER, 560)
            deploy_panel(lab, camera)
            lab.command("qnb:show-sidebar")
            camera.cell("sidebar", PANEL)
            lab.command("launcher:create")
            camera("launcher")
            lab.kernel(SAVED)
            lab.command("docmanager:open", path="digits.qnb")
            camera("dashboard", 2500)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.screenshots", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "build" / "screenshots")
    parser.add_argument("--docs", action="store_true", help="copy those that the documentation shows to docs/images")
    given = parser.parse_args(arguments)
    take(given.folder)
    for name in DOCS if given.docs else ():
        shutil.copy(given.folder / f"{name}.png", ROOT / "docs" / "images")
    print(f"pictures in {given.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
