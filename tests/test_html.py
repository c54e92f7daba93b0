"""Cells in HTML: escaped, without scripts, readable numbers."""

import math

import pandas as pd
import pytest

from qnb import html, text

EVIL = "<img src=x onerror=alert(1)>"


def test_everything_that_comes_from_outside_is_escaped():
    frame = pd.DataFrame({"layer": [EVIL], EVIL: [1.0]})
    text = html.card(EVIL, {EVIL: EVIL}, html.table(frame), html.paragraph(EVIL))
    assert "<img" not in text and text.count("&lt;img") == 6


@pytest.mark.parametrize(
    "value, shown",
    [
        (0.5, "0.5"),
        (12.345, "12.35"),
        (1e-9, "1e-09"),
        (1234567, "1 234 567"),
        (math.inf, "∞"),
        (-math.inf, "-∞"),
        (math.nan, ""),
        (None, ""),
        ("conv", "conv"),
        ([1, 2, 3], "3 values"),
        (0, "0"),
        (True, "True"),
    ],
)
def test_numbers(value, shown):
    assert text.number(value) == shown


def test_long_tables_leave_out_the_middle():
    text = html.table(pd.DataFrame({"n": range(100)}), max_rows=10)
    assert text.count("<tr>") == 1 + 10 + 1 and "90 more" in text and ">99<" in text


def test_missing_values_are_blank():
    frame = pd.DataFrame({"a": pd.array([1, None], dtype="Int64"), "b": [math.nan, 2.0]})
    assert ">nan<" not in html.table(frame).lower()


def test_a_picture_is_an_image_without_markup_in_its_address():
    from urllib.parse import unquote

    svg = '<svg width="3"><text>a &amp; "b" #1 100 %</text></svg>'
    made = html.picture(svg, EVIL)
    assert made.count("<") == 1 and "onerror" in made and "<img src=x" not in made
    address = made.split('src="')[1].removesuffix('">')
    assert not set(address) & set('<>"#') and unquote(address).endswith(svg.removeprefix("<svg "))


def test_what_is_bad_has_an_edge():
    assert html.TONES["bad"] in html.paragraph("fails", "bad") and html.paragraph("a", "good") == html.paragraph("a")
