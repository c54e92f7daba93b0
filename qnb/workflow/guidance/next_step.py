"""A next step as a value, and the calls that do it as code. Which step comes next: `next_steps` beside this."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FOLDER = "deploy"
"""Where files go unless one says otherwise."""


@dataclass(frozen=True)
class NextStep:
    """What to do (``title``), the ``reason`` (with numbers), and the ``code`` that does it; no code where
    only a person can do it.

    ``run`` holds the arguments of `Workflow.run` where the code is such a call, ``recover`` those of
    `Workflow.recover`, ``deploy`` those of `Workflow.deploy`.
    """

    title: str
    reason: str
    code: str = ""
    run: dict[str, Any] | None = None
    deploy: dict[str, Any] | None = None
    recover: dict[str, Any] | None = None

    def __str__(self) -> str:
        return f"{self.title}: {self.reason}" + (f"\n    {self.code}" if self.code else "")


def literal(value: Any) -> str:
    """A value as Python source, strings in double quotes; a function by its name.

    >>> print(literal({"stem": "w8a8", "é": [True, None]}))
    {"stem": "w8a8", "é": [True, None]}
    """
    if isinstance(value, str):  # an escape for a lone surrogate, which no file can hold; everything else as it is
        text = json.dumps(value, ensure_ascii=False)
        return "".join(json.dumps(c)[1:-1] if "\ud800" <= c <= "\udfff" else c for c in text)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{literal(k)}: {literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(literal, value)) + "]"
    return getattr(value, "__name__", None) or repr(value)


def calibration_argument(method: str, by_layer: Mapping[str, str], usual: str) -> dict[str, Any]:
    """``calibration_method`` as `Workflow.run` takes it; nothing where it is the workflow's own.

    >>> calibration_argument("mse", {"stem": "minmax"}, "minmax")
    {'calibration_method': {'*': 'mse', 'stem': 'minmax'}}
    """
    base = {} if method == usual else {"*": method}
    if by_layer:
        return {"calibration_method": base | dict(by_layer)}
    return {"calibration_method": method} if base else {}


def run_code(variable: str, arguments: Mapping[str, Any]) -> str:
    """The call of `Workflow.run` with these arguments.

    >>> run_code("flow", {"precision": "w4a8", "layers": {"stem": "w8a8"}})
    'flow.run("w4a8", layers={"stem": "w8a8"})'
    """
    rest = {key: value for key, value in arguments.items() if key != "precision"}
    return _call(f"{variable}.run", [arguments["precision"]], rest)


def recover_code(variable: str, run: str, methods: Sequence[str], options: Mapping[str, Any] | None = None) -> str:
    """The call of `Workflow.recover` with these arguments.

    >>> recover_code("flow", "w4a8", ("equalize", "adaround"), {"iterations": 500})
    'flow.recover("w4a8", ["equalize", "adaround"], iterations=500)'
    """
    return _call(f"{variable}.recover", [run, methods[0] if len(methods) == 1 else methods], options or {})


def deploy_code(variable: str, arguments: Mapping[str, Any]) -> str:
    """The call of `Workflow.deploy` with these arguments.

    >>> deploy_code("flow", {"run": "w8a8", "folder": "deploy", "soc": "sm8550", "integer_io": True})
    'flow.deploy("w8a8", "deploy", soc="sm8550", integer_io=True)'
    """
    rest = {key: value for key, value in arguments.items() if key not in ("run", "folder")}
    return _call(f"{variable}.deploy", [arguments["run"], arguments["folder"]], rest)


def _call(function: str, first: Sequence[Any], rest: Mapping[str, Any]) -> str:
    said = [*map(literal, first), *(f"{key}={literal(value)}" for key, value in rest.items())]
    return f"{function}({', '.join(said)})"
