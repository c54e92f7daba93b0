"""The selected layer: its histogram and figures, and further views in tabs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ipywidgets as widgets

from qnb import charts, html
from qnb.charts.theme import empty
from qnb.columns import LAYER, OP, OWN_SQNR_DB, SQNR_DB
from qnb.document import Table
from qnb.modules import module_groups
from qnb.panels.base import columns
from qnb.panels.widgets import LayerTable, Plot
from qnb.workflow.documents import display
from qnb.workflow.documents import layers as layer_documents
from qnb.workflow.jobs.job import Job

if TYPE_CHECKING:
    from qnb.measures.layers.profile import LayerProfile
    from qnb.workflow.run import Run

SHOWN = [LAYER, OP, SQNR_DB, OWN_SQNR_DB, "saturated_fraction"]
TABS = ("Values", "Value by value", "Weight ranges", "Worst cases", "All layers")


class LayerViews:
    """Draws what is selected; only the tab in view.

    Args:
        panel: the `LayerExplorer` it belongs to.
    """

    def __init__(self, panel):
        self.panel = panel
        self.histogram, self.scatter, self.weights = Plot(), Plot(), Plot()
        self.figures, self.worst = widgets.HTML(), widgets.HTML()
        self.grid = LayerTable(label="layers", searchable=True, height=320)
        self.grid.observe(lambda change: panel.do(lambda: self._selected(change["new"])), "selected")
        self.grid.observe(lambda change: panel.refresh(), "folded")
        self.widget = widgets.Tab(
            [columns(self.histogram, self.figures, least="360px"), self.scatter, self.weights, self.worst, self.grid],
            titles=TABS,
            layout=widgets.Layout(width="100%"),
        )
        self.widget.observe(lambda change: panel.refresh(), "selected_index")
        self._filled, self._reading = None, None

    def draw(self, run: Run) -> None:
        self._fill(run)
        selection = self.panel.flow.selection
        self.grid.selected = list(selection.layers)
        tab = self.widget.selected_index
        if selection.layer is None:
            self.figures.value = html.paragraph("Choose a layer: click a bar, or use the arrow keys.")
            return
        profile = self._profile(run)
        if tab == 0:
            self.figures.value = html.table(layer_documents.layer_figures(self.panel.flow, selection.layer), 40)
            self.histogram.draw(
                empty(self._missing(run))
                if profile is None
                else display.histogram(profile, f"{run.name}, {profile.layer}")
            )
        elif profile is None and tab < 4:
            for plot in (self.scatter, self.weights):
                plot.draw(empty(self._missing(run)))
            self.worst.value = html.paragraph(self._missing(run))
        elif tab == 1:
            self.scatter.draw(charts.layer_scatter(profile.scatter, layer=f"{run.name}, {profile.layer}"))
        elif tab == 2:
            self.weights.draw(
                empty(f"{profile.layer} has no weights.")
                if profile.weights is None
                else charts.weight_ranges(profile.weights, layer=profile.layer)
            )
        elif tab == 3:
            self.worst.value = worst(profile)  # pyright: ignore[reportArgumentType]

    def _fill(self, run: Run) -> None:
        if self._filled is not run:
            self._filled = run
            frame = run.comparison[SHOWN]
            self.grid.fill(frame, LAYER, layer_documents.FORMS, module_groups(list(frame[LAYER])))  # pyright: ignore[reportArgumentType]

    def _profile(self, run: Run):
        """The layer's values, where they are known; else they are read, beside what the workflow may be doing."""
        flow = self.panel.flow
        if flow.profiles.of(run) is not None:
            return flow.profile(run.name)[flow.selection.layer]
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


def worst(profile: LayerProfile) -> str:
    """The worst channels and the worst input samples, side by side."""
    tables = [Table(profile.samples, "Input samples with the lowest SQNR", 12, layer_documents.FORMS)]
    if profile.channels is not None:
        tables.insert(0, Table(profile.channels, "Channels with the largest error", 12, layer_documents.FORMS))
    parts = "".join(f'<div style="flex:1 1 300px;min-width:0">{table.html()}</div>' for table in tables)
    return f'<div style="display:flex;flex-wrap:wrap;gap:4px 24px">{parts}</div>'
