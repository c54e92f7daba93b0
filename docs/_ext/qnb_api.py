"""The API reference: classes that users get but do not import are found by name, wherever they are kept."""

import importlib
import inspect
import pkgutil
import re
from functools import cache

from sphinx.errors import ExtensionError
from sphinx.ext.napoleon import GoogleDocstring

PLACE = re.compile(r"@(\w+)(?::(\w+))?@")
"""``@Run@``; where several classes have a name, ``@Finding:remedy@`` is the one with that field."""
ROOMS = ("qnb.graph", "qnb.measures", "qnb.methods", "qnb.runtimes", "qnb.workflow")


@cache
def classes() -> dict[str, list[type]]:
    """Class name to the classes of that name, of the rooms whose objects users hold."""
    found = {}
    for room in ROOMS:
        package = importlib.import_module(room)
        for module in pkgutil.walk_packages(package.__path__, f"{room}."):
            if not module.name.endswith(("__main__", "worker", "child")):
                for name, value in vars(importlib.import_module(module.name)).items():
                    if inspect.isclass(value) and value.__module__ == module.name:
                        found.setdefault(name, []).append(value)
    return found


def placed(match: re.Match) -> str:
    found = [c for c in classes().get(match[1], ()) if not match[2] or match[2] in getattr(c, "__annotations__", {})]
    if len(found) != 1:
        raise ExtensionError(f"{len(found)} classes are {match[0]}; in {', '.join(ROOMS)}")
    return f"{found[0].__module__}.{match[1]}"


def fill_in(app, docname: str, source: list[str]) -> None:
    if docname.startswith("api/"):
        source[0] = PLACE.sub(placed, source[0])


def whole(docstring: GoogleDocstring) -> list[str]:
    """A property's docstring as it is; napoleon would take what stands before a colon for its type."""
    return docstring._consume_to_end()


def shorten(app, what, name, obj, options, signature, returns):
    """Results are not made by their readers: no signature. A default that is no Python would garble one."""
    if what == "class" and app.env.docname == "api/results":
        return "", None
    return signature and signature.replace("<factory>", "..."), returns


def setup(app):
    GoogleDocstring._parse_attribute_docstring = whole
    app.connect("source-read", fill_in)
    app.connect("autodoc-process-signature", shorten)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
