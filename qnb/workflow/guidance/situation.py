"""A workflow's situation: the few facts that its next steps depend on. `qnb.workflow.guidance.standing` reads them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from qnb.workflow.precisions import nameable
from qnb.workflow.verdict import FAIL, PASS, UNCLEAR

if TYPE_CHECKING:
    from qnb.workflow.run import Run
    from qnb.workflow.workflow import Workflow


@dataclass(frozen=True)
class Situation:
    """What is so, part by part; ``|`` joins parts.

    Args:
        facts: what next steps are chosen by; one that is missing is "none".
        words: what their texts say.
        names: of runs and layers, for their code.
        orders: arguments of `Workflow.run`, ``recover`` and ``deploy``.
    """

    facts: dict[str, str] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __or__(self, other: Situation) -> Situation:
        return Situation(*(getattr(self, part) | getattr(other, part) for part in self.__dataclass_fields__))


def label(name: str) -> str:
    """A run as a sentence names it: a precision in capitals."""
    return name.upper() if nameable(name) else name


def rank(run: Run) -> tuple:
    """The better, the lower: by verdict, then by drop, then by the output's SQNR."""
    state = (PASS, UNCLEAR, FAIL).index(run.verdict.status)
    return state, run.drop.value if run.drop else 0.0, -run.output_sqnr_db


def free(flow: Workflow, name: str) -> str:
    """The name, or one like it, that no run has."""
    found, number = name, 2
    while found in flow.runs:
        found, number = f"{name} {number}", number + 1
    return found


def order(flow: Workflow, usual: str, **arguments: Any) -> dict[str, Any]:
    """Arguments of `Workflow.run` that replace no run.

    Args:
        usual: the name that such a run gets; another one is given where it is taken.
    """
    name = free(flow, usual)
    return arguments if name == usual else arguments | {"name": name}
