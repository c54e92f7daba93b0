"""Layer explorer: the error of a run layer by layer, why it loses, the values of a layer, what-if with other bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ipywidgets as widgets

from qnb import charts
from qnb.columns import LAYER
from qnb.document import Document
from qnb.errors import InputError
from qnb.html import paragraph
from qnb.measures.layers.gains import gains
from qnb.measures.layers.groups import fold
from qnb.modules import module_groups
from qnb.panels.base import Panel, heading, line
from qnb.panels.diagnosis_bar import DiagnosisBar
from qnb.panels.layer_views import LayerViews
from qnb.panels.what_if_bar import WhatIfBar
from qnb.panels.widgets import Plot
from qnb.workflow.documents import layers as layer_documents

if TYPE_CHECKING:
    from qnb.workflow.run import Run
    from qnb.workflow.workflow import Workflow

NONE = "(none)"


class LayerExplorer(Panel):
    """``flow.explore("w4a8")``: see the module's docstring. What it shows follows ``flow.selection``.

    Args:
        flow: a `qnb.Workflow` with at least one run that was compared with FP32.
        names: one or two runs; by default the selected one, else the last.
    """

    def __init__(self, flow: Workflow, *names: str):
        compared = flow.compared
        if not compared:
            raise InputError("flow.explore", "a workflow without runs to explore", "run one: flow.run('w8a8')")
        if len(names) > 2:
            raise InputError("flow.explore", f"{len(names)} runs", "name one or two")
        for name in names:
            if flow[name].name not in compared:
                raise InputError("flow.explore", f"{name!r}, which is the reference itself", "name another run")
        selected = flow.selection.run if flow.selection.run in compared else compared[-1]
        run, compared_to = names[0] if names else selected, names[1] if len(names) == 2 else None
        keep = flow.selection.run == run and flow.selection.layers
        layers = flow.selection.layers if keep else (flow[run].weakest_layer[0],)
        if flow.model is not None:
            flow.profile(run)
        flow.selection.set(run=run, compared_to=compared_to, layers=layers)
        super().__init__(flow)

    def build(self) -> list[widgets.Widget]:
        self._drawn: tuple | None = None
        self._drawn_runs: tuple[Run | None, Run | None] = (None, None)
        self.head = widgets.HTML()
        self.run, self.compared_to = (
            widgets.Dropdown(
                options=[""],
                description=text,
                style={"description_width": "initial"},
                layout=widgets.Layout(width="auto", min_width="170px"),
            )
            for text in ("Run", "compared with")
        )
        self.modules = widgets.ToggleButton(
            False,
            description="One bar per module",
            layout={"width": "auto"},
            tooltip="Fold every module into one bar, or show every layer",
        )
        self.difference = widgets.ToggleButton(
            False,
            description="Difference",
            layout={"width": "auto", "display": "none"},
            tooltip="Bars of what each layer won or lost from one run to the other, or of both runs",
        )
        self.difference.observe(lambda change: self.do(self.refresh), "value")
        self.verdict = widgets.HTML()
        for control, name in ((self.run, "run"), (self.compared_to, "compared_to")):
            control.observe(lambda change, name=name: self.do(lambda: self._choose(name, change["new"])), "value")
        self.modules.observe(lambda change: self.do(lambda: self._fold_all(change["new"])), "value")
        self.bars = Plot(
            on_click=lambda message: self.do(lambda: self._clicked(message)),
            on_key=lambda key: self.do(lambda: self._key(key)),
        )
        self.diagnosis = DiagnosisBar(self)
        self.views = LayerViews(self)
        self.what_if = WhatIfBar(self)
        return [
            self.head,
            line(self.run, self.compared_to, self.difference, self.modules),
            self.verdict,
            self.bars,
            self.diagnosis.widget,
            self.views.widget,
            self.what_if.widget,
        ]

    def draw(self) -> None:
        selection = self.flow.selection
        if selection.run is None or self.flow[selection.run].comparison is None:
            return
        run = self.flow[selection.run]
        self._offer(run.name, selection.compared_to)
        self.head.value = heading(f"Layers of {run.name}", run.verdict.text)
        other = None if selection.compared_to is None else self.flow[selection.compared_to]
        runs, state = (run, other), (tuple(self.views.grid.folded), self.difference.value)
        if state != self._drawn or any(a is not b for a, b in zip(runs, self._drawn_runs, strict=True)):
            self._drawn_runs, self._drawn = runs, state
            self._draw_verdict(run, other)
            self._draw_bars(run, other)
        self.bars.marks = sorted({self.place[layer] for layer in selection.layers if layer in self.place})
        self.diagnosis.draw(run)
        self.views.draw(run)
        self.what_if.draw(run)

    def close(self) -> None:
        self.views.close()
        super().close()

    def document(self) -> Document:
        return layer_documents.explorer(self.flow)

    def _offer(self, run: str, compared_to: str | None) -> None:
        """The runs that can be chosen."""
        names = self.flow.compared
        self.run.options, self.run.value = names, run
        self.compared_to.options = [NONE, *(n for n in names if n != run)]
        self.compared_to.value = compared_to if compared_to in self.compared_to.options else NONE

    def _draw_verdict(self, run: Run, other: Run | None) -> None:
        """Which of two runs is better, in a sentence; the button for the difference is there with it."""
        two = other is not None and other.comparison is not None
        self.difference.layout.display = None if two else "none"
        self.verdict.value = paragraph(self.flow.diff(other.name, run.name).headline()) if two else ""

    def _draw_bars(self, run: Run, other: Run | None) -> None:
        folded = self.views.grid.folded
        frames = {r.name: fold(r.comparison, folded) for r in (run, other) if r is not None}  # pyright: ignore[reportArgumentType]
        if other is not None and self.difference.value:
            found = gains(frames[other.name], frames[run.name])
            self.bars.draw(charts.diff(found, names=(other.name, run.name)))
        else:
            found = frames[run.name]
            self.bars.draw(charts.layer_sqnr(frames, own=len(frames) == 1, modules=True))
        self.order = list(found[LAYER])
        at = {name: i for i, name in enumerate(self.order)}
        layers = list(run.comparison[LAYER])
        groups = module_groups(layers)
        self.place = {n: at[n] if n in at else at[g] for n, g in zip(layers, groups, strict=True)}

    def _choose(self, which: str, name: str) -> None:
        self.flow.selection.set(**{which: None if name == NONE else name})

    def _clicked(self, message: dict) -> None:
        place = message.get("place")
        if isinstance(place, int) and 0 <= place < len(self.order):
            self._take(self.order[place], bool(message.get("more")))

    def _take(self, name: str, more: bool = False) -> None:
        """Select a layer; a folded module opens instead."""
        if name in self.views.grid.folded:
            self.views.grid.folded = [g for g in self.views.grid.folded if g != name]
            return
        if name not in self.place:  # a layer of the other run only
            return
        layers = self.flow.selection.layers
        if more:
            self.flow.selection.layers = [n for n in layers if n != name] if name in layers else [*layers, name]
        else:
            self.flow.selection.layer = name

    def _key(self, key: str) -> None:
        at = self.place.get(self.flow.selection.layer or "", -1)
        last = len(self.order) - 1
        to = {"ArrowRight": min(at + 1, last), "ArrowLeft": max(at - 1, 0), "Home": 0, "End": last}.get(key)
        if to is not None and self.order[to] not in self.views.grid.folded:
            self.flow.selection.layer = self.order[to]

    def _fold_all(self, on: bool) -> None:
        groups = module_groups(list(self.flow[self.flow.selection.run].comparison[LAYER]))  # pyright: ignore[reportArgumentType]
        self.views.grid.folded = [g for g in dict.fromkeys(groups) if g] if on else []
