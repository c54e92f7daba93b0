"""Cost against predicted loss over all mixes of precisions, and what the metric says of some of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from qnb.columns import BITS, FRONT
from qnb.errors import InputError
from qnb.graph.batches import reiterable
from qnb.measures.metrics.score import Drop, Score, paired_drop
from qnb.measures.sensitivity.trials import Trial, evaluate_trials
from qnb.methods.precision.cache import SearchCache, fingerprint
from qnb.methods.precision.candidates import apply_choice, layer_order
from qnb.methods.precision.choices import OPERATION, Choices
from qnb.methods.precision.costs import OptionBits
from qnb.methods.precision.front import Point, pareto_front
from qnb.methods.precision.predicted_loss import given_losses, measured_losses
from qnb.numerics import Precision
from qnb.progress import Report

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from os import PathLike

    from qnb.sim.quantsim import QuantSim


def precision_front(
    sim: QuantSim,
    batches: Iterable,
    *,
    candidates: Iterable[str | Precision] | None = None,
    cost: str | Callable = "bops",
    sensitivity: str | pd.DataFrame = "fisher",
    evaluate: Callable | None = None,
    executor: Executor | None = None,
    cache: str | PathLike | None = None,
    layers: str | Iterable[str] | None = None,
    seed: int = 0,
    progress: Report | None = None,
) -> PrecisionFront:
    """The whole front, without choosing: what `qnb.methods.mixed_precision` chooses from. The sim stays.

    Args: as there.

    >>> import torch, qnb
    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4)).eval()
    >>> sim = qnb.QuantSim(model, torch.randn(16, 8), "w8a8").calibrate([torch.randn(16, 8)])
    >>> front = precision_front(sim, [torch.randn(16, 8)])
    >>> front.table().cost.is_monotonic_increasing, front.table().predicted.is_monotonic_decreasing
    (True, True)
    """
    return solved(
        Choices(sim, candidates, cost, layers),
        reiterable(batches, OPERATION),
        sensitivity,
        evaluate,
        executor,
        cache,
        seed,
        progress or (lambda *_: None),
    )


def solved(
    choices: Choices,
    batches: Iterable,
    sensitivity: str | pd.DataFrame,
    evaluate: Callable | None,
    executor: Executor | None,
    cache: str | PathLike | None,
    seed: int,
    progress: Report,
) -> PrecisionFront:
    """The front of choices: sensitivities, then one exact program per budget."""
    sim, groups = choices.sim, choices.groups
    given = isinstance(sensitivity, pd.DataFrame)
    losses = given_losses(sim, groups, sensitivity, OPERATION) if given else None
    kept = SearchCache(
        cache,
        lambda: fingerprint(
            sim,
            batches,
            [repr(p) for p in choices.candidates],
            [g.layers for g in groups],
            seed,
            sensitivity.to_json() if given else sensitivity,
        ),
        OPERATION,
    )
    if losses is None:
        options = {"evaluate": evaluate, "loss": None, "executor": executor, "seed": seed}
        losses = measured_losses(
            sim.copy(),
            batches,
            groups,
            choices.candidates,
            kept.passes,
            estimator=sensitivity,
            options=options,
            keep=kept.save,
            progress=progress,
        )
    points = pareto_front(choices.with_losses(losses), tick=lambda done, total: progress(done, total, "solving"))
    return PrecisionFront(choices, points, kept, seed)


class PrecisionFront:
    """Points of rising cost and falling predicted loss; some of them measured.

    Args:
        choices: what the points are made of; their sim is only read.
        points: as `qnb.methods.precision.front.pareto_front` finds them.
        cache: where scores are kept.
        seed: of each evaluation.
    """

    def __init__(self, choices: Choices, points: list[Point], cache: SearchCache, seed: int = 0):
        self.choices, self.points, self.cache, self.seed = choices, points, cache, seed
        self.reference: Score | None = None
        self.scores: dict[int, Score] = {}
        self._drops: dict[int, Drop] = {}

    def __len__(self) -> int:
        return len(self.points)

    def verify(
        self,
        points: Iterable[int],
        evaluate: Callable,
        *,
        executor: Executor | None = None,
        progress: Report | None = None,
    ) -> None:
        """Measure points, and FP32, with the metric; what is known already is not measured again.

        Raises:
            InputError: no such point. EvaluateError: evaluate raised.
        """
        known, points, report = self.cache.of(evaluate), list(dict.fromkeys(points)), progress or (lambda *_: None)
        names = {-1: "fp32", **{i: self.name(i) for i in points}}
        missing = [i for i in names if names[i] not in known]
        each = [missing] if executor is not None and missing else [[i] for i in missing]
        scratch, done = self.choices.sim.copy(), 0
        for some in each:
            found = evaluate_trials(
                self.choices.sim,
                self._trials(some, scratch),
                evaluate,
                executor=executor,
                seed=self.seed,
                message="verifying",
                progress=lambda n, _, message, done=done: report(done + n, len(missing), message),
            )
            known |= dict(zip((names[i] for i in some), found, strict=True))
            self.cache.save()
            done += len(some)
        self.reference = known["fp32"]
        self.scores |= {i: known[names[i]] for i in points}

    def name(self, point: int) -> str:
        """What its score is kept under: the precision of each group."""
        options = zip(self.choices.groups, self._point(point).choice, strict=True)
        return " ".join(repr(group.options[i]) for group, i in options)

    def _trials(self, points: Sequence[int], scratch: QuantSim) -> list[Trial]:
        """Of points; -1 is FP32, all quantizers off."""
        sim, found = self.choices.sim, []
        for point in points:
            if point < 0:
                found.append(Trial.between(sim, sim.copy().disable(), "fp32"))
            else:
                self.apply(scratch, point)
                found.append(Trial.between(sim, scratch, f"point {point}"))
        return found

    def apply(self, sim: QuantSim, point: int) -> None:
        """Give a sim the precisions of a point; encodings follow from the statistics of its last calibration.

        Raises:
            InputError: no such point.
        """
        apply_choice(sim, self.choices.groups, self._point(point).choice)

    def _point(self, number: int) -> Point:
        if number not in range(len(self)):
            raise InputError(OPERATION, f"point {number!r}", f"choose one of 0 to {len(self) - 1}; 0 is the cheapest")
        return self.points[number]

    def within(self, budget: float) -> int:
        """The last point, of the least predicted loss, that costs no more."""
        return max(i for i, p in enumerate(self.points) if p.cost <= budget * (1 + 1e-9))

    def drop(self, point: int) -> Drop:
        """How much worse than FP32 a measured point is: see `qnb.measures.paired_drop`; resampled once."""
        if point not in self._drops:
            self._drops[point] = paired_drop(self.reference, self.scores[point])
        return self._drops[point]

    def order(self) -> tuple[int, int, int]:
        """Pairs of measured points: (in the predicted order or equal, else within the metric's noise, beyond it)."""
        right = within = wrong = 0
        for cheap, dear in combinations(sorted(self.scores), 2):
            against = paired_drop(self.scores[cheap], self.scores[dear])
            if against.value <= 0:
                right += 1
            elif not against.low > 0:
                within += 1
            else:
                wrong += 1
        return right, within, wrong

    def order_text(self) -> str:
        """What `order` found, as a sentence."""
        right, within, wrong = self.order()
        return (
            f"The prediction ordered {right} of {right + within + wrong} pairs of measured points correctly; "
            f"{within} are reversed within the metric's noise, {wrong} beyond it."
        )

    def table(self, chosen: int | None = None) -> pd.DataFrame:
        """One row per point, columns `qnb.columns.FRONT`; ``attrs["cost"]`` names the cost."""
        rows = []
        for i, point in enumerate(self.points):
            measured = (np.nan,) * 4
            if i in self.scores:
                drop = self.drop(i)
                measured = drop.value, drop.low, drop.high, self.scores[i].value
            rows.append((i, point.cost, point.cost / self.choices.highest, point.loss, *measured, i == chosen))
        table = pd.DataFrame(rows, columns=list(FRONT))
        table.attrs["cost"] = self.choices.cost
        return table

    def bits(self, points: Iterable[int] | None = None) -> pd.DataFrame:
        """One row per layer (in graph order, inputs too) of each point, columns `qnb.columns.BITS`."""
        sim, groups = self.choices.sim, self.choices.groups
        bits, layers = OptionBits(sim, groups), layer_order(sim)
        own = {g.layer: g.key for g in sim.groups} | {s.layer: k for k, s in sim.plan.activations.items()}
        rows = []
        for i in range(len(self.points)) if points is None else points:
            choice = self.points[i].choice
            for layer in layers:
                weights = [bits.at(sim.weight(k), choice) for k in sim.plan.weights_of.get(layer, ())]
                rows.append((i, layer, max(weights, default=pd.NA), bits.at(sim.activation(own[layer]), choice)))
        frame = pd.DataFrame(rows, columns=list(BITS))
        return frame.astype({"weight_bits": "Int64", "activation_bits": "Int64"})
