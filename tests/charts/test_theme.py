"""Colours read on both pages; figures are small and hold nothing but data."""

import json
import re

import pytest

from qnb.charts import theme

PAGES = ("#ffffff", "#111111")


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return sum(w * v for w, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(a: str, b: str) -> float:
    dark, light = sorted((luminance(a), luminance(b)))
    return (light + 0.05) / (dark + 0.05)


def test_the_contrast_formula():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("colour", theme.PALETTE)
def test_a_colour_has_a_contrast_of_3_to_1(colour, page):
    assert contrast(colour, page) >= 3


@pytest.mark.parametrize("page", PAGES)
def test_text_has_the_best_contrast_that_one_grey_can_have_on_both(page):
    assert contrast(theme.GREY, page) >= 4.3


def test_what_a_colour_means_is_in_the_palette():
    assert {theme.QUANTSIM, theme.OWN, theme.BAD} <= set(theme.PALETTE) and theme.FP32 == theme.GREY
    assert len(set(theme.PALETTE)) == len(theme.PALETTE) >= 7


def test_a_figure_has_this_template_alone_and_no_ground():
    shown = json.loads(theme.figure("title", "layer", "SQNR (dB)").to_json())
    template = shown["layout"]["template"]
    assert set(template) == {"layout"} and len(json.dumps(template)) < 2500
    assert template["layout"]["paper_bgcolor"] == template["layout"]["plot_bgcolor"] == "rgba(0,0,0,0)"
    assert shown["layout"]["xaxis"]["title"]["text"] == "layer"


def test_an_empty_figure_says_what_to_do_in_its_middle():
    said = theme.empty("No layers to show: run a step.").layout.annotations
    assert [a.text for a in said] == ["No layers to show: run a step."]
    assert (said[0].x, said[0].y, said[0].xref, said[0].yref) == (0.5, 0.5, "paper", "paper")


@pytest.mark.parametrize("length", [8, 16, 20, 30])
def test_a_short_name_is_short_and_keeps_its_end(length):
    name = "encoder.layer.11.attention.self.query"
    short = theme.shorten(name, length)
    assert len(short) <= length and short.endswith("uery")
    assert re.search("11", short) or length < 14
    assert theme.shorten(name, 40) == name


def test_a_title_fits():
    title = theme.titled("w4a8: weakest layer ", "encoder." * 20 + "query", ", 12.3 dB on its own")
    assert len(title) <= theme.TITLE and title.endswith("query, 12.3 dB on its own")
