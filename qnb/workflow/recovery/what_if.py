"""What if some layers had other bits, or another calibration method? Tried on a copy, in a moment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import pandas as pd

from qnb.columns import LAYER, OWN_SQNR_DB, SQNR_DB
from qnb.document import Document, Facts, Shown, Table
from qnb.errors import InputError
from qnb.measures import compare_layers, model_bytes
from qnb.measures.layers.outputs import output_db
from qnb.numerics import Precision
from qnb.progress import Report
from qnb.ranges import RULES
from qnb.text import decibel, size
from qnb.workflow.guidance.next_step import calibration_argument, run_code
from qnb.workflow.jobs.progress import shown
from qnb.workflow.jobs.stage_progress import Ticks
from qnb.workflow.run import Run

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim
    from qnb.workflow.workflow import Workflow

BATCHES = 2
"""Changes are looked at on so many batches; a run that is kept is measured in full."""


@dataclass(frozen=True)
class Change:
    """``layers`` get ``precision``, ``calibration_method``, or both."""

    layers: tuple[str, ...]
    precision: str | None = None
    calibration_method: str | None = None

    def __str__(self) -> str:
        what = " and ".join(
            filter(None, (self.precision, self.calibration_method and f"{self.calibration_method} ranges"))
        )
        named = self.layers[0] if len(self.layers) == 1 else f"{len(self.layers)} layers"
        return f"{named}: {what}"


class WhatIf(Shown):
    """Changes to a run that is already there. The run itself stays as it is.

    New bits take their ranges from the run's own statistics, which were taken with its weights: the figures are
    within a fraction of a decibel of those of a run, which calibrates again.

    >>> import torch, qnb
    >>> x = [torch.randn(8, 4)]
    >>> flow = qnb.Workflow(torch.nn.Sequential(torch.nn.Linear(4, 2)).eval(), x, lambda m: float(m(x[0]).mean()))
    >>> _ = flow.run("w4a8")
    >>> trial = flow.what_if("w4a8").change("0", "w8a8")
    >>> trial.after["own_sqnr_db"] > trial.before["own_sqnr_db"]
    True
    >>> trial.code
    'flow.run("w4a8", layers={"0": "w8a8"})'
    """

    def __init__(self, flow: Workflow, run: Run):
        self.flow, self.run = flow, run
        self.changes: tuple[Change, ...] = ()
        self._sims = [run.sim]
        self._tables: list[pd.DataFrame] = []

    def change(
        self,
        layers: str | Iterable[str],
        precision: str | None = None,
        calibration_method: str | None = None,
        progress: Report | None = None,
    ) -> WhatIf:
        """Give layers another precision, another calibration method, or both. On any error nothing has changed.

        Args:
            layers: a name, a glob, or a list of them.
            precision: for example ``"w8a8"``.
            calibration_method: minmax, percentile, sqnr, mse or saturating; read from all calibration batches.
            progress: ``progress(done, total, message)``; raising `Cancelled` in it undoes the change.
        """
        if precision is None and calibration_method is None:
            raise InputError(
                "what_if.change",
                "neither precision nor calibration_method",
                "give a precision, a calibration method, or both",
            )
        if calibration_method is not None:
            RULES[calibration_method]
        sim = self._sims[-1].copy()
        names = sim.named(layers, "what_if.change")
        chosen = tuple(g.layer for g in sim.groups if g.layer in names) or tuple(sorted(names))
        if not chosen:
            raise InputError("what_if.change", "no layer", "name one, a glob or a list of them: 'block1.*'")
        title = f"flow.what_if({self.run.name!r}).change"
        with self.flow.jobs.alone("what_if.change"), shown(title, progress) as report:
            if precision is not None:
                sim.set_precision(list(chosen), precision)
            if calibration_method is not None:
                ticks = Ticks(report, f"calibrating by {calibration_method}")
                sim.calibrate(self.flow.batches, calibration_method, ticks.progress, layers=list(chosen))
            first = [] if self._tables else [self._measure(self.run.sim, report)]
            tables = [*first, self._measure(sim, report)]
        name = precision and Precision.parse(precision).name
        self._tables += tables
        self._sims.append(sim)
        self.changes += (Change(chosen, name, calibration_method),)
        return self

    def undo(self) -> WhatIf:
        """Take the last change back."""
        if self.changes:
            self.changes = self.changes[:-1]
            self._sims.pop()
            self._tables.pop()
        return self

    def keep(self, name: str | None = None, progress: Report | None = None) -> Run:
        """Run it in full, evaluation included: a new run beside the old one."""
        return self.flow.run(self.run.precision, progress=progress, **self.arguments(name))

    def arguments(self, name: str | None = None) -> dict:
        """What `Workflow.run` takes, beside the precision, to make a run of the changes."""
        if not self.changes:
            raise InputError("what_if.keep", "no change", "change something first")
        settings = self.run.settings
        layers, methods = dict(settings.get("layers", {})), dict(settings.get("calibration_methods", {}))
        for change in self.changes:
            for layer in change.layers:
                for kept, value in ((layers, change.precision), (methods, change.calibration_method)):
                    if value is not None:
                        kept.pop(layer, None)  # the last change counts, so it comes last
                        kept[layer] = value
        usual = self.flow.calibration_method
        found = {} if name is None else {"name": name}
        found |= {"layers": layers} if layers else {}
        found |= calibration_argument(settings.get("calibration_method") or usual, methods, usual)
        return found | settings.get("options", {})

    @property
    def code(self) -> str:
        """The line that makes a run of the changes."""
        return run_code(self.flow.variable, {"precision": self.run.precision, **self.arguments()})

    @property
    def before(self) -> dict[str, float]:
        """``sqnr_db`` at the output, lowest ``own_sqnr_db`` of the changed layers, ``size_bytes``: of the run."""
        return self._figures(0)

    @property
    def after(self) -> dict[str, float]:
        """The same with all changes."""
        return self._figures(-1)

    @property
    def table(self) -> pd.DataFrame:
        """The changed layers: SQNR in dB before and after, accumulated and their own."""
        rows = [self._tables[i].set_index(LAYER).loc[self._changed()] for i in (0, -1)] if self.changes else []
        if not rows:
            return pd.DataFrame(columns=[LAYER, "before_db", "after_db", "own_before_db", "own_after_db"])
        return pd.DataFrame(
            {
                LAYER: rows[0].index,
                "before_db": rows[0][SQNR_DB].to_numpy(),
                "after_db": rows[1][SQNR_DB].to_numpy(),
                "own_before_db": rows[0][OWN_SQNR_DB].to_numpy(),
                "own_after_db": rows[1][OWN_SQNR_DB].to_numpy(),
            }
        )

    def sentence(self) -> str:
        """What the changes bring, in one line."""
        if not self.changes:
            return "No change yet"
        a, b = self.before, self.after
        return (
            f"output {decibel(a['sqnr_db'])} → {decibel(b['sqnr_db'])}, "
            f"own error of the layer {decibel(a['own_sqnr_db'])} → {decibel(b['own_sqnr_db'])}, "
            f"size {size(a['size_bytes'])} → {size(b['size_bytes'])}"
        )

    def document(self) -> Document:
        facts = Facts({str(i + 1): str(change) for i, change in enumerate(self.changes)})
        forms: dict[str, Any] = dict.fromkeys(("before_db", "after_db", "own_before_db", "own_after_db"), decibel)
        return Document(
            "what-if",
            f"What if, from {self.run.name}: {self.sentence()}",
            (facts, Table(self.table, formats=forms)) if self.changes else (),
        )

    def _changed(self) -> list[str]:
        touched = {layer for change in self.changes for layer in change.layers}
        return [layer for layer in self._tables[0][LAYER] if layer in touched]

    def _figures(self, which: int) -> dict[str, float]:
        if not self.changes:
            raise InputError("what_if", "no change yet", "call change(layers, precision) first")
        table, sim = self._tables[which], self._sims[which]
        own = table[table[LAYER].isin(self._changed())][OWN_SQNR_DB].min()
        return {"sqnr_db": output_db(sim, table), "own_sqnr_db": float(own), "size_bytes": model_bytes(sim)}  # pyright: ignore[reportArgumentType]

    def _measure(self, sim: QuantSim, report: Report) -> pd.DataFrame:
        ticks = Ticks(report, "comparing")
        batches = list(islice(iter(self.flow.batches), BATCHES))
        table = compare_layers(sim, batches, progress=ticks.progress, watch=ticks.watch)
        sim.drop_cache()
        return table
