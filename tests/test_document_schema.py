"""The contract of documents: what qnb makes keeps it, and the extension's two lists of names are the same."""

import copy
import json
import random
import re

import pytest

from qnb import schema
from qnb.document import Code, Document, Text
from qnb.document_schema import DOCUMENT, FIGURE_KEYS, LONGEST_CODE, LONGEST_TEXT, MOST, TRACES
from qnb.errors import FileError
from tests.browser.lab import ROOT
from tests.charts.svg.test_picture import FIGURES
from tests.fuzz import edits
from tests.labextension import documents as docs

SOURCES = ROOT / "labextension" / "src"


def check(document: dict) -> None:
    schema.check(document, DOCUMENT, "read", "write it again")


def names(value) -> set[str]:
    """Every key, at whatever depth."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return set(value if isinstance(value, dict) else ()).union(*map(names, inner))


def test_a_workflow_and_all_that_it_shows(digits):
    """So does every document of every other test: tests/conftest.py."""
    shown = [digits, *digits.runs.values(), digits.check()]
    found = [json.loads(json.dumps(one.document().json(), allow_nan=False)) for one in shown]
    for document in found:
        check(document)
    assert {d["kind"] for d in found} >= {"workflow", "run", "check"}


def test_the_check_of_every_document_is_on():
    with pytest.raises(FileError, match="the document 'x'.*too long"):
        Document("run", "x", (Text("y" * 10_001),)).json()


@pytest.mark.parametrize("name", FIGURES)
def test_charts_are_made_of_the_names_that_are_listed(name):
    figure = json.loads(FIGURES[name]().to_json())
    assert names(figure["data"]) | names(figure["layout"]) <= set(FIGURE_KEYS)
    assert {trace["type"] for trace in figure["data"]} <= set(TRACES)
    check(docs.document("run", name, {"type": "figure", "figure": figure, "alt": name}))


def test_no_listed_name_loads_anything():
    """Plotly's names for what comes from elsewhere, what adds buttons, and what takes functions."""
    loads = re.compile("source|.*src|images?|href|url|map.*|geo.*|scene.*|frames|updatemenus|sliders|add|style")
    assert not [name for name in FIGURE_KEYS if loads.fullmatch(name)]


def test_the_extension_has_the_same_names_and_bounds():
    text = (SOURCES / "sanitize.ts").read_text()
    listed = re.search(r"KEYS = new Set\(\s*`([^`]*)`", text).group(1).split()
    traces = re.findall(r"'(\w+)'", re.search(r"TRACES = \[(.*)\]", text).group(1))
    assert (tuple(listed), tuple(traces)) == (FIGURE_KEYS, TRACES)
    contract = (SOURCES / "contract.ts").read_text().replace("_", "")
    for name, value in {"LONGEST_TEXT": LONGEST_TEXT, "LONGEST_CODE": LONGEST_CODE, "MOST": MOST}.items():
        assert f"const {name.replace('_', '')} = {value};" in contract


@pytest.mark.parametrize("document", [docs.RUN, docs.SUMMARY], ids=["run", "summary"])
def test_what_the_extension_is_tested_with(document):
    check(document)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("version",), 3),
        (("kind",), 7),
        (("tone",), "loud"),
        (("blocks", 0, "type"), "script"),
        (("html",), "<b>"),
        (("blocks", 0, "rows", 0), ["a", "b", "c"]),
        (("blocks", 1, "columns", 0, "align"), "middle"),
        (("blocks", 1, "more"), -1),
        (("blocks", 2, "figure", "layout", "images"), []),
        (("blocks", 2, "figure", "data", 0, "type"), "image"),
        (("blocks", 2, "figure", "data", 0, "xsrc"), "x"),
        (("blocks", 2, "figure", "layout", "title", "style"), "x"),
        (("blocks", 2, "figure", "frames"), []),
        (("blocks", 3, "code"), "x" * 200_001),
        (("runs", 0, "status"), "great"),
        (("next", 0, "script"), "x"),
        (("workflow", "path"), "x"),
        (("blocks", 2, "figure", "data", 0, "y"), [{"x": {"href": 1}}]),
    ],
)
def test_what_does_not_keep_it(path, value):
    document = copy.deepcopy(docs.RUN)
    edits.at(document, path[:-1])[path[-1]] = value
    with pytest.raises(FileError, match="damaged"):
        check(document)


def test_edited_documents_keep_it_or_do_not():
    found = set()
    for seed in range(150):
        value = schema.parse(json.dumps(docs.RUN), "read", "again")
        edited = edits.edit(value, random.Random(seed))[1]
        try:
            check(edited)
            found.add("kept")
        except FileError:
            found.add("refused")
    assert found == {"kept", "refused"}


def test_code_is_longer_than_text_may_be():
    check(Document("run", "x", (Code("x" * 100_000),)).json())
