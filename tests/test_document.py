"""Documents: the three forms say the same, and nothing from outside becomes markup."""

import json
import math

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from qnb.document import MIME, Code, Document, Facts, Figure, Ladder, Table, Text

STAGE = {
    "stage": "check",
    "title": "Check",
    "status": "todo",
    "mark": "·",
    "run": "",
    "metric": "",
    "drop": "",
    "size": "",
    "text": "?",
}


def everything(text: str) -> Document:
    frame = pd.DataFrame({"layer": [text], text: [1.5]})
    return Document(
        "run",
        text,
        (
            Facts({text: text}),
            Table(frame, text),
            Text(text),
            Code(text, text, text),
            Figure({"data": []}, text),
            Ladder([{**STAGE, "title": text, "text": text}]),
        ),
    )


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=40))
def test_any_text_stays_text(text):
    marked = f"<b onclick=x>{text}</b><script>"
    found = everything(marked)
    assert "<b onclick" not in found.html() and "<script" not in found.html()
    assert marked in found.text()
    assert json.loads(json.dumps(found.json()))["title"] == marked


def test_a_long_table_leaves_out_the_middle_in_every_form():
    block = Table(pd.DataFrame({"sqnr_db": range(100)}), max_rows=10)
    made = block.json()
    assert len(made["rows"]) == 10 and made["more"] == 90 and made["rows"][-1] == ["99"]
    assert made["columns"] == [{"name": "SQNR (dB)", "align": "right"}] and "90 more" in block.html()


def test_the_bundle_has_all_forms():
    bundle = everything("x").bundle()
    assert set(bundle) == {"text/plain", "text/html", MIME} and bundle[MIME]["version"] == 2


def test_leaves_are_text():
    frame = pd.DataFrame({"a": [float("inf"), float("nan")]})
    assert Table(frame).json()["rows"] == [["∞"], [""]]
    json.dumps(Document("run", "t", (Table(frame),)).json(), allow_nan=False)


def test_an_sqnr_of_infinity_has_one_word_in_every_form():
    values = [12.345, math.inf, -math.inf, math.nan]
    table = Table(pd.DataFrame({"layer": list("abcd"), "own_sqnr_db": values, "high": math.inf}))
    shown = [row[1:] for row in table.json()["rows"]]
    assert shown == [["12.35", "∞"], ["lossless", "∞"], ["overflow", "∞"], ["", "∞"]]
    assert table.html().count(">lossless<") == table.html().count(">overflow<") == 1
    lines = [line.split()[1:] for line in table.text().splitlines()[1:]]
    assert lines == [["12.35", "inf"], ["lossless", "inf"], ["overflow", "inf"], ["NaN", "inf"]]
