"""Tries remedies on copies of a run's simulation, and measures what each brings at the model's outputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qnb.errors import Cancelled, QnbError
from qnb.measures.layers.output_parts import OutputNoise, difference_db, sqnr_db
from qnb.measures.metrics.evaluation import score_of
from qnb.progress import Report
from qnb.workflow.diagnosis.cause import DATA, GENERAL, Cause, Suspicion
from qnb.workflow.diagnosis.finding import Finding
from qnb.workflow.diagnosis.remedy import Remedy

if TYPE_CHECKING:
    from qnb.workflow.diagnosis.case import Case

LEAST_GAIN_DB = 1.0
"""A remedy that brings less is not worth a word: a fifth of the noise."""
MOST = 8
"""So many suspicions are followed up, those with the largest predicted gain."""
MUCH_DB = 0.5
"""An earlier remedy of a suspicion is kept unless a later one brings so much more."""


@dataclass(frozen=True)
class Proven:
    """A suspicion with the remedy that was chosen; ``gain_db`` is NaN where none was tried."""

    cause: Cause
    suspicion: Suspicion
    remedy: Remedy | None = None
    gain_db: float = math.nan
    metric: float | None = None


class Proof:
    """Args:
    case: the run.
    noise: at its outputs, on the case's batches.
    """

    def __init__(self, case: Case, noise: OutputNoise, report: Report):
        self.case, self.report = case, report
        self.noise = noise
        self.trials = 0
        self.known: dict[str, float | None] = {}

    def of(self, suspected: Sequence[tuple[Cause, Suspicion]], measure: bool = False) -> list[Proven]:
        """What is left of suspicions when their remedies were tried, the most telling first."""
        ranked = sorted(suspected, key=lambda pair: (pair[0].kind, -_promise(pair[1])))
        tried: list[Proven] = []
        for cause, found in [pair for pair in ranked if pair[1].ways][:MOST]:
            if cause.kind == GENERAL and any(p.gain_db >= LEAST_GAIN_DB for p in tried):
                break
            best = self._best(cause, found)
            if best is not None and (best.gain_db >= LEAST_GAIN_DB or found.certain):
                tried.append(best)
        kept = _one_per_place(tried)
        if measure:
            kept = [self._with_metric(p) for p in kept]
        told = [Proven(cause, found) for cause, found in suspected if not found.ways and found.certain]
        return sorted([*kept, *told], key=lambda p: p.cause.kind == GENERAL)

    def _best(self, cause: Cause, found: Suspicion) -> Proven | None:
        """The first remedy that brings about as much as any; after one that brings what any should, none is tried."""
        results: list[Proven] = []
        enough = _promise(found) - MUCH_DB if self.case.explained else math.inf
        for remedy in found.ways:
            gain = self.gain_db(remedy)
            if gain is not None:
                results.append(Proven(cause, found, remedy, gain))
                if gain >= max(enough, LEAST_GAIN_DB):
                    break
        if not results:
            return None
        most = max(result.gain_db for result in results)
        return next(result for result in results if result.gain_db >= most - MUCH_DB)

    def gain_db(self, remedy: Remedy) -> float | None:
        """What a remedy brings at the outputs; None where it cannot be applied to this model.

        Two causes may have one remedy, which is tried once.
        """
        if remedy.run is None or remedy.judged_on is not None:
            return self._tried(remedy)
        if remedy.code not in self.known:
            self.known[remedy.code] = self._tried(remedy)
        return self.known[remedy.code]

    def _tried(self, remedy: Remedy) -> float | None:
        self.trials += 1
        self.report(self.trials, None, f"trying: {remedy.title}")
        sim = self.case.sim.copy()
        try:
            remedy.apply(sim)
        except Cancelled:
            raise
        except QnbError:
            return None
        if remedy.judged_on is not None:
            noise = OutputNoise(self.case.sim, remedy.judged_on)
            gain = difference_db(sqnr_db(noise(sim)), sqnr_db(noise(self.case.sim)))
        else:
            gain = difference_db(sqnr_db(self.noise(sim, self.report)), self.case.output_sqnr_db)
        sim.drop_cache()
        return gain

    def _with_metric(self, proven: Proven) -> Proven:
        if proven.remedy is None:
            return proven
        sim, flow = self.case.sim.copy(), self.case.flow
        proven.remedy.apply(sim)
        tick: Callable[[int], None] = lambda done: self.report(done, flow.evaluation_forwards, "evaluating")  # noqa: E731
        score = score_of(flow.evaluate, sim, self.case.run.name, tick, flow.seed)
        return Proven(proven.cause, proven.suspicion, proven.remedy, proven.gain_db, score.value)


def finding(proven: Proven) -> Finding:
    """What is told of a suspicion that proved true."""
    found, remedy = proven.suspicion, proven.remedy
    if remedy is None:
        return Finding(found.says, found.layers, found.evidence, found.to_do, found.to_do_code, name=proven.cause.name)
    return Finding(
        found.says,
        found.layers,
        found.evidence,
        remedy.title,
        remedy.code,
        remedy.predicted_gain_db,
        proven.gain_db,
        proven.cause.name,
        proven.metric,
        remedy.run,
        remedy.recover,
    )


def _promise(found: Suspicion) -> float:
    return max(remedy.predicted_gain_db for remedy in found.ways) if found.ways else 0.0


def _one_per_place(tried: Iterable[Proven]) -> list[Proven]:
    """Ranked: what the data causes first, then by gain; of several causes at one place the first."""
    ranked = sorted(tried, key=lambda p: (p.cause.kind != DATA, -p.gain_db))
    kept: list[Proven] = []
    for proven in ranked:
        places = set(proven.suspicion.layers)
        if not any(places & set(other.suspicion.layers) for other in kept):
            kept.append(proven)
    return kept
