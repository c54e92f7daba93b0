"""Mixed precision panel: the predicted front, measured points over it, a slider, bits per layer, Verify, Keep."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ipywidgets as widgets

from qnb import html
from qnb.document import Code, Document, Text
from qnb.html import escape
from qnb.panels.base import Panel, heading, line
from qnb.panels.widgets import CodeButton, Plot

if TYPE_CHECKING:
    from qnb.workflow.workflow import Workflow

COSTS = {"bit operations": "bops", "weight bytes": "weight_bytes"}
PROMISE = "one sensitivity pass, then the best mix of bits for every budget; some of the mixes are measured"


class MixedPrecisionPanel(Panel):
    """``flow.precision_panel()``: see the module's docstring.

    Args:
        flow: a `qnb.Workflow`.
        name: the run to start from; by default the last one searched, else the selected one, else the last.
    """

    def __init__(self, flow: Workflow, name: str | None = None):
        compared = flow.compared
        selected = flow.selection.run if flow.selection.run in compared else None
        self.name = (
            flow[name].name
            if name
            else next(reversed(flow.pareto_fronts), None) or selected or next(reversed(compared), None)
        )
        super().__init__(flow)

    def build(self) -> list[widgets.Widget]:
        self.head, self.caption = widgets.HTML(), widgets.HTML()
        auto = {"style": {"description_width": "initial"}, "layout": widgets.Layout(width="auto", min_width="150px")}
        self.run = widgets.Dropdown(description="Run", options=[""], **auto)
        self.run.observe(lambda change: self.do(lambda: self._choose_run(change["new"])), "value")
        self.cost = widgets.Dropdown(description="cost in", options=COSTS, **auto)
        self.search = self.button("Search", self._search, PROMISE, button_style="primary")
        self.slider = widgets.IntSlider(
            0, 0, 1, description="budget", continuous_update=True, readout=False, layout=widgets.Layout(width="360px")
        )
        self.slider.observe(lambda change: self.do(lambda: self._choose(change["new"])), "value")
        self.read = widgets.HTML()
        self.verify = self.button("Verify", self._verify, "Measure this point with the metric")
        self.keep = self.button("Keep", self._keep, "Make a run of this point", button_style="success")
        self.code = CodeButton()
        self.plot = Plot(on_click=lambda message: self.do(lambda: self._clicked(message)))
        self.strip = Plot()
        controls = line(self.slider, self.read, self.verify, self.keep, self.code)
        self.found = widgets.VBox([self.caption, controls, self.plot, self.strip], layout=widgets.Layout(width="100%"))
        self.empty = widgets.HTML()
        return [self.head, line(self.run, self.cost, self.search), self.job.widget, self.empty, self.found]

    def draw(self) -> None:
        flow = self.flow
        names = flow.compared
        self.name = self.name if self.name in names else names[-1] if names else None
        self.run.options, self.run.value = names or [""], self.name or ""
        self.head.value = heading("Mixed precision", f"for {flow.target.name}, tolerance {flow.tolerance:g}")
        found = flow.pareto_fronts.get(self.name or "")
        self.found.layout.display = None if found else "none"
        self.empty.value = "" if found else html.paragraph(_empty(self.name))
        if found:
            self._draw(found)
        busy = flow.model is None or (flow.job is not None and flow.job.running)
        self.search.disabled = busy or self.name is None
        self.verify.disabled = self.keep.disabled = busy or found is None

    def _draw(self, found) -> None:
        self.slider.max, self.slider.value = len(found.front) - 1, found.chosen
        self.caption.value = f"<div>{escape(found.caption())}</div>"
        self.read.value = escape(f"{found.table.cost_fraction.iloc[found.chosen]:.0%}: {found.cost_text()}")
        self.code.code = found.code()
        self.plot.draw(found.chart())
        self.strip.draw(found.strip())

    def document(self) -> Document:
        found = self.flow.pareto_fronts.get(self.name or "")
        if found is not None:
            return found.document()
        if self.name is None:
            return Document("mixed-precision", "Mixed precision: no run yet", (Text(_empty(None)),))
        code = f"{self.flow.variable}.search_mixed_precision({self.name!r})"
        return Document("mixed-precision", f"{self.name}: no search yet", (Code(code, "Next: search", PROMISE),))

    def _choose_run(self, name: str) -> None:
        self.name = name
        self.refresh()

    def _choose(self, point: int) -> None:
        found = self.flow.pareto_fronts.get(self.name or "")
        if found is not None and point != found.chosen:
            found.choose(point)
            self.flow.changed.emit()

    def _clicked(self, message: dict) -> None:
        """A point of the front, which is the first curve."""
        point, found = message.get("place"), self.flow.pareto_fronts.get(self.name or "")
        if message.get("curve") == 0 and found is not None and point in range(len(found.front)):
            self._choose(point)  # pyright: ignore[reportArgumentType]

    def _search(self) -> None:
        flow, name = self.flow, self.name or ""
        options = {} if self.cost.value == "bops" else {"cost": self.cost.value}
        said = "".join(f", {k}={v!r}" for k, v in options.items())
        flow.jobs.start(
            f"flow.search_mixed_precision({name!r})",
            lambda report: flow.search_mixed_precision(name, progress=report, **options),
        )
        self.note(f"{flow.variable}.search_mixed_precision({name!r}{said})")

    def _verify(self) -> None:
        found = self.flow.pareto_fronts[self.name or ""]
        point = found.chosen
        self.flow.jobs.start(f"verify point {point}", lambda report: found.verify(point, progress=report))
        self.note(f"{self.flow.variable}.pareto_fronts[{self.name!r}].verify({point})")

    def _keep(self) -> None:
        found = self.flow.pareto_fronts[self.name or ""]
        point = found.chosen
        self.flow.jobs.start(f"keep point {point}", lambda report: found.keep(point, progress=report))
        self.note(found.code(point))


def _empty(name: str | None) -> str:
    if name is None:
        return "No run yet: run a step first, for example w4a8; a search starts from its ranges."
    return f"No search from {name} yet. Search: {PROMISE}."
