"""Documents that somebody has edited, in the page: no script runs, nothing is fetched, the page goes on."""

import json
import random
from urllib.parse import urlsplit

import nbformat
import pytest
from nbformat import v4

from tests.fuzz import edits
from tests.labextension import documents as docs
from tools.execute_notebooks import KERNEL
from tools.lab import PANEL

pytestmark = [pytest.mark.browser, pytest.mark.slow]
ELSEWHERE = "https://elsewhere.example/x"
LOADING = {
    "layout": {
        "images": [{"source": f"{ELSEWHERE}.png", "xref": "paper", "yref": "paper", "sizex": 1, "sizey": 1}],
        "template": {
            "layout": {"images": [{"source": f"{ELSEWHERE}.png"}], "width": 100_000},
            "data": {"bar": [{"hovertemplate": f"<a href='{ELSEWHERE}'>x</a>"}]},
        },
        "mapbox": {"style": ELSEWHERE},
        "map": {"style": ELSEWHERE},
        "geo": {"scope": "world"},
        "modebar": {"add": ["sendDataToCloud", "editInChartStudio"]},
        "updatemenus": [{"buttons": [{"method": "relayout"}]}],
        "font": {"family": f"x; background: url({ELSEWHERE})", "color": f"url({ELSEWHERE})"},
        "height": 10**9,
        "annotations": [{"text": f"<a href='{ELSEWHERE}'>x</a><span style='background:url({ELSEWHERE})'>y</span>"}],
        "paper_bgcolor": f"url({ELSEWHERE})",
        "width": 10**9,
    },
    "data": [
        {"type": "scattermap", "lat": [0], "lon": [0]},
        {"type": "choropleth", "geojson": ELSEWHERE},
        {"type": "image", "source": ELSEWHERE},
        {"type": "bar", "x": [1], "y": [2], "xsrc": ELSEWHERE},
        {"type": "scatter", "x": [1, 2], "y": [2, 1], "marker": {"symbol": f"url({ELSEWHERE})"}},
    ],
    "frames": [{"data": [{"type": "image", "source": ELSEWHERE}]}],
    "config": {"plotlyServerURL": ELSEWHERE, "topojsonURL": ELSEWHERE, "editable": True, "showSendToCloud": True},
}
"""A figure that would fetch something, if Plotly were given it."""
NO_NOTEBOOK_HOLDS = ("NaN", "Infinity", "\\ud800", "[" * 100, '{"children": [' * 100)
HIDDEN, SHOWN = "flow.run('w8a8')\u202e\u2066 # \u2069\u2066", "flow.run('w8a8')\ufffd\ufffd # \ufffd\ufffd"


def edited(count: int) -> list[dict]:
    """Documents with edits at random, and with code in some of their texts."""
    original, found = docs.hostile() | {"title": "edited"}, []
    original["blocks"].append({"type": "figure", "figure": docs.FIGURE, "alt": "Errors"})
    forms = [value for _, value in edits.code_edits(docs.RUN, list(edits.CODE))]
    for seed in range(count):
        value = edits.edit(original if seed % 2 else docs.RUN, random.Random(seed))[1]
        text = edits.text(forms[seed * 7 % len(forms)] if seed % 3 == 0 else value)
        if not any(words in text for words in NO_NOTEBOOK_HOLDS):
            found.append(json.loads(text))
    return found


@pytest.fixture
def strange(lab, notebook_folder):
    """A notebook whose one cell has these documents as outputs, open; the hosts that the page asked anything of."""
    asked: set[str] = set()
    lab.page.on("request", lambda request: asked.add(urlsplit(request.url).netloc))

    def opened(documents) -> set[str]:
        outputs = [v4.new_output("display_data", data={docs.MIME: found}) for found in documents]
        cells = [v4.new_code_cell("flow", outputs=outputs), v4.new_markdown_cell("The end.")]
        name = "strange.ipynb"
        nbformat.write(v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL}), notebook_folder / name)
        lab.open(name)
        lab.draw(0)
        return asked

    yield opened
    lab.close()


def own(lab) -> set[str]:
    return {urlsplit(lab.server.url).netloc, ""}


def test_edited_documents_run_nothing_and_fetch_nothing(lab, strange):
    documents = edited(52)[:48]  # JupyterLab shows the first 50 outputs of a cell
    asked = strange(documents)
    lab.command("qnb:show-sidebar")
    lab.page.wait_for_selector(".qnb-Sidebar")
    cards = lab.page.locator(".qnb-Output .qnb-Card")
    assert cards.count() == len(documents) > 40
    lab.page.wait_for_timeout(1000)
    assert lab.page.evaluate("window.hacked") is None and asked <= own(lab)
    made = lab.page.locator(".qnb-Card, .qnb-Sidebar").locator("img:not(.plot-img), a[href]:not(.modebar-btn), script")
    assert [node.evaluate("node => node.outerHTML") for node in made.all()] == []
    assert lab.page.evaluate(f"() => {PANEL}.content.widgets.length") == 2
    lab.visit(1)
    assert lab.page.locator("p", has_text="The end.").is_visible()


def test_what_would_load_hide_or_is_newer(lab, strange):
    """One notebook for all: a page takes long to open."""
    advice = {"title": "Run w8a8", "reason": "It is the next", "code": HIDDEN}
    asked = strange(
        [
            docs.document("run", "figure", {"type": "figure", "figure": LOADING, "alt": "Chart"}),
            docs.document("run", "advice", {"type": "code", "code": HIDDEN, "label": "Next"}, next=[advice]),
            docs.document("run", "Later") | {"version": 3, "blocks": [{"type": "text", "text": "of tomorrow"}]},
            docs.document("run", "Odd")
            | {"stages": "x" * 10, "runs": 7, "blocks": [None, {"type": "table", "rows": 7}]},
        ]
    )
    chart = lab.page.locator(".qnb-Output .js-plotly-plot")
    chart.locator(".bars path").first.wait_for()
    chart.hover()
    lab.page.wait_for_timeout(1000)
    assert asked <= own(lab)
    assert chart.locator(".modebar-btn[data-title*=loud], .modebar-btn[data-title*=Studio]").count() == 0
    assert chart.locator("image, .updatemenu-container, a[href]:not(.modebar-btn)").count() == 0
    box = chart.bounding_box()
    assert box["height"] <= 2100 and box["width"] <= 1300
    kept = set(chart.evaluate("chart => Object.keys(chart.layout)"))
    assert kept.isdisjoint({"images", "mapbox", "map", "geo", "updatemenus", "width"}) and "annotations" in kept
    assert chart.evaluate("chart => chart.data.map(trace => trace.type)") == ["bar", "scatter"]
    said = lab.page.locator(".qnb-Output .qnb-Card").all_text_contents()
    assert lab.page.locator(".qnb-Output .qnb-Code-text").text_content() == SHOWN
    assert "pip install --upgrade qnb" in said[2] and "of tomorrow" not in said[2] and said[3].startswith("Odd")
