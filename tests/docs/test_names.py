"""What pages name exists: functions, methods and the errors' messages; and the reference leaves nothing out."""

import ast
import re
import sys
from functools import cache, lru_cache
from pathlib import Path

import pytest

import qnb
from tests.docs import pages

sys.path.append(str(pages.DOCS / "_ext"))
from qnb_names import NAME, OBJECTS, resolve  # noqa: E402

CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
MESSAGE = re.compile(r"^### `(.+)`$", re.MULTILINE)
REFERENCE = re.compile(r"^\.\. auto(?:class|function|module):: (\S+)", re.MULTILINE)
IN_DOCSTRING = re.compile(r"(?<!`)`(qnb(?:\.\w+)+)`(?!`)")
INSTANCE_ATTRIBUTES = {
    "flow": (
        "runs",
        "job",
        "selection",
        "deployments",
        "sensitivities",
        "attributions",
        "calibration_curves",
        "worst",
        "check_result",
    ),
    "sim": (),
}
"""Set by the constructor, not found on the class."""


def unknown(text: str) -> list[str]:
    """Code on a page that looks like a name of the API and is none."""
    found = []
    for code in CODE.findall(pages.prose(text)):
        match = NAME.fullmatch(re.split(r"[\[(]", code)[0])
        if match and not exists(match[1], match[2][1:]):
            found.append(code)
    return found


def exists(owner: str, dotted: str) -> bool:
    if dotted.split(".")[0] in INSTANCE_ATTRIBUTES.get(owner, ()):
        return True
    try:
        resolve(f"{OBJECTS[owner]}.{dotted}")
    except (AttributeError, ImportError):
        return False
    return True


@pytest.mark.parametrize("path", pages.pages(), ids=pages.name)
def test_a_page_names_what_exists(path):
    assert path.name == "CHANGELOG.md" or not unknown(path.read_text("utf-8"))


@cache
def texts() -> str:
    """All string constants of the package."""
    found = []
    for path in (pages.ROOT / "qnb").rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        found += [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return "\n".join(found)


def meant(dotted: str) -> bool:
    """Whether a dotted name leads somewhere: to a module, a value, or a field of a class."""
    try:
        resolve(dotted)
    except (AttributeError, ImportError):
        owner, _, field = dotted.rpartition(".")
        return bool(owner) and field in getattr(resolve(owner), "__dataclass_fields__", ())
    return True


def test_docstrings_refer_to_what_exists():
    assert not [name for name in sorted(set(IN_DOCSTRING.findall(texts()))) if not meant(name)]


def messages() -> list[str]:
    return MESSAGE.findall((pages.DOCS / "troubleshooting.md").read_text("utf-8"))


@pytest.mark.parametrize("message", messages())
def test_a_message_that_is_explained_is_one_that_the_package_gives(message):
    parts = [part.strip(" ,;") for part in message.split("…")]
    assert all(part in texts() for part in parts)


@lru_cache
def reference() -> set[str]:
    return {
        found for path in (pages.DOCS / "api").glob("*.rst") for found in REFERENCE.findall(path.read_text("utf-8"))
    }


@pytest.mark.parametrize("public", sorted(set(qnb.__all__) - {"__version__"}))
def test_the_reference_has_every_public_name(public):
    assert f"qnb.{public}" in reference()


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("`qnb.QuantSim`", 0),
        ("`qnb.Nothing`", 1),
        ("`flow.run('w8a8')`", 0),
        ("`flow.nothing()`", 1),
        ("`sim.exact`", 0),
    ],
)
def test_the_check_finds_a_name_that_is_none(text, wrong):
    assert len(unknown(text)) == wrong


def test_pages_of_the_reference_are_in_its_contents():
    folder = pages.DOCS / "api"
    listed = re.findall(r"^   (\w+)$", (folder / "index.rst").read_text("utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(Path(p).stem for p in folder.glob("*.rst") if p.stem != "index")
