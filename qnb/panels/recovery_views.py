"""The result of a recovery: layers before and after, the history of its loss, the applied methods."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import ipywidgets as widgets
import pandas as pd

from qnb import charts
from qnb.columns import LAYER
from qnb.modules import module_groups
from qnb.panels.widgets import LayerTable, Plot
from qnb.text import decibel
from qnb.workflow.documents import recovery as documents

if TYPE_CHECKING:
    from qnb.workflow.jobs.job import Job
    from qnb.workflow.run import Run

TABS = ("Before and after", "History", "Applied methods", "Table of layers")
EVERY_S = 1.0
"""A history that grows is drawn again so often."""


class RecoveryViews:
    """Tabs of one recovered run; while one is being made, its history.

    Args:
        panel: the `RecoveryPanel` it belongs to.
    """

    def __init__(self, panel):
        self.panel, self._drawn, self._last = panel, None, 0.0
        self._lock = threading.Lock()
        self.bars, self.history = Plot(on_click=lambda message: panel.do(lambda: self._clicked(message))), Plot()
        self.which = widgets.Dropdown(description="of", options=[""], layout=widgets.Layout(width="auto"))
        self.which.observe(lambda change: panel.do(self._draw_history), "value")
        self.done = widgets.HTML()
        self.layers = LayerTable(label="layers", searchable=True, height=320)
        self.layers.observe(lambda change: panel.do(lambda: self._select(change["new"])), "selected")
        past = widgets.VBox([self.which, self.history], layout=widgets.Layout(width="100%"))
        self.widget = widgets.Tab(
            [self.bars, past, self.done, self.layers], titles=TABS, layout=widgets.Layout(width="100%")
        )

    def follow(self, job: Job) -> None:
        """Show a job's history as it grows."""
        self.widget.selected_index, self._last = 1, 0.0
        self.which.layout.display = "none"
        job.reported.connect(self._grow)

    def draw(self, run: Run | None) -> None:
        live = self._job() is not None
        self.widget.layout.display = None if run is not None or live else "none"
        if run is None or run is self._drawn:
            return
        self._drawn = run
        self.bars.draw(documents.chart(self.panel.flow, run))
        parts = documents.blocks(run)
        self.done.value = "".join(part.html() for part in parts)
        table = frame(documents.before_of(self.panel.flow, run), run)
        forms = dict.fromkeys([c for c in table.columns if c.endswith("_db")], decibel)
        self.layers.fill(table, LAYER, forms, module_groups(list(table[LAYER])))
        kept = [r.method for r in run.recovery if "loss" in r.history]
        self.which.options = kept or [""]
        self.which.value = (kept or [""])[-1]
        self.which.layout.display = None if len(kept) > 1 else "none"
        self._draw_history()
        self.widget.selected_index = 0

    def _draw_history(self) -> None:
        if self._drawn is None:
            return
        rows = [r for r in self._drawn.recovery if r.method == self.which.value]
        self.history.draw(
            charts.history(rows[-1].history, name=rows[-1].method) if rows else charts.history(pd.DataFrame())
        )

    def _grow(self, job: Job) -> None:
        """Called in the job's thread."""
        if self.panel.closed or not self._lock.acquire(blocking=False):
            return
        try:
            if job.history and time.monotonic() - self._last > EVERY_S:
                self._last = time.monotonic()
                rows = pd.DataFrame(list(job.history))
                if "loss" in rows:
                    self.widget.layout.display = None
                    self.history.draw(charts.history(rows))
        finally:
            self._lock.release()

    def _job(self):
        job = self.panel.flow.job
        return job if job is not None and job.running and job.history else None

    def _clicked(self, message: dict) -> None:
        place = message.get("place")
        rows = self.layers.rows
        if isinstance(place, int) and 0 <= place < len(rows):
            self._select([rows[place]["id"]])

    def _select(self, layers: list[str]) -> None:
        """In every panel of the workflow, once the run is kept."""
        flow = self.panel.flow
        if layers and self._drawn is not None and self._drawn.name in flow:
            flow.selection.set(run=self._drawn.name, layers=layers)


def frame(before: Run | None, after: Run) -> pd.DataFrame:
    """Own and accumulated SQNR of every layer, before and after."""
    now = after.comparison
    found = pd.DataFrame({LAYER: now[LAYER], "op": now["op"]})
    if before is not None:
        found["own_before_db"] = now[LAYER].map(before.comparison.set_index(LAYER).own_sqnr_db)
    found["own_after_db"] = now.own_sqnr_db
    if before is not None:
        found["before_db"] = now[LAYER].map(before.comparison.set_index(LAYER).sqnr_db)
    found["after_db"] = now.sqnr_db
    return found
