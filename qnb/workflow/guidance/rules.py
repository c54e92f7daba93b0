"""The rules of a diagnosis: a run's numbers in, what stands out and what to do about it.

They are those of AIMET's guide: which half, weights or activations; outliers; saturation; where the error begins.
Each rule gives ``(cause, evidence, remedy, code)``, or None where there is nothing to say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from qnb.errors import InputError
from qnb.measures import weight_channels
from qnb.measures.layers.error import beyond
from qnb.measures.layers.error_sources import outlier_ratio
from qnb.methods import check_order
from qnb.text import decibel, percent
from qnb.workflow.guidance.next_step import calibration_argument, recover_code, run_code

if TYPE_CHECKING:
    from qnb.workflow.run import Run
    from qnb.workflow.workflow import Workflow

APART_DB = 3.0
"""Weights, or activations, are the cause where they alone are this much worse than the other half."""
OUTLIER = 8.0
"""A channel this many times the median one is an outlier: it leaves few steps to the others."""
SATURATED = 0.005
"""Share of a layer's values beyond its range from which on the layer saturates."""
FALLS_DB = 6.0
"""The error begins at the first layer that is this much worse than all before it."""

TRAIN = "train with the quantizers in place"

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

    @property
    def rule(self) -> str:
        """The run's own calibration method."""
        return self.run.settings.get("calibration_method") or self.flow.calibration_method

    def recover(self, *methods: str) -> str:
        return recover_code(self.flow.variable, self.run.name, methods)

    def may(self, method: str) -> bool:
        """Whether a method may follow those that the run has had."""
        try:
            check_order([*self.run.sim.applied_methods, method], "flow.diagnose")
        except InputError:
            return False
        return True

    def remedy(self, layer: str, *ways: tuple[str, str]) -> tuple[str, str]:
        """The first (remedy, method) that may follow, as (remedy, code); else to look at the layer."""
        found = next(((remedy, self.recover(method)) for remedy, method in ways if self.may(method)), None)
        return found or ("look at the layer's values", self.look(layer))

    def look(self, layer: str) -> str:
        return f"{self.flow.variable}.layer({self.run.name!r}, {layer!r})"

    def again(self, method: str | None = None, by_layer: Mapping[str, str] | None = None) -> str:
        """The run's own call with another calibration method: for all layers, or for some."""
        kept, usual = self.run.settings, self.flow.calibration_method
        methods = kept.get("calibration_methods", {}) if by_layer is None else by_layer
        arguments = {"layers": kept["layers"]} if kept.get("layers") else {}
        arguments |= calibration_argument(method or self.rule, methods, usual)
        arguments |= {} if method else kept.get("options", {})
        return run_code(self.flow.variable, {"precision": self.run.precision, **arguments})


def findings(flow: Workflow, run: Run, halves_db: dict[str, float], outliers: pd.DataFrame) -> list[Said]:
    """What the rules say of a run, in their order."""
    case = Case(flow, run, halves_db, outliers)
    return [said for rule in RULES if (said := rule(case)) is not None]


def _half(case: Case) -> Said | None:
    """Weights or activations?"""
    weights, activations = case.halves_db["weight"], case.halves_db["activation"]
    evidence = f"weights alone leave {decibel(weights)} at the output, activations alone {decibel(activations)}"
    worst = case.run.weakest_layer[0]
    if weights < activations - APART_DB:
        way = case.remedy(worst, ("choose how each is rounded", "adaround"), (TRAIN, "train"))
        return "The weights are sensitive", evidence, *way
    if activations < weights - APART_DB:
        way = "ranges by least squared error", case.again(method="mse")
        if case.rule == "mse" or case.run.recovery:  # that was done, or would undo what was
            way = case.remedy(worst, ("more bits for sensitive layers", "mixed_precision"), (TRAIN, "train"))
        return "The activations are sensitive", evidence, *way  # pyright: ignore[reportReturnType]
    if min(weights, activations) == float("inf"):
        return None
    return "Weights and activations cost alike", evidence, "try recovery methods, cheapest first", case.recover("auto")


def _weight_outliers(case: Case) -> Said | None:
    """One scale for a weight whose channels differ."""
    sim, found = case.run.sim, {}
    for layer, (key, *_) in sim.plan.weights_of.items():
        quantizer = sim.weight(key)
        if quantizer.active and quantizer.scale is not None and quantizer.scale.numel() == 1:
            extent = weight_channels(sim, layer)[["min", "max"]].abs().max(axis=1)
            ratio = outlier_ratio(torch.tensor(extent.to_numpy()))
            if ratio >= OUTLIER:  # NaN is not
                found[layer] = ratio
    layer = max(found, key=found.__getitem__, default=None)
    if layer is None:
        return None
    evidence = f"one scale serves all its channels, and the largest range is {found[layer]:.0f} times the median one"
    return (
        f"Weight channels of different ranges in {layer!r}",
        evidence,
        *case.remedy(layer, ("move ranges to the next layer", "equalize")),
    )


def _activation_outliers(case: Case) -> Said | None:
    found = case.outliers.dropna()
    if found.empty or found.outlier_ratio.max() < OUTLIER:
        return None
    layer, ratio = found.loc[found.outlier_ratio.idxmax()]
    evidence = f"its largest channel reaches {ratio:.0f} times the median one"
    normed = any("_norm" in group.op for group in case.run.sim.groups)
    way = ("move the outliers into the weights", "smooth") if normed else ("equalize the channels", "equalize")
    return f"Outlier channels in {layer!r}", evidence, *case.remedy(layer, way)


def _few_layers(case: Case) -> Said | None:
    """A few layers that lose far more than the rest: more bits there cost little."""
    own = case.layers.set_index("layer").own_sqnr_db
    own = own[own < float("inf")]
    low = own[own < own.median() - 2 * FALLS_DB].nsmallest(3)
    if low.empty:
        return None
    named = ", ".join(f"{layer} {decibel(db)}" for layer, db in low.items())
    evidence = f"on their own: {named}; the median layer has {decibel(own.median())}"
    way = case.remedy(low.index[0], ("more bits for sensitive layers", "mixed_precision"))
    return "A few layers have far more error than the rest", evidence, *way


def _begins(case: Case) -> Said | None:
    """The first layer that is clearly worse than everything before it."""
    before = case.layers.sqnr_db.cummin().shift(fill_value=float("inf"))
    rows = case.layers[(before - case.layers.sqnr_db > FALLS_DB) & (before < float("inf"))]
    if rows.empty:
        return None
    row = rows.iloc[0]
    own = f"on its own {decibel(row.own_sqnr_db)}"
    evidence = f"{decibel(before[row.name])} before it, {decibel(row.sqnr_db)} after, {own}"
    return f"The error begins at {row.layer!r}", evidence, "look at the layer's values", case.look(row.layer)


def _saturated(case: Case) -> Said | None:
    """Values beyond a range, and why the range does not hold them."""
    row = case.layers.loc[case.layers.saturated_fraction.idxmax()]
    if row.saturated_fraction < SATURATED:
        return None
    what = f"{row.layer!r} saturates"
    evidence = f"{percent(row.saturated_fraction)} of QuantSim's values lie beyond its range"
    quantizer = next(case.run.sim.activation(g.key) for g in case.run.sim.groups if g.layer == row.layer)
    rule = quantizer.rule[0] if quantizer.rule else None
    trained = any(result.method == "train" for result in case.run.recovery)
    if quantizer.fixed is not None:
        evidence += f", which {case.flow.target.name} fixes at {quantizer.fixed[0]:g} to {quantizer.fixed[1]:g}"
    elif trained:
        evidence += ", which training moved"
    elif rule not in (None, "minmax"):
        methods = {k: v for k, v in case.run.settings.get("calibration_methods", {}).items() if k != row.layer}
        again = " and recover the run again" if case.run.recovery else ""
        return (
            what,
            f"{evidence}, which {rule} chose smaller than the values seen in calibration",
            f"calibrate it by min-max, which clips nothing{again}",
            case.again(by_layer={**methods, row.layer: "minmax"}),
        )
    elif beyond(torch.tensor([row.fp32_min, row.fp32_max]), quantizer):
        evidence += f"; FP32 values reach from {row.fp32_min:.3g} to {row.fp32_max:.3g}, which calibration did not see"
        return what, evidence, "calibrate with data like this; look at the layer's values", case.look(row.layer)
    else:
        evidence += "; FP32 values lie within it, so the error of earlier layers pushes them out"
    return what, evidence, "look at the layer's values", case.look(row.layer)


RULES: tuple[Callable[[Case], Said | None], ...] = (
    _half,
    _weight_outliers,
    _activation_outliers,
    _few_layers,
    _begins,
    _saturated,
)
