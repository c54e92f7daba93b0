"""Workflow: results by name, from the check of the model to the lowest precision that still does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd
from torch import nn

from qnb import columns, targets
from qnb.errors import InputError
from qnb.graph import Captured, capture, reiterable
from qnb.workflow import advice, reprs, steps
from qnb.workflow.check import Check, check
from qnb.workflow.run import Run

REFERENCE = "fp32"


class Workflow:
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
        seed: of torch's generator during each step; the caller's generator is left as it was.

    A step that fails or is cancelled leaves everything as it was; running a step again replaces that step only.

    >>> import torch, qnb
    >>> data = [torch.randn(8, 4) for _ in range(3)]
    >>> flow = qnb.Workflow(torch.nn.Linear(4, 2).eval(), data, lambda model: float(model(data[0]).abs().mean()))
    >>> flow.run("w8a8").verdict.state
    'ok'
    """

    def __init__(self, model: nn.Module, calibration: Iterable, evaluate: Callable[[nn.Module], Any], *,
                 tolerance: float = 0.01, target: str | targets.Target = "htp-v75", example_inputs: Any = None,
                 method: str = "minmax", dynamic_shapes: Any = None, seed: int = 0):  # fmt: skip
        if not isinstance(model, nn.Module):
            raise InputError("Workflow", f"a {type(model).__name__} as model", "pass a torch.nn.Module")
        if not callable(evaluate):
            raise InputError("Workflow", f"a {type(evaluate).__name__} as evaluate",
                             "pass a function evaluate(model) -> float, or qnb.accuracy(loader)")  # fmt: skip
        if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or not 0 <= tolerance < float("inf"):
            raise InputError("Workflow", f"tolerance={tolerance!r}", "say how much of the metric may be lost: 0.01")
        self.model, self.calibration, self.evaluate = model, reiterable(calibration, "Workflow"), evaluate
        self.tolerance, self.target, self.method, self.seed = tolerance, targets.get(target), method, seed
        self.example_inputs, self.dynamic_shapes = example_inputs, dynamic_shapes
        self.runs: dict[str, Run] = {}
        self.checked: Check | None = None
        self._captured: Captured | None = None

    @property
    def captured(self) -> Captured:
        """The captured graph; made once, shared by all runs."""
        if self._captured is None:
            example = self.example_inputs
            if example is None:
                example = next(iter(self.calibration), None)
            if example is None:
                raise InputError("Workflow", "an empty calibration loader", "pass at least one batch")
            self._captured = capture(self.model, example, self.dynamic_shapes)
        return self._captured

    def check(self) -> Check:
        """Does the model export and run, what is in it, what to mind? Do this first."""
        self.checked = check(self)
        return self.checked

    def run(self, precision: str, *, name: str | None = None, layers: Mapping[str, str] | None = None,
            method: str | None = None, progress=None, **options) -> Run:  # fmt: skip
        """Simulate a precision: calibrate, evaluate, compare with FP32 layer by layer.

        Args:
            precision: ``"fp32"``, ``"fp16"``, ``"w16a16"``, ``"w8a16"``, ``"w4a8"`` ... or a `qnb.Precision`.
            name: to keep it under; the precision's name by default.
            layers: layers (names or globs) that get another precision: ``{"classifier": "w8a16"}``.
            method: range rule in place of the workflow's own; ``options`` are its options.
            progress: ``progress(done, total, message)``; raising `qnb.errors.Cancelled` in it cancels the step.
        """
        if self.model is None:
            raise InputError("flow.run", "a workflow from a file, without model, data and evaluate",
                             "load it with qnb.load(path, model=..., calibration=..., evaluate=...)")  # fmt: skip
        found = steps.run(self, precision, name, dict(layers or {}), method or self.method, options, progress)
        for result in found:  # FP32 first, where it was needed
            self.runs[result.name] = result
        return found[-1]

    def __getitem__(self, name: str) -> Run:
        if name not in self.runs:
            known = f"there are: {', '.join(self.runs)}" if self.runs else "no step was run yet"
            raise InputError("Workflow", f"no run {name!r}", f"{known}; make it with flow.run({name!r})")
        return self.runs[name]

    def __contains__(self, name: object) -> bool:
        return name in self.runs

    def summary(self) -> pd.DataFrame:
        """One row per run, columns `qnb.columns.SUMMARY`; sizes in bytes, costs for one sample."""
        rows = []
        for run in sorted(self.runs.values(), key=lambda r: r.name != REFERENCE):
            low, high = run.score.interval()
            worst, worst_db = run.worst_layer or ("", float("nan"))
            rows.append((
                run.name, run.precision, run.score.value, low, high, run.score.n or pd.NA,
                run.drop.value if run.drop else 0.0, run.verdict.state, worst, worst_db,
                run.size_bytes, int(run.cost.macs.sum()), int(run.cost.bops.sum()),
            ))  # fmt: skip
        return pd.DataFrame(rows, columns=list(columns.SUMMARY)).astype({"n": "Int64"})

    def compare(self, *names: str):
        """Per layer, FP32 against QuantSim, of one or several runs: shows as chart and table.

        Returns:
            A `Comparison`: ``.table`` is the DataFrame, ``.chart()`` the figure.
        """
        from qnb.workflow.display import Comparison

        names = names or tuple(n for n, r in self.runs.items() if r.comparison is not None)[-1:]
        if not names:
            raise InputError("Workflow.compare", "no run to compare", "run a step first: flow.run('w8a16')")
        frames = {n: self[n].comparison for n in names}
        if without := [n for n, f in frames.items() if f is None]:
            raise InputError("Workflow.compare", f"{without[0]!r}, which is the reference itself", "name another run")
        return Comparison(frames)

    def layer(self, name: str, layer: str):
        """One layer of one run: values of FP32 and QuantSim, clipped share, weight range per channel."""
        from qnb.workflow.display import LayerView

        return LayerView.of(self[name], layer, list(steps.comparison_batches(self)))

    def chart(self):
        """Metric against size, a point per run."""
        from qnb.workflow.display import summary_chart

        return summary_chart(self)

    def next(self) -> list[advice.Advice]:
        """What to do next, with the numbers that call for it and the line of code."""
        return advice.next_steps(self)

    def save(self, path) -> None:
        """Write all results to one file that `qnb.load` reads; no code, no pickle. The file is replaced as a whole."""
        from qnb.workflow import storage

        storage.save(self, path)

    def __repr__(self) -> str:
        return reprs.workflow_text(self)

    def _repr_html_(self) -> str:
        return reprs.workflow_html(self)
