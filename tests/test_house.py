"""The house rules that a reader cannot check by eye."""

import ast
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import qnb

ROOT = Path(__file__).parents[1]
FILE_LINES, FUNCTION_LINES = 300, 60
TEXT = {".py", ".md", ".toml", ".txt", ".yml", ".yaml", ".json", ".ipynb", ".ts", ".css", ".cfg", ".sh", ""}
LOCAL = re.compile(
    # Letter classes keep these patterns from finding themselves.
    r"(?<![\w.])/(?:[w]ork|[t]mp/venv|[r]oot|home/(?!a/)\w+|Users/\w+)/"
    r"|[f]iles\.[p]ythonhosted\.|[p]ypi\.(?!org/project/)\w+|[r]egistry\.(?:[n]pmjs|[y]arnpkg)\.|[a]rtifactory|[i]ndex-url"
)
"""Paths of one machine, and hosts that packages come from: pip and jlpm are told those by the machine they run on."""


def tracked() -> list[Path]:
    """Files that git would commit; in an unpacked source distribution, all of them."""
    if shutil.which("git") and (ROOT / ".git").exists():
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if run.returncode == 0:
            return [ROOT / name for name in run.stdout.split("\0") if name and (ROOT / name).is_file()]
    skipped = {".venv", ".git", "__pycache__", "node_modules", ".ruff_cache", ".pytest_cache", ".hypothesis"}
    return [p for p in ROOT.rglob("*") if p.is_file() and not skipped.intersection(p.relative_to(ROOT).parts)]


def long_functions(source: str) -> list[str]:
    """Functions of more than 60 lines, docstring and decorators apart."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = node.end_lineno - node.lineno + 1
            first = node.body[0]
            if ast.get_docstring(node) is not None:
                lines -= first.end_lineno - first.lineno + 1
            if lines > FUNCTION_LINES:
                found.append(f"{node.name} has {lines} lines")
    return found


def local_names(text: str) -> list[str]:
    return [match.group() for match in LOCAL.finditer(text)]


def sources() -> list[Path]:
    return sorted(p for p in (ROOT / "qnb").rglob("*.py") if "node_modules" not in p.parts)


@pytest.mark.parametrize("path", sources(), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_files_and_functions_stay_short(path):
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= FILE_LINES
    assert not long_functions(source)


def test_nothing_names_one_machine():
    found = {}
    for path in tracked():
        if path.suffix in TEXT and path.name != "yarn.lock":
            names = local_names(path.read_text(encoding="utf-8", errors="replace"))
            if names:
                found[path.relative_to(ROOT).as_posix()] = names
    assert not found


def test_the_changelog_knows_the_version():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{qnb.__version__}]" in text


def test_everything_pinned_is_pinned_once_and_everything_needed_is_pinned():
    pins = re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert sorted(set(pins)) == sorted(pins)
    project = (ROOT / "pyproject.toml").read_text()
    needed = set(re.findall(r'^    "([\w-]+)>=', project, re.MULTILINE))
    assert needed and needed <= set(pins)


@pytest.mark.parametrize("lines", [58, 60])
def test_the_check_of_lengths_finds_a_long_function(lines):
    source = "def f():\n" + '    """Long.\n\n    Text.\n    """\n' + "    x = 1\n" * lines
    assert bool(long_functions(source)) == (lines == 60)


@pytest.mark.parametrize(
    "text",
    ["see /wor" + "k/main", "/tm" + "p/venv/bin/python", "https://files.python" + "hosted.org/x", "--index" + "-url x"],
)
def test_the_check_of_names_finds_one(text):
    assert local_names(text)
