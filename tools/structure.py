"""The structure of qnb in figures: ``python -m tools.structure [root of a checkout]``."""

import ast
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

OWN = ("self", "cls")


def modules(root: Path) -> dict[str, Path]:
    """Dotted name to file; a package is its ``__init__``."""
    paths = (p for p in (root / "qnb").rglob("*.py") if "node_modules" not in p.parts)
    names = ((".".join(p.relative_to(root).with_suffix("").parts), p) for p in sorted(paths))
    return {name.removesuffix(".__init__"): path for name, path in names}


def at_run_time(node: ast.AST) -> Iterator[ast.AST]:
    """All of a tree but what a type checker alone sees."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield child
            yield from at_run_time(child)


def imports(tree: ast.AST, known: dict[str, Path]) -> set[str]:
    found = set()
    for node in at_run_time(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            found |= {name if name in known else node.module for name in names}
    return found & known.keys()


def in_circles(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import themselves by way of others, imports in functions counted."""
    found = []
    for start in graph:
        reached, ahead = set(), [*graph[start]]
        while ahead:
            if (name := ahead.pop()) not in reached:
                reached.add(name)
                ahead += graph[name]
        found += [start] if start in reached else []
    return found


def room(name: str, path: Path) -> str:
    parts = name.split(".")[1:]
    return "/".join(parts if path.name == "__init__.py" else parts[:-1]) or "(top)"


def unannotated(tree: ast.AST) -> int:
    """Parameters without a type."""
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    arguments = [a for f in functions for a in (*f.args.posonlyargs, *f.args.args, *f.args.kwonlyargs)]
    return sum(a.annotation is None and a.arg not in OWN for a in arguments)


def functions(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(lines without the docstring, name)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first, lines = node.body[0], node.end_lineno - node.lineno + 1
            said = first.end_lineno - first.lineno + 1 if ast.get_docstring(node) is not None else 0
            yield lines - said, node.name


def main(root: Path) -> None:
    known = modules(root)
    sources = {name: path.read_text(encoding="utf-8") for name, path in known.items()}
    trees = {name: ast.parse(source) for name, source in sources.items()}
    lines = {name: len(source.splitlines()) for name, source in sources.items()}
    graph = {name: imports(tree, known) - {name} for name, tree in trees.items()}
    rooms, files = Counter(), Counter()
    between = defaultdict(set)
    for name, path in known.items():
        rooms[room(name, path)] += lines[name]
        files[room(name, path)] += 1
        between[room(name, path)] |= {room(other, known[other]) for other in graph[name]}
    for name in sorted(rooms):
        print(f"{name:26} {files[name]:4} files {rooms[name]:6} lines")
    statements = sum(isinstance(n, ast.stmt) for tree in trees.values() for n in ast.walk(tree))
    print(f"{'all':26} {len(known):4} files {sum(lines.values()):6} lines, {statements} statements")
    print("longest files:", *(f"{name} {count}" for name, count in Counter(lines).most_common(5)), sep="\n  ")
    longest = sorted((found for tree in trees.values() for found in functions(tree)), reverse=True)[:5]
    print("longest functions:", *(f"{name} {count}" for count, name in longest), sep="\n  ")
    print("modules in import circles:", len(in_circles(graph)))
    mutual = {tuple(sorted((a, b))) for a, others in between.items() for b in others if a in between[b] and a != b}
    print("rooms that import each other:", *(f"{a} and {b}" for a, b in sorted(mutual)), sep="\n  ")
    print("parameters without a type:", sum(map(unannotated, trees.values())))
    print("fmt: skip:", sum(source.count("# fmt: skip") for source in sources.values()))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
