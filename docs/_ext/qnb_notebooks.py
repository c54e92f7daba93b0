"""The notebooks as pages: copied into the site's sources with their stored outputs, and charts drawn without a network.

Sphinx reads only what lies below its own folder, so `copy` puts the notebooks there (git ignores them). Of an output it
keeps what a page can show: widgets go, their script-free HTML stays; a Plotly figure becomes an element that
``figures.js`` draws with the ``plotly.min.js`` of the installed package, on pages that have one.
"""

import json
from html import escape
from pathlib import Path

PLOTLY, HTML, TEXT = "application/vnd.plotly.v1+json", "text/html", "text/plain"
SCRIPT = "plotly.min.js"
ELEMENT = "qnb-figure"


def copy(source: Path, target: Path) -> None:
    """Each notebook of ``source`` as a page in ``target``; files that are the same already are left alone."""
    target.mkdir(exist_ok=True)
    names = {path.name for path in source.glob("*.ipynb")}
    for stale in {path.name for path in target.iterdir()} - names:
        (target / stale).unlink()
    for name in names:
        text = page((source / name).read_text(encoding="utf-8"))
        if not (target / name).exists() or (target / name).read_text(encoding="utf-8") != text:
            (target / name).write_text(text, encoding="utf-8")


def page(text: str) -> str:
    notebook = json.loads(text)
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            if "data" in output:
                output["data"] = shown(output["data"])
    return json.dumps(notebook, ensure_ascii=False, indent=1)


def shown(data: dict) -> dict:
    """What a page shows of an output: HTML, else text."""
    found = {mime: data[mime] for mime in (HTML, TEXT) if mime in data}
    if PLOTLY in data:
        found[HTML] = element(data[PLOTLY]) + "".join(found.get(HTML, ""))
    return found


def element(figure: dict) -> str:
    height = figure.get("layout", {}).get("height", 360)
    held = json.dumps({key: figure[key] for key in ("data", "layout")}).replace("</", "<\\/")
    title = figure.get("layout", {}).get("title", {}).get("text", "chart")
    return (
        f'<div class="{ELEMENT}" role="img" aria-label="{escape(title)}" style="min-height:{height}px">'
        f'<script type="application/json">{held}</script></div>'
    )


def write_plotly(app) -> None:
    """The library from the installed package, beside the other static files."""
    if app.builder.format == "html":
        from plotly.offline import get_plotlyjs

        folder = Path(app.outdir) / "_static"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SCRIPT).write_text(get_plotlyjs(), encoding="utf-8")


def load_plotly(app, pagename, templatename, context, doctree) -> None:
    if ELEMENT in context.get("body", ""):
        app.add_js_file(SCRIPT, loading_method="defer")
        app.add_js_file("figures.js", loading_method="defer")


def setup(app):
    app.connect("builder-inited", write_plotly)
    app.connect("html-page-context", load_plotly)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
