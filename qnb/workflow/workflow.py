"""Workflow: results by name, from the check of the model to the lowest precision that still does."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd
from torch import nn

from qnb import columns, targets
from qnb.arguments import did_you_mean, whole
from qnb.document import Document, Shown
from qnb.errors import InputError
from qnb.graph import Captured, capture, reiterable
from qnb.graph.target_form import written_out
from qnb.randomness import Seeded
from qnb.ranges import RULES
from qnb.workflow import steps
from qnb.workflow.check import Check, check
from qnb.workflow.deployment.on_target import OnTarget
from qnb.workflow.documents import workflow as documents
from qnb.workflow.guidance import next_steps
from qnb.workflow.guidance.next_step import NextStep
from qnb.workflow.jobs.job import Job
from qnb.workflow.jobs.progress import shown
from qnb.workflow.jobs.runner import Jobs
from qnb.workflow.recovery.recovering import Recovering
from qnb.workflow.run import Run
from qnb.workflow.selection import Selection
from qnb.workflow.steps import Step

if TYPE_CHECKING:
    from qnb.workflow.recovery.what_if import WhatIf

REFERENCE = "fp32"


class Workflow(Jobs, Recovering, OnTarget, Shown):
    """Walks a model from FP32 to low precision and keeps what each step found.

    Args:
        model: an ``nn.Module`` in eval mode; it is never changed.
        calibration: re-iterable of batches as the model takes them, without labels (`qnb.inputs` drops those).
        evaluate: ``evaluate(model) -> float | qnb.Score``; called with modules that behave like the model.
        tolerance: how much of the metric may be lost, in the metric's own units.
        target: where it is to run (`qnb.targets.TARGETS`).
        example_inputs: one batch; the first of ``calibration`` by default.
        method: range rule of activations: minmax, percentile, sqnr or mse.
        dynamic_shapes: as for torch.export; None finds out by itself.
        seed: of qnb's random numbers, and of what loader and evaluate draw through torch; generators of the caller's
            are left alone.

    A step that fails or is cancelled leaves everything as it was; running a step again replaces that step only. Several
    threads may use a workflow: see `qnb.sharing`.

    >>> import torch, qnb
    >>> data = [torch.randn(8, 4) for _ in range(3)]
    >>> flow = qnb.Workflow(torch.nn.Linear(4, 2).eval(), data, lambda model: float(model(data[0]).abs().mean()))
    >>> flow.run("w8a8").verdict.status
    'pass'
    """

    def __init__(
        self,
        model: nn.Module,
        calibration: Iterable,
        evaluate: Callable[[nn.Module], Any],
        *,
        tolerance: float = 0.01,
        target: str | targets.Target = "htp-v75",
        example_inputs: Any = None,
        method: str = "minmax",
        dynamic_shapes: Any = None,
        seed: int = 0,
    ):
        if not isinstance(model, nn.Module):
            raise InputError("Workflow", f"a {type(model).__name__} as model", "pass a torch.nn.Module")
        if not callable(evaluate):
            raise InputError(
                "Workflow",
                f"a {type(evaluate).__name__} as evaluate",
                "pass a function evaluate(model) -> float, or qnb.accuracy(loader)",
            )
        if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or not 0 <= tolerance < float("inf"):
            raise InputError("Workflow", f"tolerance={tolerance!r}", "say how much of the metric may be lost: 0.01")
        RULES[method]
        whole("Workflow", "seed", seed, None)
        self.model, self.calibration, self.evaluate = model, reiterable(calibration, "Workflow"), evaluate
        self.tolerance, self.target, self.method, self.seed = tolerance, targets.get(target), method, seed
        self.example_inputs, self.dynamic_shapes = example_inputs, dynamic_shapes
        self._begin()

    def _begin(self) -> None:
        """Nothing found yet."""
        self.runs: dict[str, Run] = {}
        self.check_result: Check | None = None
        self.selection = Selection(self)
        self._begin_jobs()
        self._captured: Captured | None = None
        self._begin_recovering()
        self._begin_on_target()
        self._profiles: dict[str, tuple[Run, dict]] = {}
        self._forwards: int | None = None
        self._model_name = self._data = ""  # from a file: class of its model, fingerprint of the data given to go on
        self._reading, self._capturing = threading.Lock(), threading.Lock()

    @property
    def captured(self) -> Captured:
        """The captured graph; made once, shared by all runs."""
        with self._capturing:
            if self._captured is None:
                example = self.example_inputs
                if example is None:
                    example = next(iter(self.batches), None)
                if example is None:
                    raise InputError("Workflow", "an empty calibration loader", "pass at least one batch")
                found = capture(self.model, example, self.dynamic_shapes)
                self._captured = written_out(found, self.target.written_out)
        return self._captured

    @property
    def batches(self) -> Iterable:
        """The calibration data, in the same order at each pass: what a loader draws comes from ``seed``."""
        return Seeded(self.calibration, self.seed)

    def check(self) -> Check:
        """Does the model export and run, what is in it, what to mind? Do this first."""
        with self._alone("flow.check()"), shown("flow.check()", stages=2) as report:
            self.check_result = check(self, report)
        self.changed.emit()
        return self.check_result

    def run(
        self,
        precision: str,
        *,
        name: str | None = None,
        layers: Mapping[str, str] | None = None,
        methods: Mapping[str, str] | None = None,
        method: str | None = None,
        progress=None,
        **options,
    ) -> Run:
        """Simulate a precision: calibrate, evaluate, compare with FP32 layer by layer.

        Args:
            precision: ``"fp32"``, ``"fp16"``, ``"w16a16"``, ``"w8a16"``, ``"w4a8"`` ... or a `qnb.Precision`.
            name: to keep it under; the precision's name by default.
            layers: layers (names or globs) that get another precision: ``{"classifier": "w8a16"}``.
            methods: layers that get another range rule: ``{"stem.*": "percentile"}``.
            method: range rule in place of the workflow's own; ``options`` are its options.
            progress: ``progress(done, total, message)``; raising `qnb.errors.Cancelled` in it cancels the step.
        """
        step = Step.of(self, precision, name, layers, methods, method, options)
        with self._alone(step.title):
            found = steps.run(self, step, progress)  # FP32 first, where it was needed
            self.runs = self.runs | {run.name: run for run in found}
            result = self._keep(found[-1])
        self.changed.emit()
        return result

    def submit(self, precision: str, **arguments) -> Job:
        """`run` in a thread of its own, as panels do it: ``await`` the job, ``wait()`` for it, or ``cancel()`` it."""
        step = Step.of(self, precision, **steps.asked(arguments))
        with self._alone(step.title):
            step.check(self)
        return self.start(step.title, lambda report: self.run(precision, progress=report, **arguments))

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

    @property
    def compared(self) -> list[str]:
        """Names of the runs that have layers to compare with FP32."""
        return [name for name, run in self.runs.items() if run.comparison is not None]

    def summary(self) -> pd.DataFrame:
        """One row per run, columns `qnb.columns.SUMMARY`; sizes in bytes, costs for one sample."""
        rows = []
        for run in sorted(self.runs.values(), key=lambda r: r.name != REFERENCE):
            low, high = run.score.interval()
            worst, worst_db = run.worst_layer or ("", float("nan"))
            rows.append(
                (
                    run.name,
                    run.precision,
                    run.score.value,
                    low,
                    high,
                    run.score.n or pd.NA,
                    run.drop.value if run.drop else 0.0,
                    run.verdict.status,
                    worst,
                    worst_db,
                    run.size_bytes,
                    run.activation_bytes,
                    int(run.cost.macs.sum()),
                    int(run.cost.bops.sum()),
                    *self._measured(run.name),
                )
            )
        return pd.DataFrame(rows, columns=list(columns.SUMMARY)).astype({"n": "Int64", "file_bytes": "Int64"})

    def compare(self, *names: str):
        """Per layer, FP32 against QuantSim, of one or several runs: shows as chart and table.

        Returns:
            A `Comparison`: ``.table`` is the DataFrame, ``.chart()`` the figure.
        """
        from qnb.workflow.documents.display import Comparison

        names = names or tuple(self.compared[-1:])
        if not names:
            raise InputError("Workflow.compare", "no run to compare", "run a step first: flow.run('w8a16')")
        frames = {n: self[n].comparison for n in names}
        if without := [n for n, f in frames.items() if f is None]:
            raise InputError("Workflow.compare", f"{without[0]!r}, which is the reference itself", "name another run")
        return Comparison(frames)

    def layer(self, name: str, layer: str):
        """One layer of one run: values of FP32 and QuantSim, clipped share, weight range per channel."""
        from qnb.workflow.documents.display import LayerView

        run = self[name]
        layer = steps.one_layer(run, layer)
        found = self.profile(name) if self.profiled(name) else steps.profile(self, run, None, layer)
        return LayerView(name, run.comparison.set_index("layer", drop=False).loc[layer], found[layer])

    def profile(self, name: str, progress=None) -> dict:
        """Every layer's values in one run, layer to `qnb.measures.LayerProfile`; kept until the run is replaced.

        Args:
            progress: ``progress(done, total, message)``, as for `run`.
        """
        if not self.profiled(name):
            with self._reading:  # who asks while it is being read waits for it
                if not self.profiled(name):
                    run = self[name]
                    self._profiles = self._profiles | {name: (run, steps.profile(self, run, progress))}
        return self._profiles[name][1]

    def profiled(self, name: str) -> bool:
        """Whether `profile` has been read and needs no work."""
        known = self._profiles.get(name)
        return known is not None and known[0] is self[name]

    def what_if(self, name: str) -> WhatIf:
        """Try other bits or range rules for some layers of a run, see what they change, keep it as a run or not."""
        from qnb.workflow.recovery.what_if import WhatIf

        return WhatIf(self, name)

    def panel(self):
        """The workflow with buttons: stages, runs, progress, next step; without a kernel, the same as a page."""
        from qnb import panels

        return panels.WorkflowPanel(self)

    def explore(self, *names: str):
        """Look at the layers of one or two runs: where the error arises, how values are distributed, what if.

        Args:
            names: runs; by default the selected one, else the last.
        """
        from qnb import panels

        return panels.LayerExplorer(self, *names)

    def deploy_panel(self, name: str | None = None):
        """`deploy` and `measure` with buttons, and what came of them.

        Args:
            name: a run; by default the smallest within tolerance, else the selected one.
        """
        from qnb import panels

        return panels.DeployPanel(self, name)

    def report(self, path, *, interactive: bool = True) -> None:
        """Write all results as one HTML page that needs no network: see `qnb.workflow.documents.report`.

        Args:
            path: the file; it is replaced as a whole.
            interactive: charts to hover and zoom (5 MB of Plotly in the page); else pictures, and no script at all.
        """
        from qnb.workflow.documents import report

        report.write(self, path, interactive)

    def chart(self, x: str = "size_bytes"):
        """Metric against ``x``, a point per run: ``"size_bytes"``, or ``"file_bytes"`` or ``"latency_ms"`` after
        `measure`."""
        from qnb.workflow.documents.display import summary_chart

        return summary_chart(self, x)

    def next(self) -> list[NextStep]:
        """What to do next, with the numbers that call for it and the line of code."""
        return next_steps.next_steps(self)

    def save(self, path) -> None:
        """Write all results to one file that `qnb.load` reads; no code, no pickle. The file is replaced as a whole."""
        from qnb.workflow import storage

        storage.save(self, path)

    def document(self) -> Document:
        return documents.workflow(self)
