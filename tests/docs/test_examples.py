"""Every python block of the README and of the documentation runs; those of one page share their names.

The pages of docs/extending run in test_extending.py, which looks at what they add, too.
"""

import pytest

from tests.docs import pages

WITH_CODE = [
    p
    for p in pages.pages()
    if p.parent.name != "extending" and any(b.language == "python" for b in pages.blocks(p.read_text("utf-8")))
]
MOST_UNRUN = 6


@pytest.mark.slow
@pytest.mark.parametrize("path", WITH_CODE, ids=pages.name)
def test_the_examples_of_a_page_run(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # they write files
    names = {"__name__": "__page__"}
    for block in pages.blocks(path.read_text("utf-8")):
        if block.language == "python" and not block.no_run:
            # Blank lines before it: a traceback names the line of the page.
            exec(compile("\n" * block.line + block.code, str(path), "exec"), names)


def test_few_examples_are_not_run_and_each_says_why():
    unrun = [b.no_run for p in pages.pages() for b in pages.blocks(p.read_text("utf-8")) if b.no_run]
    assert len(unrun) <= MOST_UNRUN and all(len(reason.split()) > 2 for reason in unrun)


def test_a_block_is_found_with_its_line_and_reason():
    text = "# A\n\n<!-- no-run: needs a phone -->\n```python\nx = 1\n```\n\n- b\n\n  ```python\n  y = 2\n  ```\n"
    first, second = pages.blocks(text)
    assert (first.line, first.code, first.no_run) == (4, "x = 1\n", "needs a phone")
    assert (second.line, second.code, second.no_run) == (10, "y = 2\n", "")
