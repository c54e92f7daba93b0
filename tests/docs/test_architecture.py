"""The architecture page: its rooms are those that there are, and its walks are real."""

import inspect
import re
import sys
from importlib import import_module
from pathlib import Path
from xml.etree import ElementTree

import pytest

import qnb
from tests.test_layers import APART, ORDER

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PACKAGE = Path(qnb.__file__).parent
WALKS = re.findall(r"^### (.+?)\n\n```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
LINE = re.compile(r"( *)(qnb(?:\.\w+)+)(?: +(\(by [^)]*\))?.*)?")
INDIRECT = 3
"""Lines of a walk whose caller does not name them; they say through what they are called."""


def resolve(dotted: str):
    """(value, module that the name was found in)."""
    parts = dotted.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            value = import_module(".".join(parts[:cut]))
        except ImportError:
            continue
        for part in parts[cut:]:
            value = getattr(value, part)
        return value
    raise ImportError(dotted)


def steps(walk: str) -> list[tuple[int, str, bool]]:
    """(depth, dotted name, whether it is called indirectly), line by line."""
    found = [LINE.fullmatch(line) for line in walk.splitlines()]
    assert all(found), walk
    return [(len(match[1]) // 2, match[2], bool(match[3])) for match in found]


def calls(walk: str) -> list[tuple[str, str]]:
    """(caller, called), without those that go through something else."""
    above: list[str] = []
    found = []
    for depth, name, indirect in steps(walk):
        assert depth <= len(above), f"{name} is indented too far"
        del above[depth:]
        if above and not indirect:
            found.append((above[-1], name))
        above.append(name)
    return found


def mentions(caller: str, called: str) -> bool:
    """Whether the caller's source, or that of its module, uses the other's name."""
    value = inspect.unwrap(resolve(caller))
    module = sys.modules[value.__module__]
    word = re.compile(rf"\b{called.rpartition('.')[2]}\b")
    own = inspect.getsource(value)
    return bool(word.search(own)) or bool(word.search(inspect.getsource(module).replace(own, "")))


CALLS = [call for _, walk in WALKS for call in calls(walk)]


def test_there_are_two_walks():
    assert [title.partition(",")[0] for title, _ in WALKS] == ["A calibration batch", "A weight"]
    assert all(len(steps(walk)) > 10 for _, walk in WALKS)
    assert sum(indirect for _, walk in WALKS for *_, indirect in steps(walk)) < INDIRECT


@pytest.mark.parametrize("name", dict.fromkeys(name for _, walk in WALKS for _, name, _ in steps(walk)))
def test_a_name_exists(name):
    assert resolve(name) is not None


@pytest.mark.parametrize(("caller", "called"), CALLS, ids=lambda name: name.removeprefix("qnb."))
def test_each_calls_the_next(caller, called):
    assert mentions(caller, called)


def test_the_check_finds_a_call_that_is_not_made():
    assert not mentions("qnb.export.export_onnx", "qnb.methods.adaround")
    with pytest.raises(AttributeError):
        resolve("qnb.export.export_onxn")


def test_the_rooms_are_those_that_there_are():
    table = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert set(table) == packages and len(table) == len(packages)
    stack = [room for room in ORDER if room in packages]
    assert table[: len(stack)] == stack and set(table[len(stack) :]) == set(APART)


@pytest.mark.parametrize("file", sorted(set(re.findall(r"`((?:qnb/|tests/)?[\w/]+\.(?:py|md))`", PAGE))))
def test_a_file_that_it_names_exists(file):
    assert (ROOT / file).exists() or (PACKAGE / file).exists()


def test_rooms_within_rooms_exist():
    for room, text in re.findall(r"^\| `(\w+)` \| (.+?) \|", PAGE, re.MULTILINE):
        for inner in re.findall(r"`(\w+)/`", text):
            assert (PACKAGE / room / inner).is_dir(), f"{room}/{inner}"


def test_the_picture_is_there_and_reads_without_seeing_it():
    (source,) = re.findall(r"\{image\} (\S+)", PAGE)
    svg = ElementTree.parse(ROOT / "docs" / source).getroot()
    space = {"s": "http://www.w3.org/2000/svg"}
    assert svg.find("s:title", space).text and svg.find("s:desc", space).text and ":alt: " in PAGE
    named = {text.text for text in svg.iterfind("s:text", space)}
    assert {"graph", "placement", "QuantSim", "measures", "run", "export", "runtimes"} <= named
