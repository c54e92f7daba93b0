"""Why does the run lose accuracy? Each finding with its evidence, and buttons: follow its remedy, show its layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from qnb.columns import LAYER
from qnb.document import Code
from qnb.html import escape
from qnb.panels.base import line
from qnb.panels.widgets import CodeButton
from qnb.workflow.diagnosis.finding import NOTHING
from qnb.workflow.guidance.next_step import literal, recover_code, run_code

if TYPE_CHECKING:
    from qnb.workflow.diagnosis.finding import Diagnosis, Finding
    from qnb.workflow.run import Run
    from qnb.workflow.workflow import Workflow

MOST = 12
"""Findings with a row of their own: each row is a handful of widgets, and a file may hold any number."""
TO_DO = "Diagnose names what costs accuracy, and tries on a copy what each remedy brings."
FROM_FILE = "To diagnose and to follow remedies: qnb.load(path, model=..., calibration=..., evaluate=...)."


class DiagnosisBar:
    """Drives `qnb.Workflow.diagnose`, and shows what it found of the selected run.

    Args:
        panel: the `LayerExplorer` it belongs to.
    """

    def __init__(self, panel):
        self.panel = panel
        self.start = panel.button("Diagnose", self._diagnose, "Find out why the selected run loses accuracy")
        self.code = CodeButton()
        self.said = widgets.HTML(layout=widgets.Layout(flex="1 1 320px", min_width="0"))
        self.rows: list[FindingRow] = []
        self.found = widgets.VBox(layout=widgets.Layout(width="100%", max_height="340px", overflow="auto"))
        edge = widgets.Layout(width="100%", border_top="1px solid rgba(121,121,121,.4)", padding="6px 0 0")
        self.widget = widgets.VBox([line(self.start, self.code, self.said), self.found], layout=edge)

    def draw(self, run: Run) -> None:
        flow = self.panel.flow
        found = flow.diagnoses.get(run.name)
        self.start.disabled = _busy(flow) or flow.model is None or run.sim is None
        self.code.code = _diagnose_code(flow, run.name)
        said = _sentence(found) + (f" {FROM_FILE}" if flow.model is None else "")
        self.said.value = f'<div role="status">{escape(said)}</div>'
        shown = list(zip(found, found.document().blocks, strict=True))[:MOST] if found else []
        if len(shown) > len(self.rows):
            self.rows += [FindingRow(self.panel) for _ in shown[len(self.rows) :]]
            self.found.children = [row.widget for row in self.rows]
        self.found.layout.display = None if shown else "none"
        for row, (finding, block) in zip(self.rows, shown, strict=False):
            row.draw(run, finding, block)
        for row in self.rows[len(shown) :]:
            row.widget.layout.display = "none"

    def _diagnose(self) -> None:
        flow = self.panel.flow
        name = flow.selection.run
        flow.submit(flow.diagnose, name)
        self.panel.note(_diagnose_code(flow, name))


class FindingRow:
    """A finding: its cause, evidence and gains, its code, and what can be done about it.

    Args:
        panel: the `LayerExplorer` it belongs to.
    """

    def __init__(self, panel):
        self.panel = panel
        self.run: Run | None = None
        self.finding: Finding | None = None
        self.follow = panel.button("Do it", self._follow)
        self.show = panel.button("Show layer", self._show, "Select the layer in every panel")
        self.code = CodeButton()
        self.text = widgets.HTML(layout=widgets.Layout(flex="1 1 320px", min_width="0"))
        self.widget = line(self.follow, self.show, self.code, self.text)

    def draw(self, run: Run, finding: Finding, block: Code) -> None:
        """Show a finding of a run; ``block`` is what the diagnosis as a document says of it."""
        flow = self.panel.flow
        self.run, self.finding = run, finding
        self.widget.layout.display = "flex"
        self.text.value = block.html()
        self.code.code = finding.code
        self.code.layout.display = None if finding.code else "none"
        done = finding.followed in flow.runs
        self.follow.disabled = done or flow.model is None or _busy(flow)
        self.follow.tooltip = FROM_FILE if flow.model is None else f"Done: {finding.followed}" if done else finding.code
        self.follow.layout.display = None if remedy(flow, finding) else "none"
        known = run.comparison is not None and set(finding.layers[:1]) & set(run.comparison[LAYER])
        self.show.layout.display = None if known else "none"

    def _follow(self) -> None:
        flow, finding = self.panel.flow, self.finding
        step, arguments = remedy(flow, finding)  # pyright: ignore[reportGeneralTypeIssues, reportArgumentType]
        flow.submit(step, **arguments)
        self.panel.note(finding.code)

    def _show(self) -> None:
        self.panel.flow.selection.set(run=self.run.name, layers=self.finding.layers[:1])


def remedy(flow: Workflow, finding: Finding) -> tuple[Callable, dict[str, Any]] | None:
    """The step that follows a finding, and its arguments; None where a person must do it.

    A file may hold other arguments than its line of code says: what is not shown is not run.
    """
    for step, said, arguments in ((flow.run, _run, finding.run), (flow.recover, _recover, finding.recover)):
        if arguments is not None:
            shown = finding.code.partition(".")[2]  # the workflow may have another variable by now
            return (step, arguments) if said(arguments).partition(".")[2] == shown else None
    return None


def _run(arguments: dict[str, Any]) -> str:
    return run_code("flow", arguments) if "precision" in arguments else ""


def _recover(arguments: dict[str, Any]) -> str:
    given = dict(arguments)
    run, methods = given.pop("run", None), given.pop("methods", ())
    methods = (methods,) if isinstance(methods, str) else methods
    return recover_code("flow", run, methods, given) if run and methods else ""


def _busy(flow: Workflow) -> bool:
    return flow.job is not None and flow.job.running


def _diagnose_code(flow: Workflow, name: str | None) -> str:
    return f"{flow.variable}.diagnose({literal(name)})"


def _sentence(found: Diagnosis | None) -> str:
    if found is None:
        return TO_DO
    if not len(found):
        return NOTHING
    said = "1 finding." if len(found) == 1 else f"{len(found)} findings, the largest measured gain first."
    return said + (f" The first {MOST} are here." if len(found) > MOST else "")
