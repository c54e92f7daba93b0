"""Calibration samples by their numbers, shown as what they are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch.utils._pytree import tree_leaves

from qnb.arguments import short, whole
from qnb.columns import CALIBRATION_SAMPLES
from qnb.document import Document, Table
from qnb.errors import InputError
from qnb.measures.layers.worst_samples import one
from qnb.measures.sensitivity.samples import sample_count
from qnb.text import count as counted
from qnb.workflow.documents.display import Charted
from qnb.workflow.results import check_has_data
from qnb.workflow.sample_view import SampleView, drawn, pictures, view

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from qnb.workflow.workflow import Workflow

OPERATION = "flow.samples"


@dataclass(frozen=True, repr=False, eq=False)
class Samples(Charted):
    """Samples of the calibration data.

    Args:
        table: `qnb.columns.CALIBRATION_SAMPLES`, in the order that was asked for.
        inputs: for each row, the sample as a batch of one, as the model takes it.
        views: for each row, what it is shown as.
    """

    table: pd.DataFrame
    inputs: tuple[Any, ...]
    views: tuple[SampleView, ...]

    def caption(self) -> str:
        numbers = list(map(str, self.table["sample"]))
        return f"Calibration sample{'' if len(numbers) == 1 else 's'} {', '.join(numbers)}"

    def chart(self) -> go.Figure | None:
        """Those that are pictures or signals, as a Plotly figure; None without any. Each is drawn from its own least
        to its own largest value, which its caption names."""
        from qnb import charts

        rows = zip(self.views, self.table.itertuples(), strict=True)
        found = [(v.drawn, _label(row)) for v, row in rows if v.drawn is not None]
        return charts.sample_grid(*zip(*found, strict=True), title=self.caption()) if found else None

    def figures(self) -> list:
        """The samples as Plotly figures: pictures and signals in one, and those that ``show`` made."""
        return drawn(self.chart(), self.views)

    def document(self) -> Document:
        table = self.table
        if any(v.text for v in self.views):
            table = table.assign(shown=[v.text for v in self.views])
        return Document(
            "samples", self.caption(), (Table(table, "", max(12, len(table))), *pictures(self.chart(), self.views))
        )


def samples(flow: Workflow, numbers: int | Iterable[int], show: Callable[[Any], Any] | None = None) -> Samples:
    """Calibration samples by their numbers, as findings name them: counted over all batches, from 0.

    Args:
        numbers: one or several.
        show: as for `Workflow.worst_samples`.

    Raises:
        InputError: not whole numbers, or none of the samples has that number.

    >>> import qnb
    >>> demo = qnb.demo.digits()
    >>> flow = qnb.Workflow(demo.model, demo.calibration, demo.evaluate)
    >>> flow.samples([0, 37]).table["sample"].tolist()
    [0, 37]
    """
    check_has_data(flow, OPERATION)
    wanted = list(numbers) if isinstance(numbers, Iterable) else [numbers]
    for number in wanted:
        whole(OPERATION, "numbers", number, 0)
    if not wanted:
        raise InputError(OPERATION, f"numbers={short(numbers)}", "give numbers of samples, counted from 0")
    found, seen = _picked(flow, set(wanted))
    missing = next((n for n in wanted if n not in found), None)
    if missing is not None:
        received = f"sample {missing} of {counted(seen)} calibration samples"
        raise InputError(OPERATION, received, f"samples are counted from 0 to {seen - 1}")
    inputs = tuple(found[n] for n in wanted)
    views = tuple(view(x, show, OPERATION, f"sample {n}") for x, n in zip(inputs, wanted, strict=True))
    rows = [(n, *_figures(x)) for n, x in zip(wanted, inputs, strict=True)]
    return Samples(pd.DataFrame(rows, columns=list(CALIBRATION_SAMPLES)), inputs, views)


def _picked(flow: Workflow, wanted: set[int]) -> tuple[dict[int, Any], int]:
    """Number to sample, and how many samples were looked at: as far as the last one that is wanted."""
    found, first, captured = {}, 0, flow.captured
    for batch in flow.batches:
        flat = captured.flatten(batch, OPERATION)
        count = sample_count(captured, flat)
        found |= {n: one(captured, flat, n - first, count) for n in wanted if first <= n < first + count}
        first += count
        if len(found) == len(wanted):
            break
    return found, first


def _figures(sample: Any) -> tuple[float, float, float]:
    """The least, the largest and the mean value of all its tensors together."""
    values = torch.cat(
        [x.detach().double().flatten().cpu() for x in tree_leaves(sample) if isinstance(x, torch.Tensor)]
    )
    if not len(values):
        return math.nan, math.nan, math.nan
    return float(values.min()), float(values.max()), float(values.mean())


def _label(row: Any) -> str:
    return f"sample {row.sample}<br>{row.min:.3g} to {row.max:.3g}"
