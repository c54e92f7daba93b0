"""What the recipe "auto" may do next, with what each should bring and take: estimated from what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from qnb.methods import METHODS, auto_order
from qnb.methods.auto import Auto
from qnb.targets import runs as target_runs
from qnb.text import decibel, listed, percent
from qnb.workflow.diagnosis.remedy import gain_db
from qnb.workflow.precisions import bits, nameable

if TYPE_CHECKING:
    from qnb.measures.attribution.result import Attribution
    from qnb.sim.quantsim import QuantSim
    from qnb.workflow.diagnosis.proof import Proven
    from qnb.workflow.run import Run

WIDEN, MIX, TRAIN = "widen", "mixed_precision", "train"
QUICK = 60.0
"""Passes over the data that a quick method takes at most."""
CULPRITS, MOST_OF_IT = 8, 0.7
"""So many layers at most get more bits, those that make this share of the activations' error."""
WIDE_PASSES = 4.0
LAST = 4
"""Tier of training."""


@dataclass(frozen=True)
class Blame:
    """Shares of the output's error, each 0 to 1.

    Args:
        weights, activations: of all layers together.
        culprits: layers whose outputs make most of the activations' error, the most first; and their share.
    """

    weights: float
    activations: float
    culprits: tuple[str, ...] = ()
    of_culprits: float = 0.0

    @classmethod
    def of(cls, found: Attribution) -> Blame:
        """From an attribution; half and half where it does not explain the error."""
        table = found.table.set_index("layer")
        weights = float((table.weight_share + table.bias_share).sum())
        outputs = table.activation_share.clip(lower=0).sort_values(ascending=False)
        activations = float(table.activation_share.sum())
        total = weights + activations
        if not 0.5 <= total <= 1.5:  # NaN is not
            return cls(0.5, 0.5)
        named, share = [], 0.0
        for layer, value in outputs.items():
            if len(named) == CULPRITS or share >= MOST_OF_IT * outputs.sum() or table.op[layer] == "input":
                break
            named.append(str(layer))
            share += float(value)
        return cls(_part(weights), _part(activations), tuple(named), _part(share))

    def __str__(self) -> str:
        return f"weights make {percent(self.weights)} of the output's error, activations {percent(self.activations)}"


@dataclass(frozen=True)
class Candidate:
    """A method that may be next.

    Args:
        name, options: of the method.
        removes: the share of the output's noise that should go.
        passes: what it should cost, in forward passes over the calibration data.
        tier: what the diagnosis proved, quick ones, more bits for activations, slow ones, training.
        why: it was chosen.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    removes: float = 0.0
    passes: float = 1.0
    tier: int = 1
    why: str = ""

    @property
    def key(self) -> str:
        """Alike for candidates that do the same."""
        return f"{self.name} {sorted(self.options.items())}"

    @property
    def predicted_gain_db(self) -> float:
        return gain_db(self.removes)


def candidates(run: Run, blame: Blame, without: Iterable[str], cheaper: bool) -> list[Candidate]:
    """All that suits a run's sim, the best gain per second first among equals in tier.

    Args:
        without: names of methods that are not wanted.
        cheaper: whether the model must not become larger.
    """
    sim, found = run.sim, []
    for name in dict.fromkeys(auto_order(sim, without)):
        row = METHODS[name].auto or Auto(0.0)
        removes = row.removes[0] * blame.weights + row.removes[1] * blame.activations
        tier = LAST if name == TRAIN else 1 if row.passes <= QUICK else 3
        options = same_size(run) if name == MIX and cheaper else {}
        if options is None:
            continue
        found.append(Candidate(name, options, removes, row.passes, tier, str(blame)))
    if blame.culprits and _may_widen(run, sim):
        why = (
            f"{listed(list(blame.culprits))} make {percent(blame.of_culprits)} of the output's error by their rounding"
        )
        found.append(Candidate(WIDEN, {"layers": list(blame.culprits)}, blame.of_culprits, WIDE_PASSES, 2, why))
    return sorted(found, key=lambda c: (c.tier, -c.predicted_gain_db / c.passes))


def proven(found: Iterable[Proven]) -> list[Candidate]:
    """What the diagnosis measured to help, the largest gain first; remedies that are no recovery method left out."""
    made = []
    for one in found:
        if one.remedy is None or one.remedy.method is None:
            continue
        name, options = one.remedy.method
        passes = (METHODS[name].auto or Auto(WIDE_PASSES)).passes
        why = f"the diagnosis measured {decibel(one.gain_db)}: {one.suspicion.says}"
        made.append(Candidate(name, options, 1 - 10 ** (-one.gain_db / 10), passes, 0, why))
    return made


def same_size(run: Run) -> dict[str, Any] | None:
    """Options of mixed precision that leave weights their bits; None where the target has no such mix."""
    if not nameable(run.precision):
        return None
    weights, activations = bits(run.precision)
    wide = f"w{weights}a16"
    fits = activations < 16 and target_runs(run.sim.target, wide)
    return {"candidates": [wide, run.precision]} if fits else None


def _may_widen(run: Run, sim: QuantSim) -> bool:
    if not nameable(run.precision):
        return False
    weights, activations = bits(run.precision)
    return activations < 16 and target_runs(sim.target, f"w{weights}a16")


def _part(share: float) -> float:
    return min(1.0, max(0.0, share))
