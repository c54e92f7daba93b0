"""Mixed precision: more bits for sensitive layers, by an exact search over the whole Pareto front."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from qnb.arguments import is_number, short, whole
from qnb.errors import InputError
from qnb.methods.auto import Auto
from qnb.methods.method import method
from qnb.methods.precision.candidates import check_budget
from qnb.methods.precision.choices import OPERATION, Choices, check
from qnb.methods.precision.precision_front import PrecisionFront, solved
from qnb.methods.reporting.progress import MethodProgress
from qnb.methods.reporting.result import Found
from qnb.progress import Report
from qnb.text import count, number

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from os import PathLike

    from qnb.numerics import Precision
    from qnb.sim.quantsim import QuantSim


def _fits(sim: QuantSim, given: dict) -> None:
    budget, max_drop, sensitivity = (given[name] for name in ("budget", "max_drop", "sensitivity"))
    if (budget is None) == (max_drop is None):
        both = "both budget and max_drop" if budget is not None else "neither budget nor max_drop"
        raise InputError(OPERATION, both, "give one, for example budget=0.5 (half the highest cost) or max_drop=0.01")
    if given["evaluate"] is None and (max_drop is not None or _by_metric(sensitivity)):
        what = "max_drop" if max_drop is not None else "sensitivity='evaluate'"
        raise InputError(OPERATION, f"{what} without evaluate", "pass evaluate=your_function")
    if max_drop is not None and not (is_number(max_drop) and max_drop >= 0):
        raise InputError(OPERATION, f"max_drop={short(max_drop)}", "give how much of the metric may be lost, 0 or more")
    whole(OPERATION, "verify", given["verify"], 0)
    choice = {name: given[name] for name in ("candidates", "cost", "layers")}
    check(sim, **choice, sensitivity=sensitivity, cache=given["cache"], executor=given["executor"])
    if budget is not None and sim.calibrated:
        choices = Choices(sim, **choice)
        check_budget(budget, choices.lowest, choices.highest, OPERATION)


def _by_metric(sensitivity) -> bool:
    return isinstance(sensitivity, str) and sensitivity == "evaluate"


@method("mixed_precision", "Mixed precision", "precision", fits=_fits, auto=Auto(60, removes=(0.8, 0.8), passes=150))
def mixed_precision(
    sim: QuantSim,
    batches: Iterable,
    *,
    candidates: Iterable[str | Precision] | None = None,
    budget: float | None = None,
    max_drop: float | None = None,
    cost: str | Callable = "bops",
    sensitivity: str | pd.DataFrame = "fisher",
    evaluate: Callable | None = None,
    verify: int = 3,
    executor: Executor | None = None,
    cache: str | PathLike | None = None,
    layers: str | Iterable[str] | None = None,
    seed: int = 0,
    progress: Report | None = None,
) -> Found:
    """Choose each layer's bits: the best mix of all.

    One sensitivity pass predicts what each layer loses at each candidate; losses are taken to add up, as in HAWQ-V3
    (arXiv 2011.10680), which also solves an integer program. Here it is solved for a whole range of budgets, so that
    there is a Pareto front to choose from, whose points are then measured. Layers whose quantizers the target ties
    together get one candidate.

    Args:
        sim: a calibrated QuantSim of an integer precision; gets the chosen bits, its encodings those of the last
            calibration's statistics.
        batches: as the model takes them.
        candidates: precisions; None means those of W16A16, W8A16, W8A8, W4A16, W4A8 that the target runs.
        budget: take the least predicted loss that costs no more: in the cost's units, or up to 1 as a share of what
            the most expensive candidate costs in all layers.
        max_drop: take the cheapest point that loses no more than this of the metric (its units, against FP32): the
            upper end of the drop's 95 % interval where there is one. Found by bisection; needs ``evaluate``.
        cost: ``"bops"`` (multiply-accumulates times the bits of both factors), ``"weight_bytes"``, or a function: a
            DataFrame with columns ``layer, op, macs, weight_numel, weight_bits, activation_bits, input_bits`` -> one
            number per row.
        sensitivity: a method of `qnb.sensitivity`, or a DataFrame with columns ``layer, precision, score``.
        evaluate: ``evaluate(model) -> float`` or `qnb.Score`, to verify points with.
        verify: how many points at least are measured, spread over the front.
        executor: evaluates points in workers, see `qnb.measures.sensitivity.trials.evaluate_trials`.
        cache: path of a file that keeps sensitivities and scores; a search that was cancelled goes on from there.
        layers: a name, a glob or a list of them; the others keep their precision. None means all.
        seed: of sensitivities and evaluations.

    Returns:
        A `Result`; ``tables["front"]`` has columns `qnb.columns.FRONT`, ``tables["bits"]`` `qnb.columns.BITS`.

    Raises:
        InputError: both or neither of budget and max_drop, a budget below the lowest cost, a bad cost function.
        PrecisionError: candidates or layers that are not on integer grids.
        TargetError: a candidate that the target does not run.
        FileError: a cache that is damaged or another search's.
    """
    progress = MethodProgress.of(progress)
    choices = Choices(sim, candidates, cost, layers)
    if budget is not None:
        budget = check_budget(budget, choices.lowest, choices.highest, OPERATION)
    front = solved(choices, batches, sensitivity, evaluate, executor, cache, seed, progress)
    measure = lambda points: front.verify(points, evaluate, executor=executor, progress=progress)  # noqa: E731
    if budget is not None:
        chosen = front.within(budget)
        if evaluate is not None and verify:
            measure([chosen, *_spread(front, verify - 1, chosen)])
    else:
        chosen = cheapest_within(front, max_drop, measure, verify)
    front.apply(sim, chosen)
    bits = front.bits()
    return Found(
        bits[bits.point == chosen].drop(columns="point"),
        notes=tuple(_notes(front, chosen, max_drop)),
        tables={"front": front.table(chosen), "bits": bits},
    )


def _spread(front: PrecisionFront, number_of: int, *without: int) -> list[int]:
    """So many points, evenly over the front, its ends first."""
    others = [i for i in range(len(front)) if i not in without]
    return [others[i] for i in dict.fromkeys(np.linspace(0, len(others) - 1, min(number_of, len(others))).astype(int))]


def within(front: PrecisionFront, point: int, max_drop: float) -> bool:
    """Whether a measured point is certain to lose no more."""
    drop = front.drop(point)
    return (drop.high if drop.high == drop.high else drop.value) <= max_drop


def cheapest_within(front: PrecisionFront, max_drop: float, measure: Callable[[list[int]], None], verify: int) -> int:
    """The cheapest point that loses no more than this: some of the front are measured, then it is bisected.

    Where not even the last, of the least predicted loss, is good enough, that one.
    """
    measure([*_spread(front, max(verify, 2)), len(front) - 1])
    good = [i for i in front.scores if within(front, i, max_drop)]
    if not good:
        return len(front) - 1
    high = min(good)
    low = max((i for i in front.scores if i < high), default=-1)
    while high - low > 1:
        middle = (low + high) // 2
        measure([middle])
        low, high = (low, middle) if within(front, middle, max_drop) else (middle, high)
    return high


def _notes(front: PrecisionFront, chosen: int, max_drop: float | None):
    point, choices = front.points[chosen], front.choices
    yield (
        f"Point {chosen} of 0 to {len(front) - 1}: {_amount(choices.cost, point.cost)}, "
        f"{point.cost / choices.highest:.0%} of the most expensive mix; "
        f"predicted loss {number(point.loss)}."
    )
    if chosen in front.scores and front.reference is not None:
        drop = front.drop(chosen)
        interval = f" (95 % interval {drop.low:.2g} to {drop.high:.2g})" if drop.low == drop.low else ""
        yield f"Its metric drops by {drop.value:.2g}{interval}."
        if max_drop is not None and not within(front, chosen, max_drop):
            yield f"No point is certain to lose at most {max_drop:.2g}; this one has the lowest predicted loss."
    if len(front.scores) > 1:
        yield front.order_text()
    elif not front.scores:
        yield "No point was measured: pass evaluate= to compare prediction and metric."
    free = {layer for group in choices.groups for layer in group.layers}
    if kept := [g.layer for g in choices.sim.groups if g.layer not in free]:
        yield f"{len(kept)} layers keep their precision: {', '.join(kept[:5])}{' ...' if len(kept) > 5 else ''}."


def _amount(cost: str, value: float) -> str:
    names = {"bops": "BOPs", "weight_bytes": "bytes of weights"}
    return f"{count(value)} {names.get(cost, cost)}"
