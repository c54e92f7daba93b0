"""Recovery: a run's simulation improved by methods, measured in full, as a new run beside the old one."""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from qnb.errors import InputError
from qnb.methods import METHODS, Result, check_order
from qnb.numerics import Precision
from qnb.workflow.measured import measured
from qnb.workflow.run import Run
from qnb.workflow.ticks import reporting

AUTO = "auto"


@dataclass(frozen=True)
class Recovery:
    """What a recovery is asked for.

    Args:
        base: name of the run to start from.
        precision: to make that run with, where there is none yet.
        methods: in order; ``("auto",)`` for the recipe.
        options: by method.
        name: to keep the new run under.
    """

    base: str
    precision: str | Precision
    methods: tuple[str, ...]
    options: dict[str, dict[str, Any]]
    name: str

    @staticmethod
    def of(flow, precision, methods: str | Iterable[str], name: str | None, options: dict) -> Recovery:
        """From what `Workflow.recover` takes; what does not fit is an error here, before any work."""
        operation = "flow.recover"
        if flow.model is None:
            raise InputError(operation, "a workflow from a file, without model, data and evaluate",
                             "load it with qnb.load(path, model=..., calibration=..., evaluate=...)")  # fmt: skip
        base = precision if precision in flow.runs else Precision.parse(precision).name
        if base == "fp32":
            raise InputError(operation, "fp32, which has lost nothing", "name a precision or a run: 'w4a8'")
        methods = (methods,) if isinstance(methods, str) else tuple(methods)
        if not methods or (AUTO in methods and len(methods) > 1):
            received = "no method" if not methods else f"{AUTO!r} beside other methods"
            raise InputError(operation, received, f"give {AUTO!r} or some of {', '.join(METHODS)}")
        if methods == (AUTO,):
            return Recovery(base, precision, methods, {AUTO: _recipe_options(options)}, name or f"{base}+{AUTO}")
        applied = flow.runs[base].sim.applied if base in flow.runs else ()
        check_order([*applied, *methods], operation)
        return Recovery(base, precision, methods, _by_method(methods, options, operation),
                        name or "+".join([base, *methods]))  # fmt: skip

    @property
    def title(self) -> str:
        return f"flow.recover({self.base!r}, {_one_or_list(self.methods)!r})"


def recover(flow, wanted: Recovery, progress) -> Run:
    """The new run; the flow and the run it starts from stay as they are."""
    from qnb.workflow import recipe

    with reporting(flow, wanted.title, progress) as report:
        if wanted.methods == (AUTO,):
            return recipe.auto(flow, wanted, report)
        return apply(flow, flow[wanted.base], flow[wanted.base].sim.copy(), wanted, report)


def apply(flow, base: Run, sim, wanted: Recovery, report) -> Run:
    """Methods one after the other on ``sim``, which is changed, then everything measured."""
    start = time.perf_counter()
    results = [one(flow, sim, name, wanted.options.get(name, {}), report) for name in wanted.methods]
    settings = settings_of(base, results)
    return measured(flow, sim, wanted.name, flow["fp32"].score, settings, report, start,
                    recovery=(*base.recovery, *results))  # fmt: skip


def one(flow, sim, name: str, options: dict, report) -> Result:
    """One method on a sim, with what the workflow knows: its data, its seed, its metric where a method searches."""
    row = METHODS[name]
    known = set(inspect.signature(row.apply).parameters)
    given = dict(options)
    for data in ("batches", "loader"):
        if data in known:
            given.setdefault(data, flow.calibration)
    if "seed" in known:
        given.setdefault("seed", flow.seed)
    if row.searches:
        given.setdefault("evaluate", flow.evaluate)
        if not {"budget", "max_drop"} & set(given):
            given["max_drop"] = flow.tolerance
    return row.apply(sim, progress=report, **given)


def settings_of(base: Run, results) -> dict[str, Any]:
    """The base's settings, and what was done on top."""
    done = [*base.settings.get("recover", ()), *({"method": r.method, "options": r.options} for r in results)]
    return base.settings | {"from": base.name, "recover": done}


def _by_method(methods: tuple[str, ...], options: dict, operation: str) -> dict[str, dict[str, Any]]:
    """``iterations=500`` to each method that knows it, ``adaround={"iterations": 500}`` to that one."""
    found: dict[str, dict[str, Any]] = {name: {} for name in methods}
    known = {name: [*METHODS[name].options, *(["loader"] if _trains(name) else [])] for name in methods}
    for option, value in options.items():
        if option in found:
            if not isinstance(value, dict):
                raise InputError(operation, f"{option}={value!r}", f"give its options: {option}={{...}}")
            _check(option, value, known[option], operation)
            found[option] |= value
            continue
        takers = [name for name in methods if option in known[name]]
        if not takers:
            lists = "; ".join(f"{name}: {', '.join(known[name]) or 'none'}" for name in methods)
            raise InputError(operation, f"option {option!r}, which no method here has", f"use {lists}")
        for name in takers:
            found[name][option] = value
    return found


def _check(name: str, options: dict, known: list[str], operation: str) -> None:
    if unknown := [o for o in options if o not in known]:
        raise InputError(operation, f"option {unknown[0]!r} of {name}", f"use {', '.join(known) or 'none'}")


def _trains(name: str) -> bool:
    return "loader" in inspect.signature(METHODS[name].apply).parameters


def _recipe_options(options: dict) -> dict:
    from qnb.workflow.recipe import OPTIONS

    if unknown := [o for o in options if o not in OPTIONS]:
        raise InputError("flow.recover", f"option {unknown[0]!r} of auto", f"use {', '.join(OPTIONS)}")
    return options


def _one_or_list(methods: tuple[str, ...]):
    return methods[0] if len(methods) == 1 else list(methods)
