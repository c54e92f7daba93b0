"""Which quantizers cost a run its accuracy: `qnb.sensitivity` with the workflow's data and metric."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from qnb.arguments import check_options
from qnb.document import Document, Table
from qnb.measures import sensitivity
from qnb.progress import Report
from qnb.text import number
from qnb.workflow.documents.display import Charted
from qnb.workflow.jobs.progress import shown

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from qnb.workflow.workflow import Workflow


@dataclass(frozen=True, repr=False)
class Sensitivity(Charted):
    """Sensitivities of one run.

    Args:
        run: its name.
        estimator: fisher, sqnr or evaluate.
        table: `qnb.columns.SENSITIVITY`, the most sensitive first.
    """

    run: str
    estimator: str
    table: pd.DataFrame

    def chart(self) -> go.Figure:
        """Bars with intervals, as a Plotly figure."""
        from qnb import charts

        return charts.sensitivity(self.table)

    def figures(self) -> list:
        return [self.chart()]

    def caption(self) -> str:
        first = self.table.head(3)
        named = ", ".join(f"{r.layer} ({r.kind}) {number(r.score)}" for r in first.itertuples())  # pyright: ignore[reportAttributeAccessIssue]
        ranked = f"{len(self.table)} quantizers ranked by {self.estimator} sensitivity"
        return f"{self.run}: {ranked}; the most sensitive: {named}"

    def document(self) -> Document:
        return Document("sensitivity", self.caption(), (Table(self.table, "The most sensitive first", 12),))


def measure(flow: Workflow, name: str, estimator: str, options: dict[str, Any], progress: Report | None) -> Sensitivity:
    """The sensitivities of a run; what does not fit is an error before any work."""
    known = [
        o for o in inspect.signature(sensitivity).parameters if o not in ("sim", "batches", "estimator", "progress")
    ]
    check_options("flow.sensitivity", options, known, "flow.sensitivity")
    with shown(f"flow.sensitivity({name!r})", progress) as report:
        given: dict[str, Any] = {"evaluate": flow.evaluate} if estimator == "evaluate" else {}
        given |= {"seed": flow.seed, **options}
        table = sensitivity(flow[name].sim, flow.batches, estimator=estimator, progress=report, **given)
    return Sensitivity(name, estimator, table)
