"""Compare HTML and SVG: tags and words exactly, numbers closely, each under its column's header."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import unquote

from tests.notebook_rules.numbers import ANY_NUMBER, FLOOR, NUMBER, compare_text, is_decibel_name

PIXEL = 2.0
"""Drawn coordinates may move by so much: half a decibel in a chart of layers is as much."""

PICTURE = "data:image/svg+xml,"
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")


@dataclass
class Piece:
    text: str
    decibel: bool = False
    drawing: bool = False


@dataclass
class Table:
    """Where the parser stands in one table."""

    headers: dict[int, str] = field(default_factory=dict)
    column: int = -1
    width: int = 1
    row_header: str = ""
    heading: bool = False

    def start(self, tag: str, attributes: dict) -> None:
        if tag == "tr":
            self.column, self.width, self.row_header = -1, 1, ""
        elif tag in ("td", "th"):
            self.column += self.width
            self.width = int(attributes.get("colspan") or 1)
        if tag == "thead":
            self.heading = True
        elif tag in ("tbody", "td"):
            self.heading = False

    def head(self, text: str) -> None:
        if self.heading:
            for column in range(self.column, self.column + self.width):
                self.headers[column] = text
        else:
            self.row_header += text

    @property
    def decibel(self) -> bool:
        return is_decibel_name(self.headers.get(self.column, "")) or is_decibel_name(self.row_header)


class Pieces(HTMLParser):
    """Cuts markup into tags and texts, each marked with what its numbers are."""

    def __init__(self, markup: str):
        super().__init__(convert_charrefs=True)
        self.pieces: list[Piece] = []
        self.tables: list[Table] = []
        self.inside: list[str] = []
        self.drawing = False
        self.feed(_UUID.sub("UUID", markup))
        self.close()

    def handle_starttag(self, tag, attributes):
        if tag == "table":
            self.tables.append(Table())
        elif self.tables:
            self.tables[-1].start(tag, dict(attributes))
        source = dict(attributes).get("src") or ""
        if source.startswith(PICTURE):  # a picture in an address: compared like one in the page
            self.pieces += Pieces(unquote(source.removeprefix(PICTURE))).pieces
            return
        self.drawing |= tag == "svg"
        self.inside.append(tag)
        self.pieces.append(Piece(self.get_starttag_text() or tag, drawing=self.drawing))

    def handle_endtag(self, tag):
        if tag == "table" and self.tables:
            self.tables.pop()
        self.drawing &= tag != "svg"
        while self.inside and self.inside.pop() != tag:
            pass
        self.pieces.append(Piece(f"</{tag}>"))

    def handle_data(self, data):
        if self.tables and "th" in self.inside:
            self.tables[-1].head(data.strip())
        if data.strip():
            self.pieces.append(Piece(data, decibel=bool(self.tables) and self.tables[-1].decibel))


def compare_markup(reference: str, test: str) -> Iterator[str]:
    """Yield how two pieces of HTML or SVG differ.

    >>> page = "<table><thead><tr><th>sqnr_db</th></tr></thead><tr><td>{}</td></tr></table>"
    >>> list(compare_markup(page.format(8.01), page.format(8.04)))
    []
    >>> len(list(compare_markup("<b>1</b>", "<i>1</i>")))
    1
    """
    mine, theirs = Pieces(reference).pieces, Pieces(test).pieces
    for a, b in zip(mine, theirs, strict=False):
        floor, pattern = (PIXEL, ANY_NUMBER) if a.drawing else (FLOOR, NUMBER)
        differences = list(compare_text(a.text, b.text, decibel=a.decibel, floor=floor, pattern=pattern))
        yield from differences
        if differences and a.text[:1] == "<":  # another tag: what follows no longer corresponds
            return
    if len(mine) != len(theirs):
        yield f"{len(mine)} tags and texts are now {len(theirs)}"
