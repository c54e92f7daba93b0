"""The result of a deployment: files and runtimes, every layer, the commands for the device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ipywidgets as widgets

from qnb import html
from qnb.columns import LAYER, OP, SQNR_DB
from qnb.html import escape
from qnb.modules import module_groups
from qnb.panels.widgets import CodeButton, LayerTable, Plot
from qnb.workflow.documents import deployment as deploy_documents

if TYPE_CHECKING:
    from qnb.workflow.deployment.result import Deployment

TABS = ("Layer by layer", "At the outputs", "Table of layers", "Files", "On the device")
PRE = (
    "max-height:420px;overflow:auto;margin:4px 0;padding:6px 10px;background:rgba(128,128,128,.14);"
    "font-size:12px;line-height:1.4"
)


class DeployViews:
    """Tabs of one deployment; none is shown where there is no deployment.

    Args:
        panel: the `DeployPanel` it belongs to.
    """

    def __init__(self, panel):
        self.panel, self._drawn, self.order = panel, None, []
        self.table = widgets.HTML()
        self.bars = Plot(on_click=lambda message: panel.do(lambda: self._clicked(message)))
        self.layers = LayerTable(label="layers", searchable=True, height=320)
        self.layers.observe(lambda change: panel.do(lambda: self._select(change["new"])), "selected")
        self.files = LayerTable(label="files", height=240)
        self.commands, self.copy = widgets.HTML(), CodeButton(label="Copy commands", insert=False)
        device = widgets.VBox([self.copy, self.commands], layout=widgets.Layout(width="100%"))
        self.widget = widgets.Tab(
            [self.bars, self.table, self.layers, self.files, device], titles=TABS, layout=widgets.Layout(width="100%")
        )

    def draw(self, deployed: Deployment | None) -> None:
        self.widget.layout.display = "none" if deployed is None else None
        if deployed is None:
            return
        if deployed is not self._drawn:
            self._drawn = deployed
            self._fill(deployed)
        selection = self.panel.flow.selection
        chosen = [n for n in selection.layers if n in self.order] if selection.run == deployed.run else []
        self.layers.selected, self.bars.marks = chosen, sorted(self.order.index(n) for n in chosen)

    def _fill(self, deployed: Deployment) -> None:
        tables = (deploy_documents.runtimes(deployed), *deploy_documents.outputs(deployed))
        notes = "".join(html.paragraph(note) for note in deploy_documents.notes(deployed))
        self.table.value = "".join(table.html() for table in tables) + notes
        frame = deploy_documents.by_layer(deployed)
        self.order = list(frame[LAYER])
        forms = {c: deploy_documents.FORMS[SQNR_DB] for c in frame.columns if c not in (LAYER, OP)}
        self.layers.fill(frame, LAYER, forms, module_groups(self.order))
        self.bars.draw(deploy_documents.chart(deployed))
        files = deploy_documents.files(deployed)
        self.files.fill(files.frame, "file")
        self.commands.value = f'<pre style="{PRE}">{escape(deployed.commands.rstrip())}</pre>'
        self.copy.code = deployed.commands

    def _clicked(self, message: dict) -> None:
        place = message.get("place")
        if isinstance(place, int) and 0 <= place < len(self.order):
            self._select([self.order[place]])

    def _select(self, layers: list[str]) -> None:
        """In every panel of the workflow; FP32 has no layers to look into."""
        flow, run = self.panel.flow, self._drawn.run
        if layers and flow[run].comparison is not None:
            flow.selection.set(run=run, layers=layers)
