"""Tabs of the layer explorer: each shows the values of one layer in its own way. A new one is a class in `TABS`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ipywidgets as widgets

from qnb import charts, html
from qnb.charts.theme import empty, plain
from qnb.columns import LAYER
from qnb.document import Table
from qnb.measures import LayerProfile, has_tokens
from qnb.panels.base import columns
from qnb.panels.widgets import Plot
from qnb.registry import Registry
from qnb.workflow.documents import layers as layer_documents
from qnb.workflow.documents.figures import distribution, histogram

if TYPE_CHECKING:
    from qnb.workflow.workflow import Workflow


class LayerTab:
    """One tab; ``widget`` is what it shows."""

    widget: widgets.Widget

    @classmethod
    def suits(cls, flow: Workflow) -> bool:
        """Whether a workflow's layers have what the tab shows; where not, it is left out."""
        return True

    def draw(self, flow: Workflow, run: str, profile: LayerProfile) -> None:
        """Show a layer's values.

        Args:
            flow: the workflow.
            run: name of the run.
            profile: the layer's values in it.
        """
        raise NotImplementedError

    def missing(self, flow: Workflow, text: str) -> None:
        """Say why there are no values."""
        raise NotImplementedError


TABS: Registry[type[LayerTab]] = Registry("tab of the layer explorer")
"""Title to class, in the order of the tabs; the table of all layers follows them."""


@TABS.register("Values")
class Values(LayerTab):
    """The histogram, and the layer's figures."""

    def __init__(self):
        self.histogram, self.figures = Plot(), widgets.HTML()
        self.widget = columns(self.histogram, self.figures, least="360px")

    def draw(self, flow: Workflow, run: str, profile: LayerProfile) -> None:
        self._figures(flow)
        self.histogram.draw(histogram(profile, f"{run}, {profile.layer}"))

    def missing(self, flow: Workflow, text: str) -> None:
        self._figures(flow)
        self.histogram.draw(empty(text))

    def _figures(self, flow: Workflow) -> None:
        layer = flow.selection.layer
        self.figures.value = "" if layer is None else html.table(layer_documents.layer_figures(flow, layer), 40)


class _OneChart(LayerTab):
    def __init__(self):
        self.widget = self.plot = Plot()

    def missing(self, flow: Workflow, text: str) -> None:
        self.plot.draw(empty(text))


@TABS.register("Distribution")
class Distribution(LayerTab):
    """FP32, QuantSim and the error, their figures, and the channels and tokens with the lowest SQNR."""

    def __init__(self):
        self.values, self.errors, self.figures = Plot(), Plot(), widgets.HTML()
        self.widget = columns(widgets.VBox([self.values, self.errors]), self.figures, least="360px")

    def draw(self, flow: Workflow, run: str, profile: LayerProfile) -> None:
        for plot, chart in zip(
            (self.values, self.errors), distribution(profile, f"{run}, {profile.layer}"), strict=True
        ):
            plot.draw(chart)
        self.figures.value = "".join(block.html() for block in layer_documents.distribution(profile))

    def missing(self, flow: Workflow, text: str) -> None:
        self.values.draw(empty(text))
        self.errors.draw(empty(""))
        self.figures.value = ""


@TABS.register("FP32 vs quantized")
class Scatter(_OneChart):
    """FP32 against QuantSim, a point per value."""

    def draw(self, flow: Workflow, run: str, profile: LayerProfile) -> None:
        self.plot.draw(charts.layer_scatter(profile.scatter, layer=f"{run}, {profile.layer}"))


@TABS.register("Weight ranges")
class WeightRanges(_OneChart):
    """The range of each output channel's weights."""

    def draw(self, flow: Workflow, run: str, profile: LayerProfile) -> None:
        weights, layer = profile.weights, profile.layer
        none = weights is None
        self.plot.draw(empty(f"{layer} has no weights.") if none else charts.weight_ranges(weights, layer=layer))


@TABS.register("Worst cases")
class WorstCases(LayerTab):
    """The worst channels and the worst input samples, side by side."""

    def __init__(self):
        self.widget = self.text = widgets.HTML()

    def draw(self, flow: Workflow, run: str, profile: LayerProfile) -> None:
        tables = [Table(profile.samples, "Input samples with the lowest SQNR", 12, layer_documents.FORMS)]
        if profile.channels is not None:
            tables.insert(0, Table(profile.channels, "Channels with the largest error", 12, layer_documents.FORMS))
        parts = "".join(f'<div style="flex:1 1 300px;min-width:0">{table.html()}</div>' for table in tables)
        self.text.value = f'<div style="display:flex;flex-wrap:wrap;gap:4px 24px">{parts}</div>'

    def missing(self, flow: Workflow, text: str) -> None:
        self.text.value = html.paragraph(text)


@TABS.register("Token positions")
class TokenPositions(_OneChart):
    """Accumulated and own SQNR at each token position, of models that take token ids or have attention."""

    @classmethod
    def suits(cls, flow: Workflow) -> bool:
        return flow.capture.known is not None and has_tokens(flow.capture.known)

    def draw(self, flow: Workflow, run: str, profile: LayerProfile) -> None:
        found = flow.sequences.get(run)
        if found is None:
            text = f"Not measured yet: {flow.variable}.sequence_errors({run!r}) compares token positions."
            return self.missing(flow, plain(text))
        rows = found.positions[found.positions[LAYER] == profile.layer]
        none = empty(plain(f"{profile.layer} has no token positions."))
        self.plot.draw(charts.position_sqnr(rows, title=run) if len(rows) else none)


@TABS.register("Calibration samples")
class CalibrationSamples(_OneChart):
    """The layer's range against the number of calibration samples, and how many are enough."""

    def draw(self, flow: Workflow, run: str, profile: LayerProfile) -> None:
        found = flow.calibration_curves.get(run)
        if found is None:
            text = f"Not measured yet: {flow.variable}.calibration_curve({run!r}) collects ranges by number of samples."
            return self.missing(flow, plain(text))
        rows = found.of_layer(profile.layer)
        none = empty(plain(f"The range of {profile.layer} does not follow from calibration data."))
        self.plot.draw(charts.calibration_range(rows, enough=found.enough, title=run) if len(rows) else none)
