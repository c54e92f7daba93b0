"""Every relative link of the Markdown pages leads to a file, and every anchor to a heading."""

import re
from pathlib import Path

import pytest

from tests.docs import pages

LINK = re.compile(r"(?<!`)\[[^\]]*\]\(([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"|^```\{image\} (\S+)", re.MULTILINE)
AWAY = re.compile(r"[a-z]+:")


def targets(text: str) -> list[str]:
    return [next(filter(None, found)) for found in LINK.findall(text)]


def source_of(path: Path) -> Path:
    """The file that a link means: notebooks and files that pages include come from the repository's root."""
    copied = pages.DOCS / "_notebooks"
    return pages.ROOT / "notebooks" / path.name if path.parent == copied else path


def broken(path: Path, text: str) -> list[str]:
    found = []
    for target in targets(text):
        file, _, anchor = target.partition("#")
        if AWAY.match(target):
            continue
        to = source_of((path.parent / file).resolve()) if file else path
        if not to.exists():
            found.append(target)
        elif anchor and to.suffix == ".md" and anchor not in pages.anchors(to.read_text("utf-8")):
            found.append(target)
    return found


@pytest.mark.parametrize("path", pages.pages(), ids=pages.name)
def test_links_lead_somewhere(path):
    assert not broken(path, path.read_text("utf-8"))


@pytest.mark.parametrize("path", sorted((pages.ROOT / "notebooks").glob("*.ipynb")), ids=pages.name)
def test_links_of_notebooks_lead_somewhere(path):
    assert not broken(path, pages.markdown_of(path))


@pytest.mark.parametrize(
    ("link", "bad"),
    [
        ("[x](sqnr.md)", False),
        ("[x](sqnr.md#what-it-can-and-cannot-say)", False),
        ("[x](sqnr.md#no-such-heading)", True),
        ("[x](nothing.md)", True),
        ("[x](../_notebooks/00-tour.ipynb)", False),
        ("[x](../_notebooks/99-none.ipynb)", True),
        ("[x](https://example.org/nothing)", False),
        ('<img src="../images/none.png">', True),
        ("```{image} ../images/none.png\n```", True),
    ],
)
def test_the_check_finds_a_broken_link(link, bad):
    assert bool(broken(pages.DOCS / "concepts" / "error.md", link)) == bad
