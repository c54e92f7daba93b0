"""Nothing at one place: too few bits all over."""

from __future__ import annotations

from tests.workflow.diagnosis.plants.plant import (
    Pixels,
    Planted,
    digits,
    plant,
    planted,
    transformer,
)

CLEAR = 0.05
"""A tolerance that the metric can decide: else its noise is what a diagnosis names first."""


@plant("coarse_weights", 5, 4, 3)
def coarse_weights(bits: int) -> Planted:
    return planted(Pixels(transformer()), f"w{bits}a16", "", tolerance=CLEAR)


@plant("coarse_activations", 7, 6, 5)
def coarse_activations(bits: int) -> Planted:
    return planted(Pixels(transformer()), f"w16a{bits}", "", tolerance=CLEAR)


@plant("few_sensitive_layers", 4, 3, 2)
def few_sensitive_layers(bits: int) -> Planted:
    named = ("blocks.1.expand.conv", "blocks.3.project.conv", "head.conv")
    return planted(digits(), "w16a16", "", layers=dict.fromkeys(named, f"w{bits}a16"), tolerance=CLEAR)
