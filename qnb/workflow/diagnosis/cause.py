"""A cause of lost accuracy: a rule with a name, in a file of its own.

A rule looks at a `Case` and gives a `Suspicion` for each place where its cause may be at work. It tries nothing: what
a remedy brings is measured by `proof`, and a suspicion whose remedies bring nothing is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qnb.registry import Registry

if TYPE_CHECKING:
    from qnb.workflow.diagnosis.case import Case
    from qnb.workflow.diagnosis.remedy import Remedy

DATA, STRUCTURE, GENERAL = 0, 1, 2
"""How telling a cause is: something about the data explains what follows from it, and so does one place in the model.
A general one is said only where nothing else is found."""


@dataclass(frozen=True)
class Suspicion:
    """A place where a cause may be at work.

    Args:
        says: what is so, in a sentence that names the layer.
        layers: inputs or layers that it is about, the first one first.
        evidence: the numbers that speak for it.
        remedies: to be tried, the best first; those that do not suit the model are None, and dropped. None at all where
            only a person can act.
        to_do: what a person can do, where no remedy can be tried.
        to_do_code: the line of code for that.
        certain: shown even if nothing can be measured.
    """

    says: str
    layers: tuple[str, ...]
    evidence: str
    remedies: tuple[Remedy | None, ...] = ()
    to_do: str = ""
    to_do_code: str = ""
    certain: bool = False

    @property
    def ways(self) -> tuple[Remedy, ...]:
        """The remedies that suit the model."""
        return tuple(way for way in self.remedies if way is not None)


@dataclass(frozen=True)
class Cause:
    """Args:
    name: of the cause, an identifier.
    title: in a few words.
    find: ``find(case)`` gives suspicions.
    kind: `DATA`, `STRUCTURE` or `GENERAL`.
    """

    name: str
    title: str
    find: Callable[[Case], Iterable[Suspicion]]
    kind: int = STRUCTURE


CAUSES: Registry[Cause] = Registry("cause", of=Cause, group="qnb.causes")


def cause(name: str, title: str, kind: int = STRUCTURE) -> Callable:
    """Register a function ``find(case) -> Iterable[Suspicion]`` as a cause."""

    def register(find: Callable[[Case], Iterable[Suspicion]]) -> Callable[[Case], Iterable[Suspicion]]:
        CAUSES.add(name, Cause(name, title, find, kind))
        return find

    return register
