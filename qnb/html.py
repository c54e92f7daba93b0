"""Script-free HTML for a notebook cell: reads in light and dark, and as plain tables where styles are stripped."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from qnb.columns import title
from qnb.text import decibel, number

if TYPE_CHECKING:
    import pandas as pd

BORDER = "1px solid rgba(128,128,128,.35)"
GREY, SAFE = "#797979", " /:;=,.()-+!*@?"
"""Of pictures' texts; what needs no escape in a picture's address."""
TONES = {"neutral": "rgba(128,128,128,.7)", "good": "#009e73", "warn": "#d98200", "bad": "#d55e00"}
"""Colours of a card's left edge; the text says the same."""


def escape(value: Any) -> str:
    return html.escape(str(value), quote=True)


def table(frame: pd.DataFrame, max_rows: int = 12, formats: Mapping[str, Any] | None = None, caption: str = "") -> str:
    """A DataFrame as an HTML table; the middle is left out where there are more than ``max_rows`` rows."""
    formats = formats or {}
    shown = list(range(len(frame)))
    if len(shown) > max_rows:
        shown = shown[: max_rows // 2] + [None] + shown[-(max_rows - max_rows // 2) :]
    head = "".join(_cell("th", escape(title(c)), right(frame[c])) for c in frame.columns)
    rows = []
    for index in shown:
        if index is None:
            rows.append(
                f'<tr><td colspan="{len(frame.columns)}" style="text-align:center;padding:2px 10px">'
                f"… {len(frame) - max_rows} more …</td></tr>"
            )
            continue
        row = frame.iloc[index]
        cells = (_cell("td", escape(cell_text(row[c], form(c, formats))), right(frame[c])) for c in frame.columns)
        rows.append(f"<tr>{''.join(cells)}</tr>")
    said = f'<caption style="text-align:left;padding:2px 0">{escape(caption)}</caption>' if caption else ""
    return (
        f'<div style="overflow-x:auto"><table style="border-collapse:collapse;margin:6px 0;text-align:left">{said}'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def form(column: object, formats: Mapping[Any, Any]) -> Callable[[Any], str] | None:
    """How a column's values are written: as said, or by `number`; an SQNR of infinity by its word."""
    if column in formats or not in_decibel(column):
        return formats.get(column)
    return lambda v: decibel(v) if isinstance(v, float) and math.isinf(v) else number(v)


def in_decibel(column: object) -> bool:
    """Whether a column holds an SQNR; its name contains the unit."""
    return str(column).endswith("_db")


def cell_text(value: Any, form: Callable[[Any], str] | None = None) -> str:
    """A cell's value as text; missing values are blank."""
    import pandas as pd

    if not isinstance(value, list | tuple) and pd.isna(value):
        return ""
    return form(value) if form else number(value)


def right(column: Any) -> bool:
    """Whether a column holds numbers, which stand at the right."""
    return column.dtype.kind in "iuf" or str(column.dtype).startswith(("Int", "Float"))


def _cell(tag: str, text: str, right: bool) -> str:
    align = "right" if right else "left"
    style = f"text-align:{align};padding:2px 10px;border-bottom:{BORDER};white-space:nowrap"
    return f'<{tag} style="{style}">{text}</{tag}>'


def facts(rows: Mapping[str, Any]) -> str:
    """Names and values as a table of two columns; both are escaped."""
    lines = "".join(
        f'<tr><td style="text-align:left;padding:1px 14px 1px 0;opacity:.8">{escape(k)}</td>'
        f'<td style="text-align:left;padding:1px 0">{escape(v)}</td></tr>'
        for k, v in rows.items()
    )
    return f'<table style="border-collapse:collapse;margin:4px 0">{lines}</table>' if lines else ""


def code(label: str, why: str, text: str) -> str:
    """Code with what it is for."""
    said = f"<b>{escape(label)}</b>" + (f": {escape(why)}" if why else "")
    block = f'<pre style="margin:2px 0 6px;white-space:pre-wrap">{escape(text)}</pre>' if text else ""
    return f'<p style="margin:4px 0">{said}</p>{block}'


def ladder(stages: Iterable[Mapping[str, str]]) -> str:
    """The stages of a workflow, from the top down."""
    rows = "".join(
        f'<tr><td style="text-align:left;padding:2px 10px 2px 0;white-space:nowrap">{escape(s["mark"])} '
        f'<b>{escape(s["title"])}</b></td><td style="text-align:left;padding:2px 0">{escape(s["text"])}</td></tr>'
        for s in stages
    )
    return f'<table style="border-collapse:collapse;margin:4px 0">{rows}</table>'


def picture(svg: str, alt: str) -> str:
    """A picture (SVG) as an image of its own: readers that take foreign tags out of HTML leave images in.

    An image does not know the page's text colour: its texts are in a grey that reads on light and dark.
    """
    drawn = svg.replace("<svg ", f'<svg color="{GREY}" ', 1)
    address = f"data:image/svg+xml,{quote(drawn, safe=SAFE)}"
    return f'<img alt="{escape(alt)}" style="display:block;max-width:100%" src="{address}">'


def card(title: str, rows: Mapping[str, Any], *parts: str, tone: str = "neutral") -> str:
    """A titled block: facts as a line each, then ready-made HTML parts.

    Args:
        rows: names to values; both are escaped.
        parts: HTML that is already safe (`table`, `paragraph`).
        tone: neutral, good, warn or bad.
    """
    return (
        f'<div style="border-left:4px solid {TONES[tone]};padding:2px 0 2px 12px;margin:4px 0">'
        f"<b>{escape(title)}</b>{facts(rows)}{''.join(parts)}</div>"
    )


def paragraph(text: str, tone: str = "neutral") -> str:
    """A paragraph; what is bad has an edge in that colour."""
    edge = f";border-left:4px solid {TONES[tone]};padding-left:8px" if tone == "bad" else ""
    return f'<p style="margin:4px 0{edge}">{escape(text)}</p>'
