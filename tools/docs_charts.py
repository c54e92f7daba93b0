"""Draw the charts of the documentation, as SVG in docs/images/charts: ``python -m tools.docs_charts``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import qnb
from qnb.charts.svg.picture import svg
from qnb.html import GREY
from qnb.workflow.documents.figures import distribution

FOLDER = Path(__file__).parents[1] / "docs" / "images" / "charts"


def charts() -> Iterator[tuple[str, object]]:
    """Name and Plotly figure of each."""
    demo = qnb.demo.digits()
    flow = qnb.Workflow(demo.model, demo.calibration, demo.evaluate, tolerance=0.01, target="htp-v75")
    for precision in ("w16a16", "w8a16", "w8a8", "w4a8"):
        flow.run(precision)
    yield "compare", flow.compare("w4a8").chart()
    yield "compare-runs", flow.compare("w8a16", "w8a8", "w4a8").chart()
    histogram, _, weights = flow.layer("w4a8", "stem.conv").figures()
    yield "histogram", histogram
    yield "weight-ranges", weights
    values, error = distribution(flow.layer("w4a8", "blocks.1.depthwise.conv").profile, "w4a8, blocks.1.depthwise.conv")
    yield "distribution", values
    yield "error-histogram", error
    yield "calibration-curve", flow.calibration_curve("w8a8").chart()
    yield "worst-samples", flow.worst_samples("w4a8", "flipped", 4).chart()
    yield "summary", flow.chart()
    yield "sensitivity", qnb.charts.sensitivity(flow.sensitivity("w4a8").table.head(12))
    front = flow.search_mixed_precision("w8a8", candidates=["w8a8", "w4a8"])
    yield "pareto", front.chart()
    yield "bits", front.strip()
    flow.recover("w4a8", "adaround")
    yield "recovered", flow.compare("w4a8", "w4a8+adaround").chart()
    yield "diff", flow.diff("w4a8", "w4a8+adaround").chart()


def main() -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, figure in charts():
        # An image does not know the page's text colour: a grey that reads on light and dark.
        drawn = svg(figure).replace("<svg ", f'<svg color="{GREY}" ', 1)
        (FOLDER / f"{name}.svg").write_text(drawn + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
