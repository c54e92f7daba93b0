"""Workflow panel: the ladder of stages, all runs as chart and table, the next step; with Run and Cancel."""

from __future__ import annotations

from html import unescape
from typing import TYPE_CHECKING

import ipywidgets as widgets

from qnb import charts, html
from qnb.document import Document
from qnb.html import escape
from qnb.panels.base import Panel, columns, heading, line
from qnb.panels.widgets import CodeButton, LayerTable, Plot
from qnb.text import metric_text
from qnb.workflow.documents import workflow as documents
from qnb.workflow.guidance import stages
from qnb.workflow.guidance.next_step import FOLDER, deploy_code, recover_code, run_code
from qnb.workflow.guidance.next_steps import next_steps
from qnb.workflow.recovery.recover import AUTO
from qnb.workflow.verdict import FAIL, UNCLEAR

if TYPE_CHECKING:
    from qnb.workflow.guidance.next_step import NextStep
    from qnb.workflow.workflow import Workflow

REDUCED = ("w8a16", "w8a8", "w4a16", "w4a8")
"""Offered in the field of the Reduce stage; any other precision can be typed there."""

FROM_FILE = (
    "This workflow was loaded from a file. To run more steps: qnb.load(path, model=..., calibration=..., evaluate=...)."
)


class WorkflowPanel(Panel):
    """``flow.panel()``: see the module's docstring.

    Args:
        flow: a `qnb.Workflow`.
    """

    def build(self) -> list[widgets.Widget]:
        self.head = widgets.HTML()
        self.stages = {
            name: widgets.HTML(layout=widgets.Layout(flex="0 1 560px", min_width="0")) for name in stages.TITLES
        }
        self.precision = widgets.Combobox(
            options=REDUCED,
            placeholder="w8a16",
            ensure_option=False,
            description_allow_html=False,
            layout=widgets.Layout(width="110px"),
            tooltip="Precision to reduce to, any w{2..16}a{4..16}",
        )
        self.precision.add_class("qnb-precision")
        self.run_buttons = [
            self.button("Run", self._check, "Check the model"),
            self.button("Run", lambda: self._run({"precision": "fp16"}), "Run FP16"),
            self.button("Run", lambda: self._run({"precision": "w16a16"}), "Run W16A16, the baseline"),
            self.button("Run", self._reduce, "Run the precision in the field"),
        ]
        self.deploy_button = self.button(
            "Deploy", self._deploy, f"Deploy the smallest run within tolerance to {FOLDER}/"
        )
        self.recover_button = self.button(
            "Recover",
            self._recover,
            "Try recovery methods, the most promising first, on the first run that does not pass",
        )
        self.plot = Plot(on_click=lambda message: self.do(lambda: self._select(unescape(message.get("text", "")))))
        self.grid = LayerTable(label="runs", empty="No run yet", height=240)
        self.grid.observe(lambda change: self.do(lambda: self._select(*change["new"][:1])), "selected")
        self.next_button = self.button("Run next", self._run_next, button_style="primary")
        self.steps = [NextLine(), NextLine()]
        self.results = columns(self.plot, self.grid, least="440px")
        return [self.head, self._ladder(), self.results, *(step.widget for step in self.steps)]

    def draw(self) -> None:
        flow = self.flow
        self.head.value = heading(*_title(flow))
        for stage in stages.stages(flow):
            self.stages[stage.stage].value = _stage(stage)
        self.results.layout.display = "flex" if flow.runs else "none"
        if flow.runs:
            self.plot.draw(charts.summary(flow.summary(), tolerance=flow.tolerance, selected=flow.selection.run))
            table = documents.runs_table(flow)
            self.grid.fill(table.frame.drop(columns="weakest_own_sqnr_db"), "run", table.formats)
            self.grid.selected = [flow.selection.run] if flow.selection.run else []
        self._draw_next()
        busy = flow.model is None or (flow.job is not None and flow.job.running)
        for button in self.run_buttons:
            button.disabled = busy
        self.recover_button.disabled = busy or self._lost() is None
        self.deploy_button.disabled = busy or stages.best(flow) is None
        self.next_button.disabled = busy
        self.next_button.layout.display = None if self._action() else "none"

    def document(self) -> Document:
        return documents.panel(self.flow)

    def _ladder(self) -> widgets.Widget:
        check, fp16, w16a16, reduce = self.run_buttons
        tools = {
            "check": (check,),
            "fp16": (fp16,),
            "w16a16": (w16a16,),
            "reduce": (self.precision, reduce),
            "restore": (self.recover_button,),
            "deploy": (self.deploy_button,),
        }
        rows = []
        for name, text in self.stages.items():
            rows.append(line(text, *tools.get(name, ()), wrap=False))
        return widgets.VBox(rows, layout=widgets.Layout(width="100%"))

    def _draw_next(self) -> None:
        """The first two steps, a line each; the button stands beside the one that it does."""
        found = next_steps(self.flow)
        self.next_step = next((a for a in found if self._action_of(a)), found[0])
        shown = [found[0], self.next_step] if self.next_step is not found[0] else found[:2]
        for index, step in enumerate(self.steps):
            next_step = shown[index] if index < len(shown) else None
            step.show("Or" if index else "Next", next_step, [self.next_button] if next_step is self.next_step else [])
        if self.flow.model is None:
            self.steps[0].text.value += html.paragraph(FROM_FILE)

    def _action(self):
        return self._action_of(self.next_step)

    def _action_of(self, next_step):
        """What Run next does; None where the next step is not one to run."""
        if next_step.run is not None:
            return lambda: self._run(next_step.run)
        if next_step.recover is not None:
            return lambda: self._recover(next_step.recover)
        if next_step.deploy is not None:
            return lambda: self._deploy(next_step.deploy)
        calls = {".check()": self._check, ".keep()": self._keep, ".discard()": self.flow.discard}
        return next((action for call, action in calls.items() if next_step.code.endswith(call)), None)

    def _run_next(self) -> None:
        action = self._action()
        if action is not None:
            action()

    def _check(self) -> None:
        self.flow.submit(self.flow.check)
        self.note(f"{self.flow.variable}.check()")

    def _keep(self) -> None:
        self.flow.keep()

    def _reduce(self) -> None:
        self._run({"precision": self.precision.value.strip() or self.precision.placeholder})

    def _run(self, arguments: dict) -> None:
        self.flow.submit(self.flow.run, **arguments)
        self.note(run_code(self.flow.variable, arguments))

    def _lost(self) -> str | None:
        """The first reduced run that is not within tolerance."""
        lost = (r for r in self.flow.runs.values() if r.verdict.status in (FAIL, UNCLEAR))
        return next((r.name for r in lost if stages.stage_of(r) == "reduce"), None)

    def _recover(self, order: dict | None = None) -> None:
        order = order or {"run": self._lost(), "methods": AUTO}
        self.flow.submit(self.flow.recover, **order)
        self.note(recover_code(self.flow.variable, order["run"], (order["methods"],)))

    def _deploy(self, order: dict | None = None) -> None:
        flow, order = self.flow, order or {"run": stages.best(self.flow).name, "folder": FOLDER}
        flow.submit(flow.deploy, **order)
        self.note(deploy_code(flow.variable, order))

    def _select(self, name: str | None = None) -> None:
        if name in self.flow:
            self.flow.selection.run = name


class NextLine:
    """A step in the panel's last lines: what to do, why, and its code."""

    def __init__(self):
        self.text = widgets.HTML(layout=widgets.Layout(flex="1 1 320px", min_width="0"))
        self.code = CodeButton()
        self.widget = line()

    def show(self, word: str, next_step: NextStep | None, buttons: list[widgets.Widget]) -> None:
        """``next_step`` with its buttons; nothing where it is None."""
        self.widget.children = (*buttons, self.code, self.text)
        self.widget.layout.display = "none" if next_step is None else "flex"
        self.code.code = "" if next_step is None else next_step.code
        self.code.layout.display = None if self.code.code else "none"
        if next_step is not None:
            stop = "" if next_step.reason[-1:] in ".?!" else "."
            self.text.value = f"<div><b>{word}: {escape(next_step.title)}.</b> {escape(next_step.reason)}{stop}</div>"


def _title(flow: Workflow) -> tuple[str, str]:
    metric = f", FP32 metric {metric_text(flow['fp32'].score.value)}" if "fp32" in flow else ""
    return documents.model_name(flow), f"for {flow.target.name}{metric}, tolerance {flow.tolerance:g}"


def _stage(stage: stages.Stage) -> str:
    """A stage in one line: mark and name, its figures, what was found."""
    figures = " · ".join(
        filter(None, [stage.metric and f"metric {stage.metric}", stage.drop and f"drop {stage.drop}", stage.size])
    )
    status = stages.WORDS[stage.status]
    return (
        f'<div style="line-height:1.35"><span style="display:inline-block;min-width:11.5em">{escape(stage.mark)} '
        f"<b>{escape(stage.title)}</b> {escape(status)}</span> {escape(figures)}"
        f'<div style="opacity:.85;font-size:12px">{escape(stage.text)}</div></div>'
    )
