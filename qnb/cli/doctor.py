"""``qnb doctor``: what an installation lacks, and what to do about it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from qnb.cli.checks import CHECKS, FAIL, OK, WARN, Check, CheckResult
from qnb.cli.surroundings import Surroundings
from qnb.registry import Registry

MARKS = {OK: "✓", WARN: "!", FAIL: "✗"}
PLAIN = {OK: "ok", WARN: "!", FAIL: "x"}
"""Where the terminal cannot write the others."""


def examine(here: Surroundings | None = None, checks: Registry[Check] = CHECKS) -> list[CheckResult]:
    """Run every check; one that raises has failed, and says so.

    >>> from qnb.registry import Registry
    >>> broken = Registry("check")
    >>> _ = broken.add("disk", lambda here: 1 / 0)
    >>> examine(Surroundings(), broken)[0].found
    'ZeroDivisionError: division by zero'
    """
    here = Surroundings() if here is None else here
    return [_one(name, checks[name], here) for name in checks]


def _one(name: str, check: Check, here: Surroundings) -> CheckResult:
    try:
        return check(here)
    except Exception as error:  # the doctor looks at broken things: anything may happen
        text = " ".join(str(error).split())
        return CheckResult(
            name, FAIL, f"{type(error).__name__}: {text}".removesuffix(": "), "fix what the message names"
        )


def table(findings: Sequence[CheckResult], marks: Mapping[str, str] = MARKS) -> str:
    """One line per finding: mark, name, what was found, and what to do about it.

    >>> print(table([CheckResult("a", "ok", "2.1"), CheckResult("b", "fail", "not installed", "pip install b")]))
    ✓ a  2.1
    ✗ b  not installed → pip install b
    """
    names, width = max((len(f.name) for f in findings), default=0), max(map(len, marks.values()))
    arrow = "→" if marks is MARKS else "->"
    return "\n".join(
        f"{marks[f.status]:<{width}} {f.name:<{names}}  {f.found}{f' {arrow} {f.remedy}' if f.remedy else ''}"
        for f in findings
    )


def doctor(*, as_json: bool = False, here: Surroundings | None = None) -> int:
    """Print what was found; 1 if a check failed, else 0."""
    findings = examine(here)
    failed = any(f.status == FAIL for f in findings)
    if as_json:
        print(json.dumps({"ok": not failed, "findings": [asdict(f) for f in findings]}, indent=1))
    else:
        print(table(findings, MARKS if _writes("✓✗→") else PLAIN))
    return int(failed)


def _writes(text: str) -> bool:
    """Whether the terminal has these characters: on Windows not all have."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
