"""What an SVG picture is written with: tags, numbers, colours and text, all escaped."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable
from typing import Any

LINE = 1.25
"""From one line of text to the next, in font sizes."""
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_MARKUP = re.compile(r"</?(?:b|i|em|strong|sub|sup)>", re.IGNORECASE)
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_RGBA = re.compile(r"rgba\(\s*([\d.]+)\s*,\s*([\d.]+)\s*,\s*([\d.]+)\s*,\s*([\d.]+)\s*\)")
_WIDTHS = {**dict.fromkeys("iIjlftr.,:;'|!()[]/ ", 0.39), **dict.fromkeys("mwMW@%+=<>", 0.88)}


def number(value: float) -> str:
    """A coordinate to a tenth of a pixel, as short as it gets.

    >>> number(12.345), number(3.0), number(-0.01)
    ('12.3', '3', '0')
    """
    short = f"{value:.1f}".removesuffix(".0")
    return "0" if short == "-0" else short


def safe(text: Any) -> str:
    """Text that may stand between tags and in an attribute; what XML cannot hold is replaced.

    >>> safe("<img src=x>")
    '&lt;img src=x&gt;'
    """
    return html.escape(_NOT_XML.sub("\ufffd", str(text)), quote=True)


def tag(name: str, *content: str, **attributes: Any) -> str:
    """An element. Attributes that are None are left out, ``_`` stands for ``-``; the content is SVG already.

    >>> tag("path", d="M0 0", stroke_width=1.0, fill=None)
    '<path d="M0 0" stroke-width="1"/>'
    """
    said = "".join(f' {key.replace("_", "-")}="{_value(key, v)}"' for key, v in attributes.items() if v is not None)
    inside = "".join(content)
    return f"<{name}{said}>{inside}</{name}>" if inside else f"<{name}{said}/>"


def _value(key: str, value: Any) -> str:
    if isinstance(value, int | float):
        return f"{value:g}" if "opacity" in key else number(value)
    return safe(value)


def paint(attribute: str, colour: str | None) -> dict[str, Any]:
    """Attributes of a colour. Not every reader of SVG knows ``rgba``, all know an opacity apart.

    >>> paint("fill", "rgba(0,0,0,0.5)"), paint("stroke", "#ff0000"), paint("fill", None)
    ({'fill': '#000000', 'fill_opacity': '0.5'}, {'stroke': '#ff0000'}, {'fill': 'none'})
    """
    found = _RGBA.fullmatch(colour or "none")
    if found is None:
        return {attribute: colour or "none"}
    red, green, blue = (min(255, round(float(v))) for v in found.groups()[:3])
    if float(found[4]) == 0:
        return {attribute: "none"}
    return {attribute: f"#{red:02x}{green:02x}{blue:02x}", f"{attribute}_opacity": found[4]}


def lines(text: Any) -> list[str]:
    """Plotly's text as plain lines: ``<br>`` breaks, ``<b>`` and its like go, anything else is text.

    >>> lines("<b>fc</b><br>12 dB"), lines("<img src=x onerror=alert(1)>"), lines("a &lt; b")
    (['fc', '12 dB'], ['<img src=x onerror=alert(1)>'], ['a < b'])
    """
    return [html.unescape(_MARKUP.sub("", part)) for part in _BREAK.split(str(text))]


def wide(text: str, size: float) -> float:
    """How wide a line of text gets, in pixels: an upper estimate, as the reader's font is unknown.

    >>> wide("ill", 10.0) < wide("WWW", 10.0)
    True
    """
    return size * sum(_WIDTHS.get(c) or (1.0 if unicodedata.east_asian_width(c) in "WF" else 0.63) for c in text)


def wrap(text: str, size: float, width: float) -> list[str]:
    """Lines of at most so many pixels, broken at blanks; a word that is wider stays whole."""
    found: list[str] = []
    for line in lines(text):
        current = ""
        for word in line.split(" "):
            longer = f"{current} {word}" if current else word
            if current and wide(longer, size) > width:
                found.append(current)
                current = word
            else:
                current = longer
        found.append(current)
    return found


def words(
    said: Iterable[str],
    x: float,
    y: float,
    *,
    anchor: str = "start",
    size: float = 12.0,
    weight: Any = None,
    turn: int = 0,
) -> str:
    """Lines of text in the page's colour, the middle of their block at height ``y``.

    Args:
        x, y: pixels; ``x`` is where the lines start, end, or have their middle (``anchor``).
        turn: degrees about (x, y), clockwise.
    """
    said = list(said)
    # Readers differ about dominant-baseline; a third of the size below the middle is the baseline of most fonts.
    first = y + 0.35 * size - LINE * size * (len(said) - 1) / 2
    style = {
        "text_anchor": None if anchor == "start" else anchor,
        "font_size": float(size),
        "fill": "currentColor",
        "font_weight": weight,
        "transform": f"rotate({turn} {number(x)} {number(y)})" if turn else None,
    }
    parts = (
        tag("text", safe(line), x=float(x), y=float(first + i * LINE * size), **style)
        for i, line in enumerate(said)
        if line
    )
    return "".join(parts)
