"""Take pictures of the first notebook in JupyterLab: ``python -m tools.screenshots [FOLDER]``.

One picture per chart and theme; ``workflow.png`` is the one that the README shows.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tools import lab as labs

ROOT = Path(__file__).parents[1]
NOTEBOOK = "01-quantization-workflow.ipynb"
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
SHOWN = 'flow.run("w4a8")'
"""The README shows the cell with this text, and what is below it."""


def cell_of(lab: labs.Lab, text: str) -> int:
    """Index of the cell whose source is ``text``."""
    sources = lab.page.evaluate(f"() => {labs.PANEL}.content.widgets.map(w => w.model.sharedModel.source)")
    return sources.index(text)


def take(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as private:
        notebooks = labs.private_copy(ROOT / "notebooks", Path(private) / "notebooks")
        with labs.serve(notebooks, Path(private)) as server, labs.browse(1280, 1000) as page:
            lab = labs.Lab(page, server)
            lab.open(NOTEBOOK)
            lab.command("application:toggle-left-area")
            for short, theme in THEMES.items():
                lab.theme(theme)
                for index in lab.charts():
                    lab.draw(index)
                    page.wait_for_timeout(500)
                    page.screenshot(path=str(folder / f"{short}-{index:02d}.png"))
            lab.theme(THEMES["light"])
            shown = cell_of(lab, SHOWN)
            lab.draw(shown + 1)
            lab.visit(shown)
            page.wait_for_timeout(800)
            page.screenshot(path=str(folder / "workflow.png"))
            lab.close()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.screenshots", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "build" / "screenshots")
    folder = parser.parse_args(arguments).folder
    take(folder)
    print(f"pictures in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
