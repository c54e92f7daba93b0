"""The selected layer in tabs, and all layers as a table. Values are read when somebody looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ipywidgets as widgets

from qnb.columns import LAYER, OP, OWN_SQNR_DB, SQNR_DB
from qnb.modules import module_groups
from qnb.panels.layer_tabs import TABS
from qnb.panels.widgets import LayerTable
from qnb.workflow.documents import layers as layer_documents
from qnb.workflow.jobs.job import Job
from qnb.workflow.run import Run

if TYPE_CHECKING:
    from qnb.panels.explorer import LayerExplorer

if TYPE_CHECKING:
    from qnb.workflow.run import Run

SHOWN = [LAYER, OP, SQNR_DB, OWN_SQNR_DB, "saturated_fraction"]
CHOOSE = "Choose a layer: click a bar, or use the arrow keys."


class LayerViews:
    """Draws what is selected; only the tab in view.

    Args:
        panel: the explorer it belongs to.
    """

    def __init__(self, panel: LayerExplorer):
        self.panel = panel
        self.tabs = {title: TABS[title]() for title in TABS if TABS[title].suits(panel.flow)}
        self.grid = LayerTable(label="layers", searchable=True, height=320)
        self.grid.observe(lambda change: panel.do(lambda: self._selected(change["new"])), "selected")
        self.grid.observe(lambda change: panel.refresh(), "folded")
        self.widget = widgets.Tab(
            [*(tab.widget for tab in self.tabs.values()), self.grid],
            titles=(*self.tabs, "All layers"),
            layout=widgets.Layout(width="100%"),
        )
        self.widget.observe(lambda change: panel.refresh(), "selected_index")
        self._filled: Run | None = None
        self._reading: Job | None = None

    def draw(self, run: Run) -> None:
        self._fill(run)
        flow, index = self.panel.flow, self.widget.selected_index or 0
        self.grid.selected = list(flow.selection.layers)
        if index >= len(self.tabs):
            return
        tab = [*self.tabs.values()][index]
        profile = None if flow.selection.layer is None else self._profile(run)
        if profile is not None:
            tab.draw(flow, run.name, profile)
        else:
            tab.missing(flow, CHOOSE if flow.selection.layer is None else self._missing(run))

    def _fill(self, run: Run) -> None:
        if self._filled is not run:
            self._filled = run
            frame = run.comparison[SHOWN]
            self.grid.fill(frame, LAYER, layer_documents.FORMS, module_groups(list(frame[LAYER])))  # pyright: ignore[reportArgumentType]

    def _profile(self, run: Run):
        """The layer's values, where they are known; else they are read, beside what the workflow may be doing."""
        flow = self.panel.flow
        if flow.profiles.of(run) is not None:
            return flow.profile(run.name)[flow.selection.layer or ""]
        if flow.model is not None and run.sim is not None and not (self._reading and self._reading.running):
            self._reading = Job(f"reading {run.name}", lambda report: flow.profile(run.name, report))
            self._reading.reported.connect(lambda job: self.panel.job.say(str(job.progress)))
            self._reading.finished.connect(self._read)
            self._reading.start()
        return None

    def _read(self, job: Job) -> None:
        self.panel.job.say("" if job.error is None else str(job.error), "neutral" if job.error is None else "bad")
        if job.error is None:
            self.panel.refresh()

    def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()

    def _missing(self, run: Run) -> str:
        if self.panel.flow.model is None:
            return "Values need the model and its data: qnb.load(path, model=..., calibration=..., evaluate=...)"
        return f"Reading the layers of {run.name}."

    def _selected(self, names: list[str]) -> None:
        if names:
            self.panel.flow.selection.layers = names
