"""The documentation site: `make docs` builds it. It needs no network, neither to build nor to read."""

import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS.parent), str(DOCS / "_ext")]

import qnb_notebooks  # noqa: E402

import qnb  # noqa: E402

project = "qnb"
author = copyright = "qnb contributors"
release = version = qnb.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "qnb_api",
    "qnb_formulas",
    "qnb_names",
    "qnb_notebooks",
]
exclude_patterns = ["_build", "_ext", "**.ipynb_checkpoints"]
default_role = "name"  # of _ext/qnb_names.py
nitpicky = True

myst_enable_extensions = ["deflist", "dollarmath", "fieldlist", "attrs_block", "attrs_inline"]
myst_heading_anchors = 4

nb_execution_mode = "off"
nb_ipywidgets_js = {}
nb_merge_streams = True

napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_param = True
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
add_module_names = False
toc_object_entries_show_parents = "hide"

html_theme = "furo"
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "github-dark"
html_title = f"qnb {release}"
html_static_path = ["_static"]
html_favicon = "_static/favicon.svg"
html_css_files = ["qnb.css"]
html_math_renderer = "mathml"  # of _ext/qnb_formulas.py
html_show_sourcelink = False
html_copy_source = False
# The palette of panels and charts: qnb/charts/theme.py and the extension's colors.css.
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#0d5ea8",
        "color-brand-content": "#0d5ea8",
        "font-stack": "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif",
        "qnb-good": "#00704f",
        "qnb-bad": "#b03a00",
        "qnb-warn": "#855800",
    },
    "dark_css_variables": {
        "color-brand-primary": "#6db7f2",
        "color-brand-content": "#6db7f2",
        "qnb-good": "#4fd9ae",
        "qnb-bad": "#ff9a70",
        "qnb-warn": "#f5c04f",
    },
    "top_of_page_buttons": [],
}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

qnb_notebooks.copy(DOCS.parent / "notebooks", DOCS / "_notebooks")


def fit(app, docname: str, source: list[str]) -> None:
    """The front page's contents have patterns: a folder with an index is that page, and what matches none goes."""
    if docname == "index":
        app.env.note_reread()
        lines = [
            line.replace("*", "index") if any(DOCS.glob(line[:-1] + "index.*")) else line
            for line in source[0].splitlines()
        ]
        source[0] = "\n".join(line for line in lines if not line.endswith("*") or any(DOCS.glob(line)))


def setup(app):
    app.connect("source-read", fit)
