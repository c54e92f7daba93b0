"""What is wrong with the data: calibration samples, calibration methods, too few to evaluate."""

from __future__ import annotations

from functools import partial

import qnb
from tests.workflow.diagnosis.plants.plant import (
    Pixels,
    Planted,
    accuracy,
    digits,
    plant,
    planted,
    transformer,
)


@plant("few_samples_set_range", 10.0, 20.0, 60.0)
def few_samples_set_range(scale: float) -> Planted:
    """One picture is far too bright."""
    calibration = [x.clone() for x in qnb.demo.digits().calibration[:4]]
    calibration[1][5] *= scale
    return planted(digits(), "w8a8", "x", calibration=calibration)


@plant("beyond_calibration", 0.5, 0.3, 0.15)
def beyond_calibration(scale: float) -> Planted:
    """Calibration pictures are too dark."""
    return planted(digits(), "w8a8", "x", calibration=[x * scale for x in qnb.demo.digits().calibration[:4]])


@plant("few_calibration_samples", 4, 2, 1)
def few_calibration_samples(count: int) -> Planted:
    few = qnb.demo.digits().calibration[0][:count]
    return planted(Pixels(transformer()), "w8a8", "", calibration=[few, few])


@plant("clipped_by_rule", 98.0, 95.0, 90.0)
def clipped_by_rule(percentile: float) -> Planted:
    return planted(digits(), "w8a8", "", calibration_method="percentile", percentile=percentile)


@plant("noisy_metric", 60, 40, 20)
def noisy_metric(count: int) -> Planted:
    return planted(digits(), "w8a16", "", evaluate=partial(accuracy, count=count))
