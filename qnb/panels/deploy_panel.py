"""Deploy panel: a run's files for the device, run on real runtimes and compared with the simulation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ipywidgets as widgets

from qnb import charts, html, runtimes
from qnb.document import Document
from qnb.errors import InputError
from qnb.html import TONES, escape
from qnb.panels.base import Panel, heading, line
from qnb.panels.deploy_views import DeployViews
from qnb.panels.widgets import Plot
from qnb.runtimes import RUNTIMES
from qnb.workflow.deployment.order import default_soc
from qnb.workflow.documents import deployment as deploy_documents
from qnb.workflow.guidance import stages
from qnb.workflow.guidance.next_step import FOLDER, deploy_code

if TYPE_CHECKING:
    from qnb.workflow.deployment.result import Deployment
    from qnb.workflow.workflow import Workflow

MEASURES = {"Model size": "size_bytes", "File size": "file_bytes", "Latency": "latency_ms"}


class DeployPanel(Panel):
    """``flow.deploy_panel()``: see the module's docstring.

    Args:
        flow: a `qnb.Workflow`.
        name: the run to begin with; by default the smallest within tolerance, else the selected one, else the last.
    """

    def __init__(self, flow: Workflow, name: str | None = None):
        best = stages.best(flow)
        self.name = (
            flow[name].name if name else best.name if best else flow.selection.run or next(reversed(flow.runs), None)
        )
        super().__init__(flow)

    def build(self) -> list[widgets.Widget]:
        self.head, self.caption = widgets.HTML(), widgets.HTML()
        self.run = _field(widgets.Dropdown, "Run", "150px", options=[""])
        self.run.observe(lambda change: self.do(lambda: self._choose(change["new"])), "value")
        self.folder = _field(widgets.Text, "into folder", "200px", value=FOLDER, continuous_update=False)
        self.soc = _field(widgets.Dropdown, "for", "300px", options=_socs(self.flow.target))
        self.soc.value = default_soc(self.flow.target).soc
        self.boxes = {name: self._box(RUNTIMES[name]) for name in RUNTIMES}
        found = {RUNTIMES[name].title: RUNTIMES[name].available() for name in RUNTIMES}
        missing = "; ".join(f"{title} is not available: {escape(why)}" for title, why in found.items() if why)
        self.why = widgets.HTML(f"<span>{missing}</span>" if missing else "")
        self.deploy = self.button("Deploy", self._deploy, "Write the files, run them, compare", button_style="primary")
        self.measure = self.button(
            "Measure size and latency",
            self._measure,
            "File sizes, and the latency of the runs that ONNX Runtime computes as a device would",
        )
        self.views = DeployViews(self)
        self.plot = Plot()
        self.by = widgets.ToggleButtons(
            options=MEASURES, layout=widgets.Layout(width="auto"), style={"button_width": "auto"}
        )
        self.by.observe(lambda change: self.refresh(), "value")
        self.runs = widgets.VBox([line(self.by, self.measure), self.plot], layout=widgets.Layout(width="100%"))
        return [
            self.head,
            line(self.run, self.folder, self.soc),
            line(widgets.Label("Run it on"), *self.boxes.values(), self.why, self.deploy),
            self.job.widget,
            self.caption,
            self.views.widget,
            self.runs,
        ]

    def draw(self) -> None:
        flow = self.flow
        names = list(flow.runs)
        self.name = self.name if self.name in names else names[-1] if names else None
        self.run.options, self.run.value = names or [""], self.name or ""
        self.head.value = heading(
            f"Deploy for {flow.target.name}", "run the files on real runtimes and compare with the simulation"
        )
        deployed = flow.deployments.get(self.name or "")
        self.caption.value = _caption(deployed, self.name)  # pyright: ignore[reportArgumentType]
        self.views.draw(deployed)
        self.runs.layout.display = None if names else "none"
        if names:
            table = flow.summary()
            self.plot.draw(charts.summary(table, tolerance=flow.tolerance, selected=self.name, x=self.by.value))
        busy = flow.model is None or (flow.job is not None and flow.job.running)
        self.deploy.disabled = busy or self.name is None
        self.measure.disabled = busy or not names

    def _box(self, runtime) -> widgets.Checkbox:
        missing = runtime.available() is not None
        chosen = not missing and runtime.suits(self.flow.target)
        layout = {"width": "auto"}
        return widgets.Checkbox(chosen, description=runtime.title, disabled=missing, indent=False, layout=layout)

    def document(self) -> Document:
        return deploy_documents.panel(self.flow, self.name)

    def _choose(self, name: str) -> None:
        self.name = name
        self.refresh()

    def order(self) -> dict:
        """What `Workflow.deploy` is called with: only what differs from its defaults."""
        chosen = [n for n, box in self.boxes.items() if box.value]
        if not chosen:
            raise InputError("Deploy", "no runtime", "choose at least one to run the files on")
        if not self.folder.value.strip():
            raise InputError("Deploy", "no folder", f"name one, such as {FOLDER!r}")
        found = {"run": self.name, "folder": self.folder.value.strip()}
        usual = [name for name in RUNTIMES if RUNTIMES[name].suits(self.flow.target)]
        found |= {} if chosen == usual else {"runtimes": chosen}
        return found | ({} if self.soc.value == default_soc(self.flow.target).soc else {"soc": self.soc.value})

    def _deploy(self) -> None:
        order, flow = self.order(), self.flow
        flow.jobs.start(f"flow.deploy({self.name!r})", lambda report: flow.deploy(**order, progress=report))
        self.note(deploy_code(flow.variable, order))

    def _measure(self) -> None:
        flow = self.flow
        flow.jobs.start("flow.measure()", lambda report: flow.measure(progress=report))
        self.note(f"{flow.variable}.measure()")


def _field(kind, label: str, width: str, **traits):
    return kind(
        description=label,
        style={"description_width": "initial"},
        layout=widgets.Layout(width="auto", min_width=width),
        **traits,
    )


def _socs(target) -> list[tuple[str, str]]:
    """(what to read, name): those of the target's architecture first."""
    table = runtimes.socs()
    table = table.assign(other=table.target != target.name).sort_values("other", kind="stable")
    return [(f"{row.soc}: {row.name}, v{row.htp_arch}", row.soc) for row in table.itertuples(index=False)]  # pyright: ignore[reportAttributeAccessIssue]


def _caption(deployed: Deployment, name: str | None) -> str:
    """The answer in a line; before there is one, what the button will do."""
    if deployed is not None:
        tone, words = deploy_documents.tone(deployed), deploy_documents.title(deployed)
        role, background = ("alert", "background:rgba(213,94,0,.12);") if tone == "bad" else ("status", "")
        more = "".join(html.paragraph(text) for text in deploy_documents.failure(deployed))
        return (
            f'<div role="{role}" style="border-left:4px solid {TONES[tone]};{background}padding:2px 0 2px 10px;'
            f'font-size:14px"><b>{escape(words)}</b>{more}</div>'
        )
    if name is None:
        return html.paragraph("No run yet: run a step first, then deploy it.")
    return html.paragraph(f"{name} is not deployed yet. Deploy: {deploy_documents.PROMISE}.")
