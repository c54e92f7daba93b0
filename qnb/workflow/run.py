"""Run: the result of one step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from qnb.document import Document, Shown
from qnb.measures import Score
from qnb.measures.metrics.score import Drop
from qnb.methods import Result
from qnb.workflow.guidance.next_step import NextStep
from qnb.workflow.verdict import Verdict

CLIPPED = 0.001
"""Of a layer's values: more of them clipped in the evaluation are worth a word."""


@dataclass(frozen=True, repr=False)
class Run(Shown):
    """The result of ``Workflow.run``.

    Args:
        name: under which the workflow keeps it.
        precision: its name.
        score: the metric.
        drop: what is lost against FP32, None for FP32 itself.
        verdict: pass, fail, unclear (or reference), and why.
        comparison: per layer against FP32, `qnb.columns.COMPARISON`; None for FP32.
        cost: per layer, `qnb.columns.COST`.
        size_bytes: of weights, biases and tables.
        activation_bytes: the most that is alive at once, for one sample.
        sim: the calibrated QuantSim; None for FP32.
        output_sqnr_db: at the model's outputs, the lowest of several.
        float16: FP16 runs: per layer, what overflows or becomes zero.
        clipping: values beyond the range of each activation quantizer in a part of the evaluation,
            `qnb.columns.CLIPPING`; None without integer activations, and in files of an older qnb.
        recovery: what recovery methods did to it, a `qnb.methods.Result` each, in order.
        attempts: of the recipe "auto": what was tried and what each brought, `qnb.columns.ATTEMPTS`.
        settings: seed, versions, target, calibration method, data fingerprint: what reproduces the numbers.
        seconds: how long the step took.
        next_steps: what to do next, as it was when the step ended.
    """

    name: str
    precision: str
    score: Score
    verdict: Verdict
    cost: pd.DataFrame
    size_bytes: int
    activation_bytes: int = 0
    drop: Drop | None = None
    comparison: pd.DataFrame | None = None
    sim: Any = None
    output_sqnr_db: float = float("inf")
    float16: pd.DataFrame | None = None
    clipping: pd.DataFrame | None = None
    recovery: tuple[Result, ...] = ()
    attempts: pd.DataFrame | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    next_steps: tuple[NextStep, ...] = ()

    @property
    def weakest_layer(self) -> tuple[str, float] | None:
        """The layer that itself loses most, and its own SQNR in dB."""
        if self.comparison is None or self.comparison.empty:
            return None
        own = self.comparison.set_index("layer").own_sqnr_db
        return str(own.idxmin()), float(own.min())

    @property
    def overflowing(self) -> list[str]:
        """FP16 runs: layers with values beyond 65,504."""
        return [] if self.float16 is None else list(self.float16[self.float16.overflow_fraction > 0].layer)

    @property
    def underflowing(self) -> list[str]:
        """FP16 runs: layers of whose values more than 1 % become zero."""
        return [] if self.float16 is None else list(self.float16[self.float16.underflow_fraction > 0.01].layer)

    @property
    def clipped(self) -> dict[str, float]:
        """Layers of whose values the evaluation clipped more than 0.1 %, the most first, and the share."""
        if self.clipping is None:
            return {}
        most = self.clipping.groupby("layer", sort=False).clipped_fraction.max()
        return most[most > CLIPPED].sort_values(ascending=False, kind="stable").to_dict()

    def document(self) -> Document:
        from qnb.workflow.documents import workflow as documents

        return documents.run(self)
