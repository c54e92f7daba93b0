"""What if the selected layers had other bits, or another calibration method? Try it, look, keep it or undo it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ipywidgets as widgets

from qnb.html import escape
from qnb.panels.base import line
from qnb.panels.widgets import CodeButton
from qnb.progress import Report
from qnb.ranges import RULES

if TYPE_CHECKING:
    from qnb.workflow.recovery.what_if import WhatIf
    from qnb.workflow.run import Run

SAME = "unchanged"
PRECISIONS = ("w16a16", "w8a16", "w8a8", "w4a16", "w4a8", "fp16", "fp32")


class WhatIfBar:
    """Drives `qnb.workflow.recovery.what_if.WhatIf`.

    Args:
        panel: the `LayerExplorer` it belongs to.
    """

    def __init__(self, panel):
        self.panel = panel
        self.trial: WhatIf | None = None
        self.what = widgets.HTML()
        self.precision, self.rule = (
            widgets.Dropdown(
                options=[SAME, *choices],
                description=text,
                style={"description_width": "initial"},
                layout=widgets.Layout(width="auto", min_width="150px"),
            )
            for text, choices in (("precision", PRECISIONS), ("ranges", RULES))
        )
        self.tries = panel.button("Try", self._try, "See at once what it changes")
        self.undo = panel.button("Undo", self._undo, "Take the last change back")
        self.keep = panel.button("Keep as a run", self._keep, "Evaluate it in full, beside the other runs")
        self.code = CodeButton()
        self.result = widgets.HTML()
        controls = line(self.what, self.precision, self.rule, self.tries, self.undo, self.keep, self.code)
        edge = widgets.Layout(width="100%", border_top="1px solid rgba(121,121,121,.4)", padding="6px 0 0")
        self.widget = widgets.VBox([controls, self.result], layout=edge)

    def draw(self, run: Run) -> None:
        flow = self.panel.flow
        if self.trial is not None and self.trial.run is not run:
            self.trial = None
        layers = flow.selection.layers
        named = escape(layers[0]) if len(layers) == 1 else f"{len(layers)} layers"
        self.what.value = f"<span>What if <b>{named if layers else 'a layer'}</b> had</span>"
        changes = self.trial.changes if self.trial else ()
        busy = flow.job is not None and flow.job.running
        self.tries.disabled = busy or not layers or flow.model is None
        self.undo.disabled = self.keep.disabled = busy or not changes
        self.code.code = self.trial.code if changes else ""
        said = "".join(f"<li>{escape(change)}</li>" for change in changes)
        result = f"<ol style='margin:2px 0'>{said}</ol><b>{escape(self.trial.sentence())}</b>" if changes else ""
        self.result.value = f'<div role="status">{result}</div>'

    def _try(self) -> None:
        flow, layers = self.panel.flow, list(self.panel.flow.selection.layers)
        chosen = {"precision": self.precision.value, "calibration_method": self.rule.value}
        given = {k: v for k, v in chosen.items() if v != SAME}
        trial = self.trial or flow.what_if(flow.selection.run)

        def work(report: Report):
            trial.change(layers, progress=report, **given)
            self.trial = trial

        flow.jobs.start(f"what if {layers[0]}{' and others' * (len(layers) > 1)}", work)

    def _undo(self) -> None:
        self.trial.undo()
        self.panel.refresh()

    def _keep(self) -> None:
        trial = self.trial
        self.panel.note(trial.code)
        flow = self.panel.flow
        flow.submit(flow.run, trial.run.precision, **trial.arguments())
