"""A run's Pareto front of mixed precisions, to look at, to measure points of, and to make a run of one."""

from __future__ import annotations

import inspect
import time
from typing import TYPE_CHECKING

import pandas as pd

from qnb.arguments import check_options, whole
from qnb.document import Document, Table, Text
from qnb.errors import InputError
from qnb.measures import compare_layers
from qnb.measures.layers.outputs import output_db
from qnb.methods.method import MEASURED_BATCHES, before_and_after, plain
from qnb.methods.precision.choices import check
from qnb.methods.precision.precision_front import PrecisionFront, precision_front
from qnb.methods.reporting.result import Result
from qnb.progress import Report
from qnb.text import amount, count, number, size
from qnb.workflow.documents import layers as layer_documents
from qnb.workflow.documents.display import Charted
from qnb.workflow.documents.figures import figure
from qnb.workflow.guidance.next_step import recover_code
from qnb.workflow.jobs.progress import shown
from qnb.workflow.measured_run import comparison_batches, measured
from qnb.workflow.named import Named
from qnb.workflow.names import check_name
from qnb.workflow.recovery import recover
from qnb.workflow.results import check_simulated, keep_run
from qnb.workflow.run import Run

if TYPE_CHECKING:
    from concurrent.futures import Executor

    import plotly.graph_objects as go

    from qnb.sim.quantsim import QuantSim
    from qnb.workflow.workflow import Workflow

METHOD = "mixed_precision"
DECIDING = ("candidates", "cost", "layers", "sensitivity")
SPREAD = 3
"""So many points are measured to begin with, spread over the front."""


class ParetoFront(Charted):
    """Cost against predicted loss over all mixes of precisions of one run; some points measured.

    Args:
        flow: the workflow.
        run: name of the run it started from; it stays as it is.
        front: its points.
        options: that decide what is on the front; code that makes the same run names them.
    """

    def __init__(self, flow: Workflow, run: str, front: PrecisionFront, options: dict):
        self.flow, self.run, self.front, self.options = flow, run, front, options
        self.chosen = len(front) // 2

    @property
    def table(self) -> pd.DataFrame:
        """One row per point, columns `qnb.columns.FRONT`."""
        return self.front.table(self.chosen)

    def bits(self, point: int | None = None) -> pd.DataFrame:
        """Bits of each layer at a point (the chosen one), columns `qnb.columns.BITS`."""
        return self.front.bits([self.chosen if point is None else point])

    def choose(self, point: int) -> ParetoFront:
        """Choose a point: 0 is the cheapest."""
        if point not in range(len(self.front)):
            raise InputError("choose", f"point {point!r}", f"choose one of 0 to {len(self.front) - 1}")
        self.chosen = int(point)
        return self

    def verify(self, *points: int, executor: Executor | None = None, progress: Report | None = None) -> ParetoFront:
        """Measure points (the chosen one) with the workflow's metric."""
        points = points or (self.chosen,)
        check_simulated(self.flow, self.run, "verify")
        with self.flow.jobs.alone("verify"), shown("verify", progress) as report:
            self.front.verify(points, self.flow.evaluate, executor=executor, progress=report)
        self.flow.changed.emit()
        return self

    def keep(self, point: int | None = None, *, name: str | None = None, progress: Report | None = None) -> Run:
        """Make a run of a point (the chosen one), measured in full."""
        flow, point = self.flow, self.chosen if point is None else point
        check_simulated(flow, self.run, "keep")
        if name is not None:
            check_name(name, flow[self.run].precision, "keep")
        base, start = flow[self.run], time.perf_counter()
        budget = self.choose(point).front.points[point].cost
        with flow.jobs.alone(f"keep point {point}"), shown(f"keep point {point}", progress) as report:
            sim = base.sim.copy()
            self.front.apply(sim, point)
            sim.applied_methods = (*sim.applied_methods, METHOD)
            result = self._result(base, sim, budget, start)
            settings = recover.settings_of(base, [result])
            made = measured(
                flow,
                sim,
                name or f"{self.run}+mixed-{point}",
                flow["fp32"].score,
                settings,
                report,
                start,
                recovery=(*base.recovery, result),
            )
            made = keep_run(flow, made)
        flow.changed.emit()
        return made

    def code(self, point: int | None = None) -> str:
        """The line that makes the same run."""
        point = self.chosen if point is None else point
        options = {"budget": self.front.points[point].cost, **self.options}
        return recover_code(self.flow.variable, self.run, (METHOD,), options)

    def _result(self, base: Run, sim: QuantSim, budget: float, start: float) -> Result:
        """What `qnb.methods.mixed_precision` says of the same choice."""
        batches = comparison_batches(self.flow)[:MEASURED_BATCHES]
        before, after = compare_layers(base.sim, batches), compare_layers(sim, batches)
        options = {name: plain(value) for name, value in self.options.items()}
        return Result(
            METHOD,
            before_and_after(sim, before, after, self.bits().drop(columns="point")),
            pd.DataFrame(),
            {"budget": budget, **options},
            time.perf_counter() - start,
            (),
            output_db(base.sim, before),
            output_db(sim, after),
            {"front": self.table, "bits": self.bits()},
        )

    def chart(self) -> go.Figure:
        """The front with measured points, as a Plotly figure."""
        from qnb import charts

        return charts.pareto(self.table)

    def strip(self) -> go.Figure:
        """Bits per layer of the chosen point, as a Plotly figure."""
        from qnb import charts

        return charts.bits(self.bits())

    def figures(self) -> list:
        return [self.chart(), self.strip()]

    def cost_text(self, point: int | None = None) -> str:
        cost = self.front.points[self.chosen if point is None else point].cost
        kind = self.front.choices.cost
        return {"bops": f"{count(cost)} bit operations", "weight_bytes": f"{size(cost)} of weights"}.get(
            kind, f"{kind} {number(cost)}"
        )

    def caption(self) -> str:
        row = self.table.iloc[self.chosen]
        said = f"predicted loss {number(row.predicted)}"
        if row.measured == row.measured:
            interval = f" (95 % interval {amount(row.low)} to {amount(row.high)})" if row.low == row.low else ""
            said += f", measured drop {amount(row.measured)}{interval}"
        return (
            f"{self.run}: {len(self.front)} mixes of precisions; point {self.chosen} costs {self.cost_text()}, "
            f"{row.cost_fraction:.0%} of the most expensive mix: {said}"
        )

    def document(self) -> Document:
        table = self.table
        shown = table[table.measured.notna() | table.chosen]
        columns = ["point", "cost_fraction", "predicted", "measured", "low", "high", "metric"]
        forms = {"cost_fraction": layer_documents.percent}
        blocks = [figure(chart) for chart in self.figures()]
        return Document(
            "mixed-precision",
            self.caption(),
            (
                *blocks,
                Table(shown[columns], "Points measured, and the chosen one", 20, forms),
                *self._order(),
            ),
        )

    def _order(self) -> tuple:
        if len(self.front.scores) < 2:
            return ()
        return (Text(self.front.order_text()),)


def search(flow: Workflow, name: str, options: dict, progress: Report | None) -> ParetoFront:
    """The front of a run, a few of its points measured; what does not fit is an error before any work."""
    operation = "flow.search_mixed_precision"
    known = [*inspect.signature(check).parameters][1:]
    check_options(operation, options, [*known, "verify"], operation)
    whole(operation, "verify", options.get("verify", SPREAD), 0)
    check(flow[name].sim, **{k: v for k, v in options.items() if k in known})
    with shown(f"flow.search_mixed_precision({name!r})", progress) as report:
        given = {"seed": flow.seed, **options}
        verify = given.pop("verify", SPREAD)
        front = precision_front(flow[name].sim, flow.batches, evaluate=flow.evaluate, progress=report, **given)
        deciding = {k: Named(k) if isinstance(v, pd.DataFrame) else v for k, v in options.items() if k in DECIDING}
        found = ParetoFront(flow, name, front, deciding)
        if verify:
            points = sorted({round(i * (len(front) - 1) / max(1, verify - 1)) for i in range(verify)})
            front.verify(points, flow.evaluate, executor=given.get("executor"), progress=report)
    return found
