"""Choices of candidates, measured at the model's outputs; the best so far is kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from qnb.measures.layers.output_parts import OutputNoise, sqnr_db

if TYPE_CHECKING:
    from qnb.methods.calibration.candidates import Candidates
    from qnb.methods.reporting.progress import MethodProgress
    from qnb.sim.quantsim import QuantSim

LEAST_GAIN = 0.03
"""Share of the noise that a choice must take away, and be predicted to. Every choice draws all rounding errors behind
it anew, which moves the noise by a few percent up or down; so it must fall in each batch, too."""
MOST = 10
"""Tensors that gain less than a part of that by so many are not moved."""
PASSES = 24
"""Forward passes over the batches at most, the one of FP32 included."""


class Measured:
    """Tries choices: key -> number of a candidate.

    Args:
        sim: not changed.
        noises: one for each batch.

    ``best`` is the choice with the least noise, ``noise`` its noise-to-signal ratio by batch, mean over parts;
    ``passes`` counts forward passes over all batches.
    """

    def __init__(self, sim: QuantSim, noises: list[OutputNoise], candidates: Candidates, progress: MethodProgress):
        self.trial, self.noises, self.candidates, self.progress = sim.copy(), noises, candidates, progress
        self.best: dict[str, int] = dict.fromkeys(candidates.keys, 0)
        self.passes = noises[0].passes
        self.first = self.noise = self._ratios(self.best, self.best)
        self.gain_db: dict[str, float] = {}
        self.together: dict[str, int] = {}

    @property
    def left(self) -> int:
        return PASSES - self.passes

    def attempt(self, changes: Mapping[str, int], tried: str, predicted: float = float("nan")) -> bool:
        """Measure the best choice with these changes, and keep them if the noise falls in all batches."""
        changes = {k: n for k, n in changes.items() if not self._same(k, n)}
        if not changes or not self.left:
            return False
        choice = {**self.best, **changes}
        ratios = self._ratios(choice, changes)
        kept = bool((ratios < self.noise).all() and ratios.mean() < (1 - LEAST_GAIN) * self.noise.mean())
        before, after = sqnr_db(self.noise), sqnr_db(ratios)
        self.progress.row(
            step=self.passes, tried=tried, tensors=len(changes), predicted_gain_db=predicted, sqnr_db=after, kept=kept
        )
        if kept:
            self.best, self.noise = choice, ratios
            self.gain_db |= dict.fromkeys(changes, after - before)
            self.together |= dict.fromkeys(changes, len(changes))
        else:
            self.candidates.put(self.trial, {key: self.best[key] for key in changes})
        return kept

    def named(self, changes: Iterable[str]) -> str:
        """Quantizers as the history calls them."""
        first, *more = (self.trial.plan.activations[key].layer for key in changes)
        return f"{first} and {len(more)} more" if more else first

    def _same(self, key: str, number: int) -> bool:
        """Whether this candidate gives the encoding that the best choice has."""
        alike = self.candidates.alike[key]
        return alike[number] == alike[self.best[key]]

    def _ratios(self, choice: Mapping[str, int], changes: Mapping[str, int]) -> np.ndarray:
        self.progress(self.passes, PASSES, "measuring choices of ranges")
        self.candidates.put(self.trial, changes)
        self.passes += 1
        return np.array([noise(self.trial).mean() for noise in self.noises])


def search(measured: Measured, noise: Mapping[str, np.ndarray]) -> None:
    """Let tensors change to the candidate that is predicted to add least noise, those that gain most first.

    All that gain are tried at once; where that does not help, either half, and so on, while there are passes left.
    """
    present = float(measured.noise.mean())
    moves = []
    for key, by_number in noise.items():
        number, now = int(by_number.argmin()), measured.best[key]
        gain = float(by_number[now] - by_number[number])
        if gain > LEAST_GAIN / MOST * present:
            moves.append((gain, key, number))
    moves.sort(key=lambda move: -move[0])

    def go(some: Iterable[tuple[float, str, int]]) -> None:
        some = list(some)
        changes, gain = {key: number for _, key, number in some}, sum(gain for gain, *_ in some)
        if not measured.left or gain < LEAST_GAIN * present:
            return
        if not measured.attempt(changes, measured.named(changes), gain_db(present, -gain)) and len(some) > 1:
            half = (len(some) + 1) // 2
            go(some[:half])
            go(some[half:])

    go(moves)


def gain_db(present: float, change: float) -> float:
    """Gain in dB where a noise-to-signal ratio changes by so much; 0 where there is none, or no finite one.

    >>> round(gain_db(0.2, -0.1), 2), gain_db(float("inf"), 0.0)
    (3.01, 0.0)
    """
    if not 0 < present < np.inf:
        return 0.0
    return float(-10 * np.log10(max(present + change, present * 1e-3) / present))
