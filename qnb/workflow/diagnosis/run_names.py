"""Names of the runs that remedies make: they say what was done, and no two are alike."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

from qnb.workflow.guidance.next_step import run_code
from qnb.workflow.names import LONGEST

if TYPE_CHECKING:
    from qnb.workflow.diagnosis.proof import Proven
    from qnb.workflow.workflow import Workflow


def suffixes(layers: Iterable[str], does: str) -> tuple[str, ...]:
    """What follows the name of a run where layers are changed, the shortest first; no layer stands for all.

    >>> suffixes(["model.blocks.1.norm1"], "wider")
    ('+norm1 wider', '+blocks.1.norm1 wider', '+model.blocks.1.norm1 wider')
    >>> suffixes(["stem", "head"], "fp32"), suffixes([], "percentile")
    (('+2 layers fp32', '+stem, head fp32'), ('+percentile',))
    """
    named = list(layers)
    if not named:
        return (f"+{does}",)
    if len(named) > 1:
        return f"+{len(named)} layers {does}", f"+{', '.join(named)} {does}"
    parts = named[0].split(".")
    ends = [".".join(parts[i:]) for i in range(len(parts) - 1, -1, -1)]
    return tuple(f"+{end} {does}" for end in ends if end == named[0] or not end[0].isdigit())


def named_apart(flow: Workflow, run: str, proven: Iterable[Proven]) -> list[Proven]:
    """What was proven of a run, with remedies that make runs of different names, and replace none that is there."""
    made: list[Proven] = []
    taken = set(flow.runs)
    for found in proven:
        remedy = found.remedy
        if remedy is not None and remedy.run is not None:
            usual = _usual(remedy.run)
            name = next(name for name in _names(usual, run, remedy.suffixes) if name not in taken)
            taken.add(name)
            if name != usual:
                arguments = remedy.run | {"name": name}
                remedy = replace(remedy, run=arguments, code=run_code(flow.variable, arguments))
        made.append(replace(found, remedy=remedy))
    return made


def _names(usual: str, run: str, endings: Collection[str]) -> Iterator[str]:
    """Names for a run, the best first, without end."""
    yield usual
    yield from (run + ending for ending in endings if len(run + ending) <= LONGEST)
    shortest = next((run + ending for ending in endings if len(run + ending) < LONGEST - 4), usual)
    yield from (f"{shortest} {number}" for number in count(2))


def _usual(arguments: Mapping[str, Any]) -> str:
    """The name that `Workflow.run` gives a run by itself."""
    rules = arguments.get("calibration_method")
    by_layer = {*rules} - {"*"} if isinstance(rules, dict) else set()
    changed = len({*arguments.get("layers", {}), *by_layer})
    return f"{arguments['precision']}+{changed}" if changed else arguments["precision"]
