"""The input samples that a run does worst on, shown as what they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from qnb.arguments import whole
from qnb.columns import SQNR_DB
from qnb.document import Code, Document, Table
from qnb.errors import InputError
from qnb.graph.batches import reiterable
from qnb.measures import worst_samples as measure
from qnb.measures.layers.worst_samples import FLIPPED, OUTPUT, layer_of, one
from qnb.measures.sensitivity.samples import sample_count
from qnb.progress import Report
from qnb.text import count as counted
from qnb.text import decibel
from qnb.workflow.documents.display import Charted
from qnb.workflow.guidance.next_step import literal
from qnb.workflow.jobs.progress import shown
from qnb.workflow.jobs.stage_progress import Ticks
from qnb.workflow.results import check_simulated
from qnb.workflow.sample_view import SampleView, drawn, pictures, view

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from qnb.workflow.run import Run
    from qnb.workflow.workflow import Workflow

OPERATION = "flow.worst_samples"


@dataclass(frozen=True, repr=False, eq=False)
class WorstSamples(Charted):
    """Input samples with the largest error in one run. A file keeps the figures, not the samples: those stay with the
    user's data.

    Args:
        run: its name.
        by: ``"output"``, ``"flipped"``, or a layer's name.
        table: `qnb.columns.WORST_SAMPLES`, the worst first.
        inputs: for each row, the sample as a batch of one, as the model takes it: ``sim(*inputs)`` and ``batches=``
            take it again. Empty after loading.
        seen: how many samples there were.
        flipped: how many predictions flipped among them; None where the outputs are no scores.
        views: for each row, what it is shown as. Empty after loading.
        other_data: they are not of the calibration data, but of ``batches``.
        variable: what the workflow is called.
    """

    run: str
    by: str
    table: pd.DataFrame
    inputs: tuple[Any, ...]
    seen: int
    flipped: int | None
    views: tuple[SampleView, ...]
    other_data: bool = False
    variable: str = "flow"

    def figures_only(self) -> WorstSamples:
        """Without the samples and what they are shown as: what a file holds."""
        return replace(self, inputs=(), views=())

    @property
    def code(self) -> str:
        """The line that shows the samples again."""
        given = [literal(self.run), literal(self.by)] + (["batches=batches"] if self.other_data else [])
        return f"{self.variable}.worst_samples({', '.join(given)})"

    def caption(self) -> str:
        """What was found, in a line."""
        all_of = f"{counted(self.seen)} samples"
        said = [] if self.flipped is None else [f"{counted(self.flipped)} of {all_of} flipped"]
        if len(self.table) and self.by != FLIPPED:
            first = self.table.iloc[0]
            where = "output" if self.by == OUTPUT else self.by
            said.append(f"lowest SQNR at {where} {decibel(first[SQNR_DB])}, sample {first['sample']}")
        return f"{self.run}: {'; '.join(said) or f'{len(self.table)} of {all_of}'}"

    def chart(self) -> go.Figure | None:
        """Those samples that are pictures or signals, as a Plotly figure; None without any, and after loading."""
        from qnb import charts

        rows = zip(self.views, self.table.itertuples(), strict=bool(self.views))
        shown = [(v.drawn, _label(row)) for v, row in rows if v.drawn is not None]
        if not shown:
            return None
        what = "Flipped predictions" if self.by == FLIPPED else "Lowest SQNR" if self.by == OUTPUT else self.by
        return charts.sample_grid(*zip(*shown, strict=True), title=f"{self.run}: {what}")

    def figures(self) -> list:
        """The samples as Plotly figures: pictures and signals in one, and those that ``show`` made."""
        return drawn(self.chart(), self.views)

    def document(self) -> Document:
        table = self.table.dropna(axis=1, how="all") if len(self.table) else self.table
        if any(v.text for v in self.views):
            table = table.assign(shown=[v.text for v in self.views])
        forms = {SQNR_DB: decibel, "flipped": lambda v: "yes" if v else "no"}
        blocks: list = [Table(table, "The worst first", max(12, len(table)), forms)]
        if len(table) and not self.views:
            again = "This shows the samples again" + (", with the batches that it was given" if self.other_data else "")
            blocks.append(Code(self.code, again, "A file does not hold the samples, nor their pictures."))
        return Document("worst-samples", self.caption(), (*blocks, *pictures(self.chart(), self.views)))


def worst_samples(
    flow: Workflow,
    run: str,
    by: str = OUTPUT,
    count: int = 12,
    show: Callable[[Any], Any] | None = None,
    *,
    batches: Iterable | None = None,
    progress: Report | None = None,
) -> WorstSamples:
    """Find the input samples with the largest error, and show them as pictures, signals or tokens. The last ones of a
    run are kept under its name in ``worst``, until it is replaced.

    Args:
        run: its name.
        by: ``"output"``: the lowest SQNR at the model's outputs; a layer's name: the lowest SQNR there;
            ``"flipped"``: samples whose prediction is not FP32's, those first that FP32 was surest of.
        count: how many at most; the samples that are kept.
        show: ``show(sample)`` gets a sample without its batch dimension, and returns text (it is shown as text,
            whatever it holds), an array, a Plotly or Matplotlib figure, or what has a picture. By default inputs
            ``[n, 1 | 3 | 4, h, w]`` are pictures, whole numbers ``[n, t]`` tokens, other ``[n, t]`` and ``[n, c, t]``
            signals.
        batches: the data; the workflow's calibration batches by default.
        progress: ``progress(done, total, message)``, as for `Workflow.run`.

    Raises:
        InputError: there is no such run or layer, ``show`` raised, or predictions are asked for where the outputs
            are no scores.
    """
    found = check_simulated(flow, run, OPERATION)
    data = flow.batches if batches is None else reiterable(batches, OPERATION)
    _check(found, by, count, show, data)
    title = f"{OPERATION}({run!r})"
    with flow.jobs.alone(title):
        found = check_simulated(flow, run, OPERATION)
        with shown(title, progress, 1) as report:
            ticks = Ticks(report, f"looking for the worst samples of {run}")
            try:
                result = measure(found.sim, data, by, count, progress=ticks.progress, watch=ticks.watch)
            finally:
                found.sim.drop_cache()
        named = zip(result.inputs, result.table["sample"], strict=True)
        views = tuple(view(x, show, OPERATION, f"sample {i}") for x, i in named)
        parts = (result.table, result.inputs, result.seen, result.flipped, views)
        made = WorstSamples(run, by, *parts, batches is not None, flow.variable)
        flow.worst = flow.worst | {run: made}
    flow.changed.emit()
    return made


def _check(run: Run, by: str, count: int, show: Callable[[Any], Any] | None, data: Iterable) -> None:
    """What is wrong is an error before any work: ``show`` is tried on the first sample."""
    layer_of(run.sim, by)
    whole(OPERATION, "count", count)
    if show is None:
        return
    if not callable(show):
        received = f"a {type(show).__name__} as show"
        raise InputError(OPERATION, received, "pass a function of one sample, as show=tokenizer.decode")
    for batch in data:
        flat = run.sim.flatten(batch, OPERATION)
        view(one(run.sim.captured, flat, 0, sample_count(run.sim.captured, flat)), show, OPERATION, "the first sample")
        return


def _label(row: Any) -> str:
    """Over a sample: which it is, its SQNR, and the prediction where it flipped."""
    said = f"sample {row.sample}, {decibel(row.sqnr_db)}"
    flipped = not pd.isna(row.flipped) and row.flipped
    return said + (f"<br>{row.fp32_prediction} → {row.quantsim_prediction}" if flipped else "")
