"""The rules of a diagnosis: a run's numbers in, what stands out and what to do about it.

They are those of AIMET's guide: which half, weights or activations; outliers; saturation; where the error begins.
Each rule gives ``(what, evidence, technique, code)``, or None where there is nothing to say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from qnb.html import decibel
from qnb.measures import weight_channels
from qnb.workflow.advice import recover_code, run_code

APART_DB = 3.0
"""One half is to blame where it alone is so much worse than the other."""
OUTLIER = 8.0
"""A channel so many times the median one takes the steps from the others."""
SATURATED = 0.005
"""Share of a layer's values beyond its range that is worth a look."""
FALLS_DB = 6.0
"""The error appears at the first layer that is so much worse than all before it."""

Said = tuple[str, str, str, str]


@dataclass(frozen=True)
class Case:
    """One run and what was measured for its diagnosis."""

    flow: Any
    run: Any
    halves_db: dict[str, float]
    outliers: pd.DataFrame

    @property
    def layers(self) -> pd.DataFrame:
        return self.run.comparison

    def recover(self, *methods: str) -> str:
        return recover_code(self.flow.variable, self.run.name, methods)

    def again(self, **arguments) -> str:
        """The run's own call with other arguments."""
        kept = {k: v for k, v in self.run.settings.items() if k in ("layers", "methods") and v}
        return run_code(self.flow.variable, {"precision": self.run.precision, **kept, **arguments})


def findings(flow, run, halves_db: dict[str, float], outliers: pd.DataFrame) -> list[Said]:
    """What the rules say of a run, in their order."""
    case = Case(flow, run, halves_db, outliers)
    return [said for rule in RULES if (said := rule(case)) is not None]


def _half(case: Case) -> Said | None:
    """Weights or activations?"""
    weights, activations = case.halves_db["weight"], case.halves_db["activation"]
    evidence = f"weights alone leave {decibel(weights)} at the output, activations alone {decibel(activations)}"
    if weights < activations - APART_DB:
        return "The weights are sensitive", evidence, "choose how each is rounded", case.recover("adaround")
    if activations < weights - APART_DB:
        return "The activations are sensitive", evidence, "ranges by least squared error", case.again(method="mse")
    if min(weights, activations) == float("inf"):
        return None
    return "Weights and activations cost alike", evidence, "techniques in rising effort", case.recover("auto")


def _weight_outliers(case: Case) -> Said | None:
    """One scale for a weight whose channels differ."""
    sim, found = case.run.sim, {}
    for layer, (key, *_) in sim.plan.weights_of.items():
        quantizer = sim.weight(key)
        if quantizer.active and quantizer.scale is not None and quantizer.scale.numel() == 1:
            extent = weight_channels(sim, layer)[["min", "max"]].abs().max(axis=1)
            found[layer] = float(extent.max() / max(extent.median(), 1e-12))
    layer = max(found, key=found.get, default=None)
    if layer is None or found[layer] < OUTLIER:
        return None
    evidence = f"one scale serves all its channels, and the largest range is {found[layer]:.0f} times the median one"
    return f"Unlike channels in {layer!r}", evidence, "move ranges to the next layer", case.recover("equalize")


def _activation_outliers(case: Case) -> Said | None:
    found = case.outliers.dropna()
    if found.empty or found.outlier_ratio.max() < OUTLIER:
        return None
    layer, ratio = found.loc[found.outlier_ratio.idxmax()]
    evidence = f"its largest channel reaches {ratio:.0f} times the median one"
    normed = any("_norm" in group.op for group in case.run.sim.groups)
    technique = "move them into the weights" if normed else "level the channels"
    code = case.recover("smooth" if normed else "equalize")
    return f"Outlier channels in {layer!r}", evidence, technique, code


def _few_layers(case: Case) -> Said | None:
    """A few layers that lose far more than the rest: more bits there cost little."""
    own = case.layers.set_index("layer").own_sqnr_db
    own = own[own < float("inf")]
    low = own[own < own.median() - 2 * FALLS_DB].nsmallest(3)
    if low.empty:
        return None
    named = ", ".join(f"{layer} {decibel(db)}" for layer, db in low.items())
    evidence = f"on their own: {named}; the median layer has {decibel(own.median())}"
    code = case.recover("search_mixed_precision")
    return "A few layers lose far more than the rest", evidence, "more bits where they count", code


def _begins(case: Case) -> Said | None:
    """The first layer that is clearly worse than everything before it."""
    before = case.layers.sqnr_db.cummin().shift(fill_value=float("inf"))
    rows = case.layers[(before - case.layers.sqnr_db > FALLS_DB) & (before < float("inf"))]
    if rows.empty:
        return None
    row = rows.iloc[0]
    own = f"its own {decibel(row.own_sqnr_db)}"
    evidence = f"{decibel(before[row.name])} before it, {decibel(row.sqnr_db)} after, {own}"
    code = f"{case.flow.variable}.layer({case.run.name!r}, {row.layer!r})"
    return f"The error appears at {row.layer!r}", evidence, "look at its values", code


def _saturated(case: Case) -> Said | None:
    row = case.layers.loc[case.layers.saturated_fraction.idxmax()]
    if row.saturated_fraction < SATURATED:
        return None
    evidence = f"{100 * row.saturated_fraction:.2g} % of its values lie beyond its range"
    return f"{row.layer!r} saturates", evidence, "give it the whole range", case.again(methods={row.layer: "minmax"})


RULES: tuple[Callable[[Case], Said | None], ...] = (
    _half, _weight_outliers, _activation_outliers, _few_layers, _begins, _saturated,
)  # fmt: skip
