"""Recovery: a run's simulation improved by methods, measured in full, as a new run beside the old one."""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qnb.arguments import check_options, did_you_mean, flag, is_number, short
from qnb.errors import InputError, PrecisionError
from qnb.graph.batches import reiterable
from qnb.methods import METHODS, Result, check_order
from qnb.numerics import Precision
from qnb.progress import Report
from qnb.sim import QuantSim
from qnb.workflow.measured_run import measured
from qnb.workflow.names import FP32, check_name
from qnb.workflow.results import check_has_data
from qnb.workflow.run import Run

if TYPE_CHECKING:
    from qnb.workflow.workflow import Workflow

LIMITS = ("max_seconds", "max_bytes", "max_bops")
AUTO, AUTO_OPTIONS = "auto", ("mixed_precision", "train", "loader", *LIMITS)
"""``mixed_precision=False`` and ``train=False`` leave these out of "auto"; ``loader`` is what training takes."""


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
    def of(
        flow: Workflow, precision: str | Precision, methods: str | Iterable[str], name: str | None, options: dict
    ) -> Recovery:
        """From what `Workflow.recover` takes; what does not fit is an error here, before any work."""
        operation = "flow.recover"
        check_has_data(flow, operation)
        base = _base(flow, precision, operation)
        if base == FP32:
            raise InputError(operation, "fp32, which has lost nothing", "name a precision or a run: 'w4a8'")
        if name is not None:
            check_name(name, flow.runs[base].precision if base in flow.runs else base, operation)
        methods = (methods,) if isinstance(methods, str) else tuple(methods)
        if not methods or (AUTO in methods and len(methods) > 1):
            received = "no method" if not methods else f"{AUTO!r} beside other methods"
            raise InputError(operation, received, f"give {AUTO!r} or some of {', '.join(METHODS)}")
        if methods == (AUTO,):
            return Recovery(base, precision, methods, {AUTO: _auto_options(options)}, name or f"{base}+{AUTO}")
        applied = flow.runs[base].sim.applied_methods if base in flow.runs else ()
        check_order([*applied, *methods], operation)
        return Recovery(
            base, precision, methods, _by_method(methods, options, operation), name or "+".join([base, *methods])
        )

    def check(self, flow: Workflow) -> None:
        """Whether each method takes its options, this model and this precision: captures the model, no more."""
        known = flow.runs.get(self.base)
        if self.methods == (AUTO,):
            return
        sim = known.sim if known else QuantSim(flow.captured, precision=self.precision, target=flow.target)
        for name in self.methods:
            METHODS[name].check(sim, **given(flow, name, self.options[name]))

    @property
    def title(self) -> str:
        return f"flow.recover({self.base!r}, {_one_or_list(self.methods)!r})"


def apply(flow: Workflow, wanted: Recovery, report: Report) -> Run:
    """The new run, by methods one after the other; the flow and the run it starts from stay as they are."""
    start, base = time.perf_counter(), flow[wanted.base]
    sim = base.sim.copy()
    results = [one(flow, sim, name, wanted.options.get(name, {}), report) for name in wanted.methods]
    settings = settings_of(base, results)
    return measured(
        flow, sim, wanted.name, flow["fp32"].score, settings, report, start, recovery=(*base.recovery, *results)
    )


def one(flow: Workflow, sim: QuantSim, name: str, options: dict, report: Report) -> Result:
    """One method on a sim, with what the workflow knows: its data, its seed, its metric where a method searches."""
    return METHODS[name].apply(sim, progress=report, **given(flow, name, options))


def given(flow: Workflow, name: str, options: dict) -> dict[str, Any]:
    """What a method is called with: its options, and what the workflow knows."""
    row = METHODS[name]
    known = set(inspect.signature(row.apply).parameters)
    found = dict(options)
    for data in ("batches", "loader"):
        if data in known:
            found.setdefault(data, flow.calibration)
    if "seed" in known:
        found.setdefault("seed", flow.seed)
    if row.searches:
        found.setdefault("evaluate", flow.evaluate)
        if not {"budget", "max_drop"} & set(found):
            found["max_drop"] = flow.tolerance
    return found


def settings_of(base: Run, results: Iterable[Result]) -> dict[str, Any]:
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
            check_options(operation, value, known[option], option)
            found[option] |= value
            continue
        takers = [name for name in methods if option in known[name]]
        if not takers:
            names = {o: None for name in methods for o in known[name]}
            hint = did_you_mean(option, [*names, *methods], lambda near, value=value: f"{near}={short(value)}")
            lists = "; ".join(f"{name} takes {', '.join(known[name]) or 'no options'}" for name in methods)
            raise InputError(operation, f"option {option!r}, which no method here has", f"{hint}{lists}")
        for name in takers:
            found[name][option] = value
    return found


def _base(flow: Workflow, precision: str | Precision, operation: str) -> str:
    """The name of the run to start from."""
    if isinstance(precision, str) and precision in flow.runs:
        return precision
    try:
        return Precision.parse(precision).name
    except PrecisionError:
        if not (hint := did_you_mean(precision, flow.runs)):
            raise
        raise InputError(
            operation, f"no run and no precision {short(precision)}", f"{hint}There are the runs {', '.join(flow.runs)}"
        ) from None


def _trains(name: str) -> bool:
    return "loader" in inspect.signature(METHODS[name].apply).parameters


def _auto_options(options: dict) -> dict:
    check_options("flow.recover", options, AUTO_OPTIONS, AUTO)
    for name, value in options.items():
        if name == "loader":
            reiterable(value, "flow.recover")
        elif name in LIMITS:
            if not (is_number(value) and value > 0):
                raise InputError("flow.recover", f"{name}={short(value)}", "give a number above 0")
        else:
            flag("flow.recover", name, value)
    return options


def _one_or_list(methods: tuple[str, ...]):
    return methods[0] if len(methods) == 1 else list(methods)
