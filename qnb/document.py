"""A result as a document, in three forms: text, script-free HTML, JSON for a renderer.

A document is a title and blocks. A reader of the JSON (`MIME`) needs no kernel and runs no code: every string
in it is plain text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isinf
from textwrap import indent
from typing import Any

from qnb import columns, html, text

MIME, VERSION = "application/vnd.qnb.v2+json", 2


@dataclass(frozen=True)
class Facts:
    """Names and values, a line each."""

    rows: dict[str, str]

    def text(self) -> str:
        width = max(map(len, self.rows), default=0)
        return "\n".join(f"  {k.ljust(width)}  {v}" for k, v in self.rows.items())

    def html(self) -> str:
        return html.facts(self.rows)

    def json(self) -> dict:
        return {"type": "facts", "rows": [[k, str(v)] for k, v in self.rows.items()]}


@dataclass(frozen=True)
class Table:
    """A DataFrame; where it has more than ``most`` rows, those in the middle are left out.

    Args:
        formats: column name to ``value -> text``; `qnb.html.form` where there is none.
    """

    frame: Any
    caption: str = ""
    max_rows: int = 12
    formats: dict[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        plain = lambda v: f"{v:.4g}"  # noqa: E731
        decibels = {
            c: lambda v: text.decibel(v) if isinf(v) else "NaN" if v != v else plain(v)
            for c in self.frame
            if html.in_decibel(c) and self.frame[c].dtype.kind == "f"
        }
        return self.frame.to_string(index=False, float_format=plain, formatters=decibels)

    def html(self) -> str:
        return html.table(self.frame, self.max_rows, self.formats, self.caption)

    def json(self) -> dict:
        frame, more = self.frame, max(0, len(self.frame) - self.max_rows)
        if more:
            kept = [*range(self.max_rows // 2), *range(len(frame) - (self.max_rows - self.max_rows // 2), len(frame))]
            frame = frame.iloc[kept]
        heads = [{"name": columns.title(c), "align": "right" if html.right(frame[c]) else "left"} for c in frame]
        forms = [html.form(c, self.formats) for c in frame]
        rows = [
            [html.cell_text(v, form) for v, form in zip(row, forms, strict=True)]
            for row in frame.itertuples(index=False, name=None)
        ]
        return {"type": "table", "caption": self.caption, "columns": heads, "rows": rows, "more": more}


@dataclass(frozen=True)
class Text:
    """A sentence; ``tone`` is neutral, good, warn or bad, and the text says the same."""

    words: str
    tone: str = "neutral"

    def text(self) -> str:
        return f"  {self.words}"

    def html(self) -> str:
        return html.paragraph(self.words, self.tone)

    def json(self) -> dict:
        return {"type": "text", "text": self.words, "tone": self.tone}


@dataclass(frozen=True)
class Code:
    """Code to run, with what it is for and why."""

    code: str
    label: str = ""
    why: str = ""

    def text(self) -> str:
        said = f"{self.label}: {self.why}" if self.why else self.label
        return said + ("\n" + indent(self.code, "    ") if self.code else "")

    def html(self) -> str:
        return html.code(self.label, self.why, self.code)

    def json(self) -> dict:
        label = f"{self.label}: {self.why}" if self.why else self.label
        return {"type": "code", "code": self.code, "label": label}


@dataclass(frozen=True)
class Figure:
    """A chart: Plotly's JSON for readers that can draw it, a picture (SVG) for those that cannot."""

    figure: dict
    alt: str
    picture: str = ""

    def text(self) -> str:
        return f"  [chart] {self.alt}"

    def html(self) -> str:
        return html.picture(self.picture, self.alt) if self.picture else html.paragraph(self.alt)

    def json(self) -> dict:
        return {"type": "figure", "figure": self.figure, "alt": self.alt}


@dataclass(frozen=True)
class Ladder:
    """The workflow's stages, each with what was reached (see `qnb.workflow.guidance.stages.Stage`)."""

    stages: Sequence[dict]

    def text(self) -> str:
        width = max((len(s["title"]) for s in self.stages), default=0)
        return "\n".join(f"  {s['mark']} {s['title'].ljust(width)}  {s['text']}" for s in self.stages)

    def html(self) -> str:
        return html.ladder(self.stages)

    def json(self) -> dict:
        return {"type": "ladder", "stages": list(self.stages)}


@dataclass(frozen=True)
class Document:
    """A result as a document.

    Args:
        kind: workflow, run, check, comparison, layer, explorer.
        title: says what happened.
        blocks: `Facts`, `Table`, `Text`, `Code`, `Figure`, `Ladder`.
        tone: neutral, good, warn or bad.
        workflow, stages, runs, next: the same facts for a program that follows a notebook; see `json`.

    >>> found = Document("run", "w8a8: no loss", (Facts({"size": "79 kB"}),), tone="good")
    >>> print(found.text())
    w8a8: no loss
      size  79 kB
    >>> sorted(found.bundle())
    ['application/vnd.qnb.v2+json', 'text/html', 'text/plain']
    """

    kind: str
    title: str
    blocks: tuple = ()
    tone: str = "neutral"
    workflow: dict | None = None
    stages: tuple = ()
    runs: tuple = ()
    next: tuple = ()

    def text(self) -> str:
        return "\n".join([self.title, *(block.text() for block in self.blocks)])

    def html(self) -> str:
        return html.card(self.title, {}, *(block.html() for block in self.blocks), tone=self.tone)

    def json(self) -> dict:
        """What `MIME` carries; all leaves are text, but for the numbers in a figure."""
        return {
            "version": VERSION,
            "kind": self.kind,
            "title": self.title,
            "tone": self.tone,
            "blocks": [block.json() for block in self.blocks],
            "workflow": self.workflow,
            "stages": list(self.stages),
            "runs": list(self.runs),
            "next": list(self.next),
        }

    def bundle(self) -> dict:
        """All forms, by MIME type."""
        return {"text/plain": self.text(), "text/html": self.html(), MIME: self.json()}


class Shown:
    """Base of what shows as a `Document`; a notebook takes the form it can draw."""

    def document(self) -> Document:
        raise NotImplementedError

    def __repr__(self) -> str:
        return self.document().text()

    def _repr_html_(self) -> str:
        return self.document().html()

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        return self.document().bundle()
