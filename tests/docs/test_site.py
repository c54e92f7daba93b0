"""The site builds without a warning, and shows without a network."""

import os
import re
import subprocess
import sys

import pytest

from tests.docs import pages

pytestmark = pytest.mark.slow
FETCHED = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|href|srcset)=\"(?:https?:)?//[^\"]+\"")
STYLE = re.compile(r"@import[^;]*//|url\(['\"]?(?:https?:)?//")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site."""
    pytest.importorskip("sphinx", reason="the documentation is built by the extra docs")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-n", "-W", "--keep-going", "-q"]
    command += ["-d", str(out / "doctrees"), str(pages.DOCS), str(out / "html")]
    done = subprocess.run(command, cwd=pages.ROOT, capture_output=True, text=True, env=os.environ | {"NO_COLOR": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    return out / "html"


def test_every_page_and_notebook_is_there(site):
    wanted = [p.relative_to(pages.DOCS).with_suffix(".html") for p in pages.documentation()]
    wanted += [f"_notebooks/{p.stem}.html" for p in (pages.ROOT / "notebooks").glob("*.ipynb")]
    assert not [str(page) for page in wanted if not (site / page).exists()]


def test_nothing_is_fetched_from_the_network(site):
    found = {}
    for path in site.rglob("*.html"):
        if fetched := FETCHED.findall(path.read_text("utf-8")):
            found[path.name] = fetched
    for path in site.rglob("*.css"):
        if STYLE.search(path.read_text("utf-8")):
            found[path.name] = "a style"
    assert not found


def test_notebooks_show_what_they_stored(site):
    text = (site / "_notebooks" / "01-quantization-workflow.html").read_text("utf-8")
    assert "can be quantized" in text and "qnb-figure" in text and "plotly.min.js" in text
    assert "qnb-figure" not in (site / "index.html").read_text("utf-8")


def test_names_of_the_api_are_links(site):
    assert 'href="api/workflow.html#qnb.Workflow.next_steps"' in (site / "getting-started.html").read_text("utf-8")
    assert 'href="quantsim.html#qnb.QuantSim.encodings"' in (site / "api" / "columns.html").read_text("utf-8")


def test_formulas_are_mathml(site):
    text = (site / "concepts" / "sqnr.html").read_text("utf-8")
    assert "<mfrac>" in text and "MathJax" not in text
