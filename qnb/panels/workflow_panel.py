"""Workflow panel: the ladder of stages, all runs as chart and table, the next step; with Run and Cancel."""

from __future__ import annotations

from html import unescape

import ipywidgets as widgets

from qnb import charts
from qnb.document import Document
from qnb.html import escape
from qnb.panels.base import Panel, columns, heading, line
from qnb.panels.widgets import CodeButton, Grid, Plot
from qnb.workflow import documents, ladder
from qnb.workflow.advice import FOLDER, deploy_code, next_steps, recover_code, run_code
from qnb.workflow.recover import AUTO
from qnb.workflow.verdict import FAIL, UNDECIDED

REDUCED = ("w8a16", "w8a8", "w4a16", "w4a8")
"""Offered in the field of the Reduce stage; any other precision can be typed there."""


class WorkflowPanel(Panel):
    """``flow.panel()``: see the module's docstring.

    Args:
        flow: a `qnb.Workflow`.
    """

    def build(self) -> list[widgets.Widget]:
        self.head = widgets.HTML()
        self.stages = {name: widgets.HTML(layout=widgets.Layout(flex="0 1 560px", min_width="0"))
                       for name in ladder.TITLES}  # fmt: skip
        self.precision = widgets.Combobox(options=REDUCED, placeholder="w8a16", ensure_option=False,
                                          description_allow_html=False, layout=widgets.Layout(width="110px"),
                                          tooltip="Precision to reduce to, any w{2..16}a{4..16}")  # fmt: skip
        self.precision.add_class("qnb-precision")
        self.run_buttons = [
            self.button("Run", self._check, "Check the model"),
            self.button("Run", lambda: self._run({"precision": "fp16"}), "Run FP16"),
            self.button("Run", lambda: self._run({"precision": "w16a16"}), "Run W16A16, the control"),
            self.button("Run", self._reduce, "Run the precision in the field"),
        ]
        self.deploy_button = self.button("Deploy", self._deploy, f"Take the smallest run within tolerance to {FOLDER}/")
        self.recover_button = self.button("Recover", self._recover,
                                          "Techniques in rising effort, for the first run that is not within tolerance")
        self.plot = Plot(on_click=lambda message: self.do(lambda: self._select(unescape(message.get("text", "")))))
        self.grid = Grid(label="runs", empty="No run yet", height=240)
        self.grid.observe(lambda change: self.do(lambda: self._select(*change["new"][:1])), "selected")
        self.next_text = widgets.HTML(layout=widgets.Layout(flex="1 1 320px", min_width="0"))
        self.next_button = self.button("Run next", self._run_next, button_style="primary")
        self.next_code = CodeButton()
        self.results = columns(self.plot, self.grid, least="440px")
        return [self.head, self._ladder(), self.results, line(self.next_button, self.next_code, self.next_text)]

    def draw(self) -> None:
        flow = self.flow
        self.head.value = heading(*_title(flow))
        for stage in ladder.stages(flow):
            self.stages[stage.stage].value = _stage(stage)
        self.results.layout.display = "flex" if flow.runs else "none"
        if flow.runs:
            self.plot.draw(charts.summary(flow.summary(), tolerance=flow.tolerance, selected=flow.selection.run))
            table = documents.runs_table(flow)
            self.grid.fill(table.frame.drop(columns="worst_own_sqnr_db"), "run", table.formats)
            self.grid.selected = [flow.selection.run] if flow.selection.run else []
        self._draw_next()
        busy = flow.model is None or (flow.job is not None and flow.job.running)
        for button in self.run_buttons:
            button.disabled = busy
        self.recover_button.disabled = busy or self._lost() is None
        self.deploy_button.disabled = busy or ladder.best(flow) is None
        self.next_button.disabled = busy or not self._action()

    def document(self) -> Document:
        return documents.panel(self.flow)

    def _ladder(self) -> widgets.Widget:
        check, fp16, w16a16, reduce = self.run_buttons
        tools = {"check": (check,), "fp16": (fp16,), "w16a16": (w16a16,), "reduce": (self.precision, reduce),
                 "restore": (self.recover_button,), "deploy": (self.deploy_button,)}  # fmt: skip
        rows = []
        for name, text in self.stages.items():
            rows.append(line(text, *tools.get(name, ()), wrap=False))
        return widgets.VBox(rows, layout=widgets.Layout(width="100%"))

    def _draw_next(self) -> None:
        found = next_steps(self.flow)
        self.advice = next((a for a in found if self._action_of(a)), found[0])
        self.next_code.code = self.advice.code
        said = [found[0], *([] if self.advice is found[0] else [self.advice])]  # the first may need a person
        self.next_text.value = "".join(f"<div><b>Next: {escape(a.what)}.</b> {escape(a.why)}.</div>" for a in said)

    def _action(self):
        return self._action_of(self.advice)

    def _action_of(self, advice):
        """What Run next does; None where the advice is not a step to run."""
        if advice.run is not None:
            return lambda: self._run(advice.run)
        if advice.recover is not None:
            return lambda: self._recover(advice.recover)
        if advice.deploy is not None:
            return lambda: self._deploy(advice.deploy)
        return self._check if advice.code.endswith(".check()") else None

    def _run_next(self) -> None:
        action = self._action()
        if action is not None:
            action()

    def _check(self) -> None:
        self.flow.start("flow.check()", lambda report: self.flow.check())
        self.note(f"{self.flow.variable}.check()")

    def _reduce(self) -> None:
        self._run({"precision": self.precision.value.strip() or self.precision.placeholder})

    def _run(self, arguments: dict) -> None:
        self.flow.submit(**arguments)
        self.note(run_code(self.flow.variable, arguments))

    def _lost(self) -> str | None:
        """The first reduced run that is not within tolerance."""
        lost = (r for r in self.flow.runs.values() if r.verdict.state in (FAIL, UNDECIDED))
        return next((r.name for r in lost if ladder.stage_of(r) == "reduce"), None)

    def _recover(self, order: dict | None = None) -> None:
        order = order or {"precision": self._lost(), "methods": AUTO}
        self.flow.submit_recover(**order)
        self.note(recover_code(self.flow.variable, order["precision"], (order["methods"],)))

    def _deploy(self, order: dict | None = None) -> None:
        flow, order = self.flow, order or {"name": ladder.best(self.flow).name, "folder": FOLDER}
        flow.start(f"flow.deploy({order['name']!r})", lambda report: flow.deploy(**order, progress=report))
        self.note(deploy_code(flow.variable, order))

    def _select(self, name: str | None = None) -> None:
        if name in self.flow:
            self.flow.selection.run = name


def _title(flow) -> tuple[str, str]:
    metric = f", FP32 metric {flow['fp32'].score.value:.4g}" if "fp32" in flow else ""
    return documents.model_name(flow), f"for {flow.target.name}{metric}, tolerance {flow.tolerance:g}"


def _stage(stage: ladder.Stage) -> str:
    """A stage in one line: mark and name, its figures, what was found."""
    figures = " · ".join(filter(None, [
        stage.metric and f"metric {stage.metric}", stage.drop and f"drop {stage.drop}", stage.size]))  # fmt: skip
    state = ladder.WORDS[stage.state]
    return (f'<div style="line-height:1.35"><span style="display:inline-block;min-width:11.5em">{escape(stage.mark)} '
            f"<b>{escape(stage.title)}</b> {escape(state)}</span> {escape(figures)}"
            f'<div style="opacity:.85;font-size:12px">{escape(stage.text)}</div></div>')  # fmt: skip
