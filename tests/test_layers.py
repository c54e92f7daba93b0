"""Imports in qnb go downward only, wherever in a file they stand."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "qnb"
ORDER = (
    "errors",
    "progress",
    "sharing",
    "randomness",
    "quiet",
    "schema",
    "atomic",
    "tensor_file",
    "arguments",
    "registry",
    "process_child",
    "process",
    "columns",
    "modules",
    "text",
    "html",
    "document",
    "document_schema",
    "numerics",
    "ranges",
    "graph",
    "targets",
    "sim",
    "measures",
    "methods",
    "export",
    "runtimes",
    "workflow",
)
"""From the bottom up: each may import those before it."""
APART = {
    "charts": {"columns", "errors", "html", "modules", "registry", "text"},
    "demo": {"errors", "measures"},
    "panels": {*ORDER, "charts"},
    "cli": {*ORDER, "charts", "demo", "panels"},
}
"""Beside the stack: each may import these."""
LATE = {
    "measures/attribution/result.py": {"charts"},
    "measures/calibration/result.py": {"charts"},
    "workflow/documents/display.py": {"charts"},
    "workflow/documents/figures.py": {"charts"},
    "workflow/documents/workflow.py": {"charts"},
    "workflow/documents/layers.py": {"charts"},
    "workflow/documents/deployment.py": {"charts"},
    "workflow/documents/recovery.py": {"charts"},
    "workflow/diff.py": {"charts"},
    "workflow/recovery/sensitivities.py": {"charts"},
    "workflow/recovery/pareto_front.py": {"charts"},
    "workflow/samples.py": {"charts"},
    "workflow/worst_samples.py": {"charts"},
    "workflow/views.py": {"panels"},
    "demo/__main__.py": {"workflow"},
    "sim/quantsim.py": {"export"},
}
"""Where a picture of a value is asked for: these files may reach further, but only inside a function."""
OF_THE_SIM = {"charts"}
"""The same for what a notebook shows of a sim: a ``_repr_*_`` method in sim/."""


def allowed(part: str) -> set[str]:
    if part in APART:
        return APART[part] | {part}
    return {*ORDER[: ORDER.index(part) + 1]}


def imports(source: str, module: str) -> Iterator[tuple[str, int, list[str]]]:
    """Yield (imported part of qnb, line, enclosing functions); ``module`` is the importing one's dotted name."""
    yield from _visit(ast.parse(source), module.split("."), [])


def _visit(node: ast.AST, module: list[str], inside: list[str]) -> Iterator[tuple[str, int, list[str]]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue  # nothing is imported
        if isinstance(child, ast.Import):
            names = [alias.name for alias in child.names]
        elif isinstance(child, ast.ImportFrom):
            base = module[: len(module) - child.level] if child.level else []
            stem = ".".join([*base, *([child.module] if child.module else [])])
            names = [f"{stem}.{alias.name}" for alias in child.names]
        else:
            names = []
        for name in names:
            root, _, rest = name.partition(".")
            if root == "qnb":
                yield rest.partition(".")[0], child.lineno, inside
        function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        yield from _visit(child, module, [*inside, child.name] if function else inside)


def upward(source: str, file: str) -> list[str]:
    """What a file of qnb ("sim/build.py") imports that it may not."""
    part = file.partition("/")[0].removesuffix(".py")
    found = []
    for name, line, inside in imports(source, "qnb." + file.removesuffix(".py").replace("/", ".")):
        fine = name in allowed(part) or name == "__version__"
        if inside:
            fine |= name in LATE.get(file, ())
            fine |= part == "sim" and name in OF_THE_SIM and any(f.startswith("_repr_") for f in inside)
        if not fine:
            found.append(f"qnb/{file}:{line} imports {f'qnb.{name}' if name else 'qnb'}")
    return found


def files() -> list[str]:
    found = (p.relative_to(PACKAGE).as_posix() for p in PACKAGE.rglob("*.py") if "node_modules" not in p.parts)
    return sorted(f for f in found if f != "__init__.py")


@pytest.mark.parametrize("file", files())
def test_imports_go_downward(file):
    assert not upward((PACKAGE / file).read_text(), file)


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("numerics/grid.py", "from qnb.sim import QuantSim"),
        ("numerics/grid.py", "import qnb.graph.capture as capture"),
        ("numerics/grid.py", "def f():\n    from qnb.ranges.rules import RULES"),
        ("numerics/grid.py", "from ..sim.plan import LayerGroup"),
        ("numerics/grid.py", "from .. import sim"),
        ("registry.py", "from qnb import html"),
        ("graph/capture.py", "if True:\n    try:\n        import qnb.targets\n    except ImportError: pass"),
        ("measures/layers.py", "import qnb\nqnb.QuantSim"),
        ("workflow/run.py", "def f():\n    from qnb import charts"),
        ("workflow/documents/display.py", "from qnb import charts"),
        ("sim/quantsim.py", "def show():\n    from qnb import charts"),
        ("charts/layers.py", "from qnb.measures import compare_layers"),
        ("demo/digits.py", "from qnb.workflow import Workflow"),
        ("demo/digits.py", "from qnb.numerics import Grid"),
    ],
)
def test_an_upward_import_is_found(file, source):
    assert len(upward(source, file)) == 1


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("sim/quantsim.py", "from qnb.sim.placement.plan import LayerGroup\nfrom qnb import errors, targets"),
        ("sim/quantsim.py", "from .plan import LayerGroup\nfrom ..graph import capture"),
        ("sim/quantsim.py", "class A:\n    def _repr_html_(self):\n        from qnb import charts, html"),
        ("workflow/documents/display.py", "def f():\n    from qnb import charts\n    import qnb.html"),
        ("charts/layers.py", "from qnb import columns, html\nfrom qnb.errors import InputError"),
        ("demo/__main__.py", "def main():\n    from qnb.workflow import Workflow"),
        ("panels/run.py", "from qnb.workflow import Workflow\nfrom qnb import charts"),
        ("graph/capture.py", "import torch\nfrom qnbert import x"),
    ],
)
def test_a_downward_import_passes(file, source):
    assert upward(source, file) == []


def circles(graph: dict[str, set[str]]) -> set[str]:
    """The modules that import themselves by way of others."""
    found = set()
    for start in graph:
        reached, ahead = set(), list(graph[start])
        while ahead:
            if (name := ahead.pop()) in graph and name not in reached:
                reached.add(name)
                ahead += graph[name]
        found |= {start} & reached
    return found


def imported_modules() -> dict[str, set[str]]:
    """Module -> those of qnb that it imports, wherever in it."""
    paths = {"qnb." + f.removesuffix(".py").removesuffix("/__init__").replace("/", "."): f for f in files()}
    found = {}
    for module, file in paths.items():
        nodes = [n for n in at_run_time(ast.parse((PACKAGE / file).read_text())) if isinstance(n, ast.ImportFrom)]
        names = [(n.module or "", f"{n.module}.{alias.name}") for n in nodes for alias in n.names]
        found[module] = {full if full in paths else stem for stem, full in names} & paths.keys() - {module}
    return found


def at_run_time(node: ast.AST) -> Iterator[ast.AST]:
    """All of a tree but what a type checker alone sees."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield child
            yield from at_run_time(child)


def test_no_module_imports_itself_by_way_of_others():
    assert not circles(imported_modules())


def test_a_circle_is_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()}) == {"b", "c"}


def test_every_part_has_its_place():
    parts = {file.partition("/")[0].removesuffix(".py") for file in files()}
    assert parts <= {*ORDER, *APART} | {"__main__"}
