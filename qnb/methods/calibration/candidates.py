"""Each activation quantizer's ranges by several calibration methods, all from one pass over the data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from qnb.numerics import Grid
from qnb.ranges import RULES, Histogram
from qnb.sim import calibration
from qnb.sim.quantizer_state import QuantizerState

if TYPE_CHECKING:
    from qnb.methods.reporting.progress import MethodProgress
    from qnb.sim.quantsim import QuantSim

PRESENT = 0
"""Number of the candidate that leaves a quantizer as it is."""
PERCENTILES = (99.9, 99.99, 99.999)


@dataclass(frozen=True)
class Option:
    """A calibration method with its options; `title` as tables show it."""

    rule: str
    options: Mapping[str, Any]

    @property
    def title(self) -> str:
        return " ".join([self.rule, *(f"{value:g}" for value in self.options.values())])


def options(rules: Iterable[str]) -> list[Option]:
    """Each rule with its defaults, percentile with `PERCENTILES`.

    >>> [option.title for option in options(["minmax", "percentile"])]
    ['minmax', 'percentile 99.9', 'percentile 99.99', 'percentile 99.999']
    """
    several = {"percentile": [{"percentile": p} for p in PERCENTILES]}
    return [Option(rule, given) for rule in dict.fromkeys(rules) for given in several.get(rule, [{}])]


def from_histogram(rule: str) -> bool:
    """Whether a rule's statistics are a histogram, or less."""
    statistics = RULES[rule].statistics
    return isinstance(statistics, type) and issubclass(Histogram, statistics)


def free_keys(sim: QuantSim, layers: Iterable[str] | str | None, operation: str) -> list[str]:
    """Activation quantizers of these layers (and all that is tied to them) that calibration gives a range to."""
    chosen = sim.output_keys(sim.named(layers, operation))
    return [
        key
        for key, site in sim.plan.activations.items()
        if key in chosen
        and site.fixed is None
        and (quantizer := sim.activation(key)).active
        and not quantizer.frozen
        and isinstance(quantizer.grid, Grid)
    ]


class Candidates:
    """Settings of activation quantizers by number: `PRESENT`, then one for each of ``options``.

    ``keys`` names those that saw values. ``states[number][key]`` is the quantizer's state, its statistics and rule
    included; ``alike[key][number]`` the lowest number with the same encoding.
    """

    def __init__(self, sim: QuantSim, keys: list[str], given: list[Option], batches: Iterable, report: MethodProgress):
        self.options = given
        twin = sim.copy()
        layers = sorted({site.layer for key, site in sim.plan.activations.items() if key in keys})
        twin.calibrate(batches, "percentile", report, layers=layers)  # the quickest of those with a histogram
        self.keys = [key for key in keys if (seen := twin.activation(key).statistics) is not None and seen.count]
        self.states = [{key: QuantizerState.of(sim.activation(key)) for key in self.keys}]
        for done, option in enumerate(given):
            report(done, len(given), "finding ranges")
            for key in self.keys:
                twin.activation(key).rule = (option.rule, dict(option.options))
            calibration.activation_encodings(twin, set(self.keys))
            self.states.append({key: QuantizerState.of(twin.activation(key)) for key in self.keys})
        self.alike = {key: self._alike(key) for key in self.keys}

    def _alike(self, key: str) -> list[int]:
        """Of each number the lowest with the same encoding."""
        states = [states[key] for states in self.states]
        return [next((i for i in range(n) if _equal(states[i], states[n])), n) for n in range(len(states))]

    def title(self, number: int) -> str:
        return "as it was" if number == PRESENT else self.options[number - 1].title

    def put(self, sim: QuantSim, choice: Mapping[str, int]) -> None:
        """Give a sim's quantizers these settings, and the weights the scales that their biases then need."""
        for key, number in choice.items():
            self.states[number][key].put(sim.activation(key), sim.device)
        reading = {site.weight_key for site in sim.plan.biases.values() if site.input_key in choice}
        calibration.restore_weight_ranges(sim, sim.plan.weights.keys() - reading)
        calibration.guard_bias_overflow(sim)


def _equal(one: QuantizerState, other: QuantizerState) -> bool:
    pairs = ((one.scale, other.scale), (one.zero_point, other.zero_point))
    return all(a is not None and b is not None and torch.equal(a, b) for a, b in pairs)
