"""What all recovery methods share: order, undo on failure, seed, progress, and layers measured before and after."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

import pandas as pd

from qnb import columns
from qnb.arguments import check_kind, check_options
from qnb.errors import CalibrationError, InputError
from qnb.graph.batches import reiterable
from qnb.measures.layers.compare import compare_layers
from qnb.measures.layers.outputs import output_db
from qnb.measures.sensitivity.trial import check_plain
from qnb.methods.auto import Auto
from qnb.methods.reporting.progress import MethodProgress
from qnb.methods.reporting.result import Found, Result
from qnb.methods.undo import all_or_nothing
from qnb.progress import Report
from qnb.randomness import Seeded
from qnb.registry import Registry

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim

STAGES = ("rescale", "precision", "range", "round", "correct", "train")
"""In this order: FP32 scales move between layers, bits and then ranges are chosen, weights rounded, biases corrected,
all of it trained."""
SETTLING = ("range", "round", "correct", "train")
"""After these, weights and their ranges belong together: see `QuantSim.weight_encodings_frozen`."""
MEASURED_BATCHES = 2
"""Layers are measured before and after on the first batches, so many at most."""


@dataclass(frozen=True)
class Method:
    """One recovery method.

    Args:
        name: as `Workflow.recover` takes it.
        title: as panels show it.
        stage: of `STAGES`.
        apply: ``apply(sim, batches, **options) -> Result``.
        once: whether a second time would undo the first one's work.
        fits: ``fits(sim, arguments by name)``: the method's own part of `check`.
        auto: its place in the recipe "auto"; None leaves it out of that.
        alone: ``apply`` without measuring layers before and after, for who measures otherwise; gives the `Found`.
    """

    name: str
    title: str
    stage: str
    apply: Callable[..., Result]
    once: bool = True
    fits: Callable[[Any, dict[str, Any]], None] | None = None
    auto: Auto | None = None
    alone: Callable[..., Found] | None = None

    @property
    def options(self) -> list[str]:
        """What it can be told beside sim, batches and progress."""
        names = list(inspect.signature(self.apply).parameters)
        return [n for n in names if n not in ("sim", "batches", "loader", "progress")]

    @property
    def searches(self) -> bool:
        """Whether it chooses by the user's metric."""
        return self.stage == "precision" and "evaluate" in self.options

    def check(self, sim: QuantSim, **given: Any) -> None:
        """Whether the method takes these arguments and this sim, before any work.

        Args:
            sim: a QuantSim, calibrated or not yet.

        Raises:
            InputError, PrecisionError, TargetError: names the argument, and what is valid.
        """
        signature = inspect.signature(self.apply)
        check_options(self.operation, given, list(signature.parameters)[1:], self.name)
        bound = signature.bind(sim, **given)
        bound.apply_defaults()
        self.check_bound(bound.arguments)

    def check_bound(self, given: dict[str, Any]) -> None:
        """`check` of all arguments by name, defaults included."""
        check_plain(given["sim"], self.operation)
        for data in ("batches", "loader"):
            if given.get(data) is not None:
                reiterable(given[data], self.operation)
        for name, parameter in inspect.signature(self.apply).parameters.items():
            if name != "sim" and parameter.default is not parameter.empty:
                check_kind(self.operation, name, given[name], parameter.default)
        if given.get("layers") is not None:
            given["sim"].named(given["layers"], self.operation)
        if self.fits is not None:
            self.fits(given["sim"], given)

    @property
    def operation(self) -> str:
        """As one would call it."""
        return f"qnb.methods.{self.name}"

    @property
    def summary(self) -> str:
        """The first line of its docstring."""
        return (self.apply.__doc__ or "").strip().splitlines()[0].rstrip(".")


METHODS: Registry[Method] = Registry("recovery method", of=Method, group="qnb.methods")


def method(
    name: str,
    title: str,
    stage: str,
    *,
    calibrated: bool = True,
    once: bool = True,
    measured: Callable[[dict], Iterable] | None = None,
    fits: Callable[[Any, dict[str, Any]], None] | None = None,
    auto: Auto | None = None,
) -> Callable[[Callable[..., Found]], Callable[..., Result]]:
    """Register a function ``(sim, batches, *, ..., progress=None) -> Found`` as a method that returns a `Result`.

    Inside, the sim's tensors are its own; if anything is raised, it is as it was before. ``batches`` (or ``loader``)
    may be gone through again. ``progress`` is a `MethodProgress`: always callable, ``progress(done, total, message)``;
    ``progress.row(step=..., loss=...)`` adds to the history. Raising `Cancelled` in it cancels. What a loader draws to
    shuffle ``batches`` comes from the ``seed`` option (0), and so must what the method itself draws, from a generator
    of its own (`qnb.randomness`). Layers are measured on the first ``batches``, or on what ``measured`` makes of the
    arguments by name. Before any of it, ``fits(sim, arguments by name)`` raises where they cannot be right; ``layers``
    and the kinds of values are checked for every method. ``auto`` is its place in the recipe "auto".
    """

    def wrap(function: Callable[..., Found]) -> Callable[..., Result]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def apply(sim: QuantSim, *args, **kwargs) -> Result:
            check_options(METHODS[name].operation, kwargs, list(signature.parameters)[1:], name)
            given = signature.bind(sim, *args, **kwargs)
            given.apply_defaults()
            return _apply(METHODS[name], function, given.arguments, calibrated, measured or _first_batches)

        def alone(sim: QuantSim, *args, **kwargs) -> Found:
            given = signature.bind(sim, *args, **kwargs)
            given.apply_defaults()
            given.arguments["progress"] = MethodProgress(given.arguments.get("progress"))
            return _changed(METHODS[name], function, given.arguments, calibrated, lambda: None)

        METHODS.add(name, Method(name, title, stage, apply, once, fits, auto, alone))
        return apply

    return wrap


def _apply(row: Method, function, given: dict, calibrated: bool, inputs) -> Result:
    sim, start, tables = given["sim"], time.perf_counter(), []
    given["progress"] = report = MethodProgress(given.get("progress"))
    measured = functools.cache(lambda: inputs(given))
    found = _changed(row, function, given, calibrated, lambda: tables.append(_measure(sim, measured(), report)))
    before, after = tables
    history = found.history if len(found.history) else report.history()
    return Result(
        row.name,
        before_and_after(sim, before, after, found.layers),
        history,
        _plain_options(row, given),
        time.perf_counter() - start,
        found.notes,
        _output(sim, before),
        _output(sim, after),
        found.tables,
    )


def _changed(row: Method, function, given: dict, calibrated: bool, measure: Callable[[], None]) -> Found:
    """Apply a method to the sim, or leave it as it was; ``measure()`` before and after."""
    operation, sim = row.operation, given["sim"]
    check_order([*sim.applied_methods, row.name], operation)
    row.check_bound(given)
    if given.get("batches") is not None:
        given["batches"] = Seeded(given["batches"], given.get("seed") or 0)
    if calibrated and not sim.calibrated:
        raise CalibrationError(operation, "the sim is not calibrated", "call sim.calibrate(batches) first")
    with sim.lock.alone(), all_or_nothing(sim):
        measure()
        found = function(**given)
        sim.drop_cache()
        measure()
        sim.applied_methods = (*sim.applied_methods, row.name)
        sim.weight_encodings_frozen |= row.stage in SETTLING
    sim.drop_cache()
    return found


def _first_batches(given: dict) -> list | None:
    return list(islice(given["batches"], MEASURED_BATCHES)) if given.get("batches") is not None else None


def check_order(names: Iterable[str], operation: str) -> None:
    """Check that methods can be applied in this order.

    Raises:
        InputError: names the right order.
    """
    rows = [METHODS[name] for name in names]
    for index, row in enumerate(rows):
        for other in rows[:index]:
            if other.name == row.name and row.once:
                raise InputError(operation, f"{row.name} a second time", f"leave the second {row.name!r} out")
            if other.stage == row.stage == "round" and other.name != row.name:
                raise InputError(
                    operation,
                    f"{other.name} and then {row.name}, which would round the weights again",
                    f"take one of {other.name!r} and {row.name!r}",
                )
            if STAGES.index(other.stage) > STAGES.index(row.stage):
                right = sorted(rows, key=lambda r: STAGES.index(r.stage))
                raise InputError(
                    operation,
                    f"{row.name} after {other.name}, whose work it would undo",
                    f"go in this order: {', '.join(dict.fromkeys(r.name for r in right))}",
                )


def auto_order(sim: QuantSim, without: Iterable[str] = ()) -> list[str]:
    """Names of the methods that the recipe "auto" tries on a sim, the cheapest first. Corrections are tried once more
    after each method that chooses weights or their ranges.

    Args:
        without: names of methods to leave out; those that the sim has had are left out too.
    """
    gone = {*without, *sim.applied_methods}
    rows = [row for row in map(METHODS.__getitem__, METHODS) if row.auto is not None and row.name not in gone]
    rows = sorted((row for row in rows if row.auto.suits(sim)), key=lambda row: row.auto.effort)
    corrections = [row.name for row in rows if row.stage == "correct"]
    order = [name for row in rows for name in (row.name, *(corrections if row.stage in ("range", "round") else ()))]
    return [name for name, _ in groupby(order)]


def _measure(sim: QuantSim, batches: Iterable | None, report: Report) -> pd.DataFrame | None:
    if batches is None or not sim.calibrated:
        return None
    tick = lambda done, total, _: report(done, total, "measuring layers")  # noqa: E731
    return compare_layers(sim, batches, progress=tick, watch=lambda _: report(0, None, "measuring layers"))


def _output(sim: QuantSim, table: pd.DataFrame | None) -> float:
    return float("nan") if table is None else output_db(sim, table)


def before_and_after(
    sim: QuantSim, before: pd.DataFrame | None, after: pd.DataFrame | None, own: pd.DataFrame | None
) -> pd.DataFrame:
    """A `Result`'s table from two of `compare_layers` (or None) and the method's own figures by layer."""
    table = pd.DataFrame({columns.LAYER: [g.layer for g in sim.groups], columns.OP: [g.op for g in sim.groups]})
    for name, column in (("own_{}_db", columns.OWN_SQNR_DB), ("{}_db", columns.SQNR_DB)):
        for when, measured in (("before", before), ("after", after)):
            if before is not None and after is not None:
                table[name.format(when)] = measured[column].to_numpy()
    if own is not None and len(own):
        table = table.merge(own, how="left", on=columns.LAYER)
    return table


def _plain_options(row: Method, given: dict) -> dict:
    """Options as a file can hold them; functions and models by their name."""
    found = {n: given[n] for n in row.options if given.get(n) is not None}
    return {n: plain(v) for n, v in found.items()}


def plain(value: object) -> bool | float | str | list[str]:
    """An option as a file can hold it: functions and other objects by their name."""
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple) and all(isinstance(v, str) for v in value):
        return list(value)
    return getattr(value, "__name__", type(value).__name__)
