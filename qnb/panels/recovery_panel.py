"""Recovery panel: choose methods, follow the loss, compare layers before and after, keep or discard the new run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ipywidgets as widgets

from qnb import html
from qnb.document import Document
from qnb.errors import InputError
from qnb.html import TONES, escape
from qnb.methods import METHODS
from qnb.panels.base import Panel, heading, line
from qnb.panels.recovery_views import RecoveryViews
from qnb.workflow.documents import recovery as documents
from qnb.workflow.guidance.next_step import recover_code
from qnb.workflow.recovery.recover import AUTO
from qnb.workflow.verdict import FAIL, UNCLEAR

if TYPE_CHECKING:
    from qnb.workflow.run import Run
    from qnb.workflow.workflow import Workflow


class RecoveryPanel(Panel):
    """``flow.recovery_panel()``: see the module's docstring.

    Args:
        flow: a `qnb.Workflow`.
        name: the run to start from; by default the selected one, else the first that is not within tolerance.
    """

    def __init__(self, flow: Workflow, name: str | None = None):
        self.name = flow[name].name if name else _default(flow)
        super().__init__(flow)

    def build(self) -> list[widgets.Widget]:
        self.head, self.caption = widgets.HTML(), widgets.HTML()
        self.run = widgets.Dropdown(
            description="Run",
            options=[""],
            style={"description_width": "initial"},
            layout=widgets.Layout(width="auto", min_width="150px"),
        )
        self.run.observe(lambda change: self.do(lambda: self._choose(change["new"])), "value")
        self.boxes = {
            row.name: widgets.Checkbox(
                False, description=row.title, indent=False, tooltip=row.summary, layout=widgets.Layout(width="auto")
            )
            for row in documents.in_order()
        }
        self.auto = self.button(
            "Auto",
            self._auto,
            "Try recovery methods, the most promising first, until the metric is within the tolerance",
            button_style="primary",
        )
        self.start = self.button("Recover", self._recover, "Apply the selected methods, in order")
        self.keep = self.button("Keep", self._keep, "Add it to the runs", button_style="success")
        self.discard = self.button("Discard", self._discard, "Drop it; the other runs do not change")
        self.decide = line(self.keep, self.discard)
        self.views = RecoveryViews(self)
        first, second = line(self.run, self.auto, widgets.Label("or choose:")), line(*self.boxes.values(), self.start)
        return [self.head, first, second, self.job.widget, self.caption, self.decide, self.views.widget]

    def draw(self) -> None:
        flow = self.flow
        names = flow.compared
        self.name = self.name if self.name in names else names[-1] if names else None
        self.run.options, self.run.value = names or [""], self.name or ""
        self.head.value = heading("Recover accuracy", f"for {flow.target.name}, tolerance {flow.tolerance:g}")
        self._draw_boxes()
        shown = self.shown
        self.caption.value = self._caption(shown)
        self.decide.layout.display = "flex" if flow.proposal is not None else "none"
        self.views.draw(shown)
        busy = flow.model is None or (flow.job is not None and flow.job.running)
        self.auto.disabled = self.start.disabled = busy or self.name is None
        self.keep.disabled = self.discard.disabled = busy

    def document(self) -> Document:
        return documents.panel(self.flow, self.name, self.shown)

    @property
    def shown(self) -> Run | None:
        """The proposal; else the chosen run, where it was recovered; else None."""
        if self.flow.proposal is not None:
            return self.flow.proposal
        run = self.flow.runs.get(self.name or "")
        return run if run is not None and run.recovery else None

    @property
    def chosen(self) -> tuple[str, ...]:
        return tuple(name for name, box in self.boxes.items() if box.value)

    def _draw_boxes(self) -> None:
        """Methods that a run has had cannot be chosen again."""
        applied = self.flow[self.name].sim.applied_methods if self.name else ()
        for name, box in self.boxes.items():
            box.disabled = METHODS[name].once and name in applied

    def _caption(self, shown) -> str:
        if self.name is None:
            return html.paragraph("No run yet: run a step first, for example w4a8, then recover its accuracy.")
        if shown is None:
            run = self.flow[self.name]
            return html.paragraph(f"{self.name} {run.verdict.text}. Recover: {documents.PROMISE}.")
        before = documents.before_of(self.flow, shown)
        words = documents.change(before, shown) if before is not None else shown.name
        tone = TONES[{"pass": "good", "fail": "bad", "unclear": "warn"}[shown.verdict.status]]
        asks = "Keep it?" if shown is self.flow.proposal else ""
        return (
            f'<div role="status" style="border-left:4px solid {tone};padding:2px 0 2px 10px;font-size:14px">'
            f"<b>{escape(words)}</b><br>{escape(shown.verdict.text)}. {asks}</div>"
        )

    def _choose(self, name: str) -> None:
        self.name = name
        self.refresh()

    def _auto(self) -> None:
        self._submit((AUTO,))

    def _recover(self) -> None:
        if not self.chosen:
            raise InputError("Recover", "no method selected", "select some, or press Auto")
        self._submit(self.chosen)

    def _submit(self, methods: tuple[str, ...]) -> None:
        flow = self.flow
        flow.submit(flow.recover, self.name, methods, keep=False)
        self.views.follow(flow.job)  # pyright: ignore[reportArgumentType]
        self.note(recover_code(flow.variable, self.name, methods))  # pyright: ignore[reportArgumentType]

    def _keep(self) -> None:
        kept = self.flow.keep()
        self.name = kept.name
        self.flow.selection.run = kept.name
        self.refresh()

    def _discard(self) -> None:
        self.flow.discard()


def _default(flow: Workflow) -> str | None:
    if flow.selection.run in flow.compared:
        return flow.selection.run
    lost = [n for n in flow.compared if flow[n].verdict.status in (FAIL, UNCLEAR)]
    return next(iter(lost), next(reversed(flow.compared), None))
