"""Every public function says what it takes and gives, and so does whatever is handed a flow, a sim or a report."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "qnb"
ALWAYS = {"flow", "sim", "progress", "report"}
"""Parameters that are annotated in private functions too."""
Function = ast.FunctionDef | ast.AsyncFunctionDef


def unannotated(source: str) -> list[str]:
    """What lacks its annotation: ``"12: run() sim"`` for a parameter, ``"12: run() ->"`` for what is returned."""
    found = []
    for function, public, method in functions(ast.parse(source), public=True):
        given = function.args
        taken = [*given.posonlyargs, *given.args][1 if method and not is_static(function) else 0 :]
        taken += [*given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
        names = [p.arg for p in taken if p.annotation is None and (public or p.arg in ALWAYS)]
        names += ["->"] if public and function.returns is None else []
        found += [f"{function.lineno}: {function.name}() {name}" for name in names]
    return found


def functions(node: ast.AST, public: bool, method: bool = False) -> Iterator[tuple[Function, bool, bool]]:
    """Yield (function, whether it is public, whether it is a method); what is inside a function is not public."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function):
            yield child, public and not child.name.startswith("_"), method
            yield from functions(child, public=False)
        elif isinstance(child, ast.ClassDef):
            yield from functions(child, public and not child.name.startswith("_"), method=True)
        else:
            yield from functions(child, public, method)


def is_static(function: Function) -> bool:
    return any(ast.unparse(decorator) == "staticmethod" for decorator in function.decorator_list)


@pytest.mark.parametrize(
    "path",
    sorted(p for p in PACKAGE.rglob("*.py") if "node_modules" not in p.parts),
    ids=lambda p: p.relative_to(PACKAGE).as_posix(),
)
def test_annotated(path):
    assert not unannotated(path.read_text(encoding="utf-8"))


def test_a_type_checker_may_read_them():
    assert (PACKAGE / "py.typed").is_file()


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def f(x) -> int: ...", ["1: f() x"]),
        ("def f(x: int): ...", ["1: f() ->"]),
        ("def f(*args, a=1, **kwargs) -> int: ...", ["1: f() a", "1: f() args", "1: f() kwargs"]),
        ("class A:\n    def f(self, x) -> int: ...", ["2: f() x"]),
        ("class A:\n    @staticmethod\n    def f(x) -> int: ...", ["3: f() x"]),
        ("if True:\n    async def f(x) -> int: ...", ["2: f() x"]),
        ("def _f(sim, x): ...", ["1: _f() sim"]),
        ("class _A:\n    def __init__(self, flow): ...", ["2: __init__() flow"]),
        ("def f() -> int:\n    def g(report, x): ...", ["2: g() report"]),
    ],
)
def test_what_lacks_its_annotation_is_found(source, found):
    assert unannotated(source) == found


@pytest.mark.parametrize(
    "source",
    [
        "def f(x: int, *args: int, a: int = 1, **kwargs: int) -> int: ...",
        "class A:\n    def __init__(self, x): ...\n    @classmethod\n    def f(cls) -> int: ...",
        "class A:\n    def f(self) -> int:\n        return max(1, 2, key=lambda x: x)",
        "class _A:\n    def f(self, x): ...",
        "def _f(x, *args, sim: int): ...",
    ],
)
def test_what_has_its_annotations_passes(source):
    assert unannotated(source) == []
