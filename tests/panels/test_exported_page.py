"""A notebook with panels, exported as a page: their written form stands there, and no place kept for a live one."""

from pathlib import Path

import nbformat
from nbconvert import HTMLExporter

TOUR = Path(__file__).parents[2] / "notebooks" / "00-tour.ipynb"


def test_the_tour_as_a_page():
    page, _ = HTMLExporter().from_notebook_node(nbformat.read(TOUR, as_version=4))
    assert page.count("Layers of w4a8") == 1 and page.count("Workflow: DigitsNet for htp-v75") >= 2
    assert "vnd.jupyter.widget-view" not in page and page.count("<img alt=") >= 4


def test_the_tour_keeps_no_widget_state():
    notebook = nbformat.read(TOUR, as_version=4)
    assert "widgets" not in notebook.metadata and TOUR.stat().st_size < 500_000
