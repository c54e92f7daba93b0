"""Workflow: results by name, from the check of the model to the lowest precision that passes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

from torch import nn

from qnb import targets
from qnb.arguments import did_you_mean, whole
from qnb.document import Document, Shown
from qnb.errors import InputError
from qnb.graph import Captured, capture, reiterable
from qnb.graph.target_form import written_out
from qnb.randomness import Seeded
from qnb.ranges import RULES
from qnb.sharing import Once
from qnb.workflow import (
    calibration_curves,
    check,
    diff,
    profiles,
    results,
    samples,
    sequences,
    steps,
    summary,
    views,
    worst_samples,
)
from qnb.workflow.calibration_curves import RunCalibrationCurve
from qnb.workflow.check import Check
from qnb.workflow.deployment import steps as deployment
from qnb.workflow.deployment.performance import Performance
from qnb.workflow.deployment.result import Deployment
from qnb.workflow.diagnosis.diagnose import diagnose
from qnb.workflow.diagnosis.finding import Diagnosis
from qnb.workflow.documents import workflow as documents
from qnb.workflow.documents.display import SequenceView
from qnb.workflow.guidance import attributions, next_steps
from qnb.workflow.guidance.attributions import RunAttribution
from qnb.workflow.jobs import runner
from qnb.workflow.jobs.job import Job
from qnb.workflow.profiles import Profiles
from qnb.workflow.recovery import steps as recovery
from qnb.workflow.recovery.pareto_front import ParetoFront
from qnb.workflow.recovery.sensitivities import Sensitivity
from qnb.workflow.run import Run
from qnb.workflow.selection import Selection
from qnb.workflow.worst_samples import WorstSamples


class Workflow(Shown):
    """Takes a model step by step from FP32 to low precision, and keeps the results of each step.

    Args:
        model: an ``nn.Module`` in eval mode; it is never changed.
        calibration: re-iterable of batches as the model takes them, without labels (`qnb.inputs` drops those).
        evaluate: ``evaluate(model) -> float | qnb.Score``; called with modules that behave like the model.
        tolerance: how much of the metric may be lost, in the metric's own units.
        target: the device or runtime to simulate (`qnb.targets.TARGETS`).
        example_inputs: one batch; the first of ``calibration`` by default.
        calibration_method: for activations: minmax, percentile, sqnr, mse or saturating.
        dynamic_shapes: as for torch.export; None finds them.
        seed: of qnb's random numbers, and of what loader and evaluate draw through torch; generators of the caller's
            are left alone.

    A step that fails or is cancelled changes nothing; running a step again replaces its result only. Several
    threads may use a workflow: see `qnb.sharing`.

    >>> import torch, qnb
    >>> data = [torch.randn(8, 4) for _ in range(3)]
    >>> flow = qnb.Workflow(torch.nn.Linear(4, 2).eval(), data, lambda model: float(model(data[0]).abs().mean()))
    >>> flow.run("w8a8").verdict.status
    'pass'
    """

    # Steps. Each is a function of its own, in the room that it belongs to.
    check = check.check
    run = steps.run
    recover = recovery.recover
    keep, discard = results.keep, results.discard
    sensitivity = recovery.sensitivity
    sequence_errors = sequences.sequence_errors
    search_mixed_precision = recovery.search_mixed_precision
    what_if = recovery.what_if
    diagnose = diagnose
    attribute = attributions.attribute
    calibration_curve = calibration_curves.calibration_curve
    next_steps = next_steps.next_steps
    deploy, measure = deployment.deploy, deployment.measure
    submit = runner.submit

    # What was found.
    summary, compare, diff = summary.summary, summary.compare, diff.diff
    layer, profile = profiles.layer, profiles.profile
    worst_samples, samples = worst_samples.worst_samples, samples.samples
    panel, explore, chart = views.panel, views.explore, views.chart
    recovery_panel, precision_panel, deploy_panel = views.recovery_panel, views.precision_panel, views.deploy_panel
    report, save = views.report, views.save

    def __init__(
        self,
        model: nn.Module,
        calibration: Iterable,
        evaluate: Callable[[nn.Module], Any],
        *,
        tolerance: float = 0.01,
        target: str | targets.Target = "htp-v75",
        example_inputs: Any = None,
        calibration_method: str = "minmax",
        dynamic_shapes: Any = None,
        seed: int = 0,
    ):
        if not isinstance(model, nn.Module):
            raise InputError("Workflow", f"a {type(model).__name__} as model", "pass a torch.nn.Module")
        if not callable(evaluate):
            remedy = "pass a function evaluate(model) -> float, or qnb.accuracy(loader)"
            raise InputError("Workflow", f"a {type(evaluate).__name__} as evaluate", remedy)
        if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or not 0 <= tolerance < float("inf"):
            raise InputError(
                "Workflow",
                f"tolerance={tolerance!r}",
                "give the largest drop of the metric that you accept, for example 0.01",
            )
        RULES[calibration_method]
        whole("Workflow", "seed", seed, None)
        self.model, self.calibration, self.evaluate = model, reiterable(calibration, "Workflow"), evaluate
        self.example_inputs, self.dynamic_shapes = example_inputs, dynamic_shapes
        self.model_name = type(model).__name__
        self._begin(tolerance, targets.get(target), calibration_method, seed)

    def _begin(self, tolerance: float, target: targets.Target, calibration_method: str, seed: int) -> None:
        """Nothing found yet."""
        self.tolerance, self.target, self.calibration_method, self.seed = tolerance, target, calibration_method, seed
        self.check_result: Check | None = None
        self.runs: dict[str, Run] = {}
        self.proposal: Run | None = None
        self.sensitivities: dict[str, Sensitivity] = {}
        self.sequences: dict[str, SequenceView] = {}
        self.pareto_fronts: dict[str, ParetoFront] = {}
        self.diagnoses: dict[str, Diagnosis] = {}
        self.attributions: dict[str, RunAttribution] = {}
        self.calibration_curves: dict[str, RunCalibrationCurve] = {}
        self.worst: dict[str, WorstSamples] = {}
        self.deployments: dict[str, Deployment] = {}
        self.performance: dict[str, Performance] = {}
        self.jobs, self.profiles = runner.Runner(), Profiles()
        self.changed = self.jobs.changed
        self.selection = Selection(self)
        self.capture = Once(self._captured)
        self.evaluation_forwards: int | None = None
        self.data_fingerprint = ""

    @classmethod
    def without_model(
        cls, model_name: str, *, tolerance: float, target: targets.Target, calibration_method: str, seed: int
    ) -> Workflow:
        """A workflow that holds results only, as `qnb.load` makes it of a file alone."""
        flow = cls.__new__(cls)
        flow.model = flow.evaluate = flow.example_inputs = flow.dynamic_shapes = None
        flow.calibration, flow.model_name = (), model_name
        flow._begin(tolerance, target, calibration_method, seed)
        return flow

    @property
    def captured(self) -> Captured:
        """The captured graph; made once, shared by all runs."""
        return self.capture.get()

    def _captured(self) -> Captured:
        example = self.example_inputs
        if example is None:
            example = next(iter(self.batches), None)
        if example is None:
            raise InputError("Workflow", "an empty calibration loader", "pass at least one batch")
        return written_out(capture(self.model, example, self.dynamic_shapes), self.target.written_out)

    @property
    def batches(self) -> Seeded:
        """The calibration data, in the same order at each pass: what a loader draws comes from ``seed``."""
        return Seeded(self.calibration, self.seed)

    @property
    def job(self) -> Job | None:
        """The last step that was started by `submit`, or by a panel."""
        return self.jobs.job

    @property
    def compared(self) -> list[str]:
        """Names of the runs that have layers to compare with FP32."""
        return [name for name, run in self.runs.items() if run.comparison is not None]

    @property
    def variable(self) -> str:
        """What the notebook calls this workflow, for code that repeats an action."""
        names = vars(sys.modules["__main__"]).items()
        return next((n for n, v in list(names) if v is self and n.isidentifier() and n[0] != "_"), "flow")

    def __getitem__(self, name: str) -> Run:
        if name not in self.runs:
            known = f"there are {', '.join(self.runs)}" if self.runs else "no step was run yet"
            hint = did_you_mean(name, self.runs)
            todo = f"{hint}flow.run({name!r}) makes a new one" if hint else f"make it with flow.run({name!r})"
            raise InputError("Workflow", f"no run {name!r}; {known}", todo)
        return self.runs[name]

    def __contains__(self, name: object) -> bool:
        return name in self.runs

    def document(self) -> Document:
        return documents.workflow(self)
