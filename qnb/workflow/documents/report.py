"""All results as one HTML page: offline, self-contained, to send to a colleague."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from qnb.atomic import write_atomically
from qnb.document import Document, Figure
from qnb.errors import InputError
from qnb.html import card, escape
from qnb.workflow.documents import workflow as documents

if TYPE_CHECKING:
    from os import PathLike

    from qnb.workflow.workflow import Workflow

STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1000px; margin: 24px auto; padding: 0 16px;
       background: #ffffff; color: #1c1c1c; }
pre { background: rgba(128,128,128,.14); padding: 6px 10px; border-radius: 4px; }
svg { max-width: 100%; height: auto; }
footer { margin-top: 32px; opacity: .8; font-size: 13px; }
@media (prefers-color-scheme: dark) { body { background: #111111; color: #e8e8e8; } }
"""


def write(flow: Workflow, path: str | PathLike, interactive: bool = True) -> None:
    """Write ``flow``'s dashboard to ``path``, replaced as a whole.

    Args:
        interactive: charts by Plotly, whose 5 MB stand in the page once; else pictures (SVG) and no script.

    Raises:
        InputError: there is nothing to report.
        FileError: the folder is missing or not writable.
    """
    if not flow.runs:
        raise InputError("flow.report", "a workflow without runs", "run a step first: flow.run('w8a16')")
    made = documents.written(datetime.now(UTC))
    write_atomically(path, page(documents.dashboard(flow), interactive, made).encode())


def page(document: Document, interactive: bool, footer: str) -> str:
    """A document as a whole HTML page."""
    draw = _plotly if interactive else _drawn
    parts = [draw(i, b) if isinstance(b, Figure) else b.html() for i, b in enumerate(document.blocks)]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            '<head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(document.title)}</title>",
            f"<style>{STYLE}</style>",
            _library() if interactive else "",
            "</head>",
            "<body>",
            card(document.title, {}, *parts, tone=document.tone),
            f"<footer>{escape(footer)}</footer>",
            "</body>",
            "</html>",
        ]
    )


def _drawn(index: int, block: Figure) -> str:
    """The picture as a part of the page, in the page's text colour."""
    return block.picture


def _library() -> str:
    from plotly.offline import get_plotlyjs

    return f"<script>{get_plotlyjs()}</script>"


def _plotly(index: int, block: Figure) -> str:
    from plotly.io import to_html

    figure = {"data": block.figure["data"], "layout": block.figure["layout"]}
    return to_html(
        figure,
        config=block.figure["config"],
        include_plotlyjs=False,
        full_html=False,
        validate=False,
        div_id=f"chart-{index}",
    )
