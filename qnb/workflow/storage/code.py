"""Lines of code in a file, which a person may run: only calls of a workflow's own steps, with plain arguments.

Anything else is left out, as nobody can see from a panel where a line came from.
"""

from __future__ import annotations

import ast

LONGEST = 10_000
STEPS = frozenset(
    (
        "attribute",
        "calibration_curve",
        "change",
        "check",
        "choose",
        "compare",
        "deploy",
        "deploy_panel",
        "diagnose",
        "discard",
        "explore",
        "keep",
        "layer",
        "measure",
        "next_steps",
        "panel",
        "precision_panel",
        "recover",
        "recovery_panel",
        "run",
        "search_mixed_precision",
        "sensitivity",
        "submit",
        "summary",
        "undo",
        "verify",
        "what_if",
    )
)
"""What a line may call; not what writes to a path of the file's choice."""
RESULTS = frozenset(
    (
        "attributions",
        "calibration_curves",
        "check_result",
        "commands",
        "deployments",
        "pareto_fronts",
        "proposal",
        "runs",
        "sensitivities",
        "table",
    )
)
"""What it may read."""
VALUES = frozenset(("FloatGrid", "Grid", "Precision"))


def checked(code: str, variable: str) -> str:
    """The code, about the workflow that is called ``variable``; empty where it is not of that kind.

    >>> checked('flow.run("w4a8", layers={"stem": "w8a8"})', "mine")
    'mine.run("w4a8", layers={"stem": "w8a8"})'
    >>> checked('flow.run(open("x").read())', "flow"), checked("import os", "flow"), checked('os.run("x")', "flow")
    ('', '', 'flow.run("x")')
    """
    try:
        tree = ast.parse(code) if len(code) <= LONGEST else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    roots: list[ast.Name] = []
    if tree is None or not all(isinstance(s, ast.Expr) and _is_call(s.value, roots) for s in tree.body):
        return ""
    return _renamed(code, roots, variable)


def _is_call(node: ast.AST, roots: list[ast.Name]) -> bool:
    """``flow.run(...)``, or ``print(...)`` of what a workflow holds."""
    if not isinstance(node, ast.Call):
        return False
    if isinstance(node.func, ast.Name):
        shown = len(node.args) == 1 and not node.keywords
        return node.func.id == "print" and shown and _is_workflow(node.args[0], roots)
    called = isinstance(node.func, ast.Attribute) and node.func.attr in STEPS
    arguments = [*node.args, *(k.value for k in node.keywords)]
    return called and _is_workflow(node.func.value, roots) and all(map(_is_value, arguments))  # pyright: ignore[reportAttributeAccessIssue]


def _is_workflow(node: ast.AST, roots: list[ast.Name]) -> bool:
    """The workflow, or what it holds or gives: ``flow``, ``flow.pareto_fronts["w8a8"]``, ``flow.what_if("w8a8")``."""
    if isinstance(node, ast.Name):
        roots.append(node)
        return True
    if isinstance(node, ast.Attribute):
        return node.attr in RESULTS and _is_workflow(node.value, roots)
    if isinstance(node, ast.Subscript):
        return isinstance(node.slice, ast.Constant) and _is_workflow(node.value, roots)
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _is_call(node, roots)


def _is_value(node: ast.AST) -> bool:
    """A literal, the name of something of the user's, or a precision written out."""
    if isinstance(node, ast.Constant | ast.Name):
        return True
    if isinstance(node, ast.List | ast.Tuple):
        return all(map(_is_value, node.elts))
    if isinstance(node, ast.Dict):
        return all(k is not None and _is_value(k) for k in node.keys) and all(map(_is_value, node.values))
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant)
    named = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in VALUES
    return named and not node.args and all(k.arg is not None and _is_value(k.value) for k in node.keywords)  # pyright: ignore[reportAttributeAccessIssue]


def _renamed(code: str, roots: list[ast.Name], variable: str) -> str:
    """Whatever the workflow was called in the file, it is this one: no module can take its place."""
    lines = code.encode().split(b"\n")
    for node in sorted(roots, key=lambda n: (n.lineno, n.col_offset), reverse=True):
        line = lines[node.lineno - 1]
        lines[node.lineno - 1] = line[: node.col_offset] + variable.encode() + line[node.end_col_offset :]
    return b"\n".join(lines).decode()
