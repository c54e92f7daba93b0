"""The Markdown pages of the repository, read as the tests need them."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FENCE = re.compile(r"^([ \t]*)(```+|~~~+)([^\n]*)\n(.*?)^\1\2[ \t]*$", re.MULTILINE | re.DOTALL)
NO_RUN = re.compile(r"<!-- no-run: ([^>]+?) -->\s*\Z")
HEADING = re.compile(r"^#{1,6} +(.+?)\s*$", re.MULTILINE)
BUILT = {"_build", "_notebooks"}


@dataclass(frozen=True)
class Block:
    """A block of code on a page.

    Args:
        line: of its first line, counted from 0.
        language: what stands behind the fence, ``python`` or ``{image} x.png``.
        no_run: why it is not run; empty where it is.
    """

    line: int
    language: str
    code: str
    no_run: str


def documentation() -> list[Path]:
    """The pages below docs/."""
    return sorted(p for p in DOCS.rglob("*.md") if not BUILT.intersection(p.relative_to(DOCS).parts))


def pages() -> list[Path]:
    """All Markdown of the repository that people read."""
    return [*sorted(ROOT.glob("*.md")), *documentation()]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(text: str) -> Iterator[Block]:
    for found in FENCE.finditer(text):
        reason = NO_RUN.search(text[: found.start()])
        yield Block(
            text[: found.start(4)].count("\n"),
            found[3].strip(),
            textwrap.dedent(found[4]),
            reason[1] if reason else "",
        )


def prose(text: str) -> str:
    """The page without its blocks of code, line by line as it was."""
    return FENCE.sub(lambda found: "\n" * found[0].count("\n"), text)


def anchors(text: str) -> set[str]:
    """What a link can point to on a page: its headings, as GitHub and Sphinx call them."""
    return {slug(heading) for heading in HEADING.findall(prose(text))}


def slug(heading: str) -> str:
    """
    >>> slug("The layer explorer"), slug("`no run …`"), slug("W16A16: the baseline")
    ('the-layer-explorer', 'no-run-', 'w16a16-the-baseline')
    """
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def source_of(notebook: Path) -> str:
    """All cells of a notebook, text and code, without outputs."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells)


def markdown_of(notebook: Path) -> str:
    """All text cells of a notebook."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
