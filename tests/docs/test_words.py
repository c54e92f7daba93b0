"""One word for each concept: what the glossary says is not used is not used, in pages, notebooks, and messages."""

import ast
import io
import re
import tokenize
from functools import cache

import pytest

from tests.docs import pages

GLOSSARY = pages.DOCS / "glossary.md"
ENTRY = re.compile(r"^([^\n:*][^\n]*)\n: ", re.MULTILINE)
NOT = re.compile(r"^: \*Not:\* (.+)$", re.MULTILINE)
PAGES = [p for p in pages.pages() if p.name != "CHANGELOG.md"]  # it says what was renamed
REFERENCE = sorted((pages.DOCS / "api").glob("*.rst"))
NOTEBOOKS = sorted(
    p for folder in ("notebooks", "labextension/templates") for p in (pages.ROOT / folder).glob("*.ipynb")
)
SOURCES = sorted(p for p in (pages.ROOT / "qnb").rglob("*.py") if "node_modules" not in p.parts)
SCRIPTS = sorted([*(pages.ROOT / "labextension" / "src").rglob("*.ts"), *(pages.ROOT / "qnb").rglob("*.js")])


@cache
def forbidden() -> re.Pattern:
    words = [word.strip() for line in NOT.findall(GLOSSARY.read_text("utf-8")) for word in line.split(",")]
    return re.compile(r"\b(?:" + "|".join(map(re.escape, words)) + r")s?\b", re.IGNORECASE)


def misused(text: str) -> list[str]:
    """Forbidden words with what stands around them, broken lines included."""
    flat = re.sub(r"\s+", " ", text)
    return [flat[max(0, m.start() - 40) : m.end() + 20] for m in forbidden().finditer(flat)]


def strings(source: str) -> str:
    """Docstrings, texts and comments of a module; an f-string's values are left out."""
    found = (n.value for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Constant) and isinstance(n.value, str))
    lines = tokenize.generate_tokens(io.StringIO(source).readline)
    return "\n\n".join([*found, *(line.string for line in lines if line.type == tokenize.COMMENT)])


@pytest.mark.parametrize("path", [*PAGES, *REFERENCE, *SCRIPTS], ids=pages.name)
def test_a_page_uses_the_glossarys_words(path):
    text = path.read_text("utf-8")
    found = misused(NOT.sub("", text) if path == GLOSSARY else text)
    assert not found


@pytest.mark.parametrize("path", NOTEBOOKS, ids=pages.name)
def test_a_notebook_uses_the_glossarys_words(path):
    found = misused(pages.source_of(path))
    assert not found


@pytest.mark.parametrize("path", SOURCES, ids=pages.name)
def test_messages_and_docstrings_use_the_glossarys_words(path):
    found = misused(strings(path.read_text("utf-8")))
    assert not found


def test_the_glossary_is_in_order_and_forbids_none_of_its_own_words():
    terms = ENTRY.findall(GLOSSARY.read_text("utf-8"))
    assert len(terms) > 40 and terms == sorted(terms, key=str.lower)
    assert not [term for term in terms if forbidden().fullmatch(term)]


@pytest.mark.parametrize("text", ["a range rule", "Range\nrules were", "it was foretold", "Techniques"])
def test_the_check_finds_a_word(text):
    assert len(misused(text)) == 1 and not misused("arrange ruled")


def test_the_words_of_a_module_are_its_texts():
    assert (
        strings('"""A module."""\nrange_rule = {"range rule": f"of the {range_rule}"}  # why')
        == "A module.\n\nrange rule\n\nof the \n\n# why"
    )
