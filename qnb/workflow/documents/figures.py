"""Plotly figures in a cell and in a document. Charts load when they are drawn."""

from __future__ import annotations

import html
import json
from typing import TYPE_CHECKING, Any

from qnb.document import Figure
from qnb.measures import LayerProfile

if TYPE_CHECKING:
    import numpy as np
    import plotly.graph_objects as go


def figure_json(figure: go.Figure) -> dict[str, Any]:
    """A figure as Plotly's own MIME type takes it, as wide as its cell."""
    return json.loads(figure.to_json()) | {"config": {"responsive": True, "displaylogo": False}}  # pyright: ignore[reportArgumentType]


def figure_title(figure: go.Figure) -> str:
    """What a figure says, as plain text."""
    return html.unescape(figure.layout.title.text or "chart")  # pyright: ignore[reportAttributeAccessIssue]


def histogram(profile: LayerProfile, title: str) -> go.Figure:
    """A layer's values with its grid and clipped share, as a Plotly figure."""
    from qnb import charts

    return charts.layer_histogram(
        profile.histogram,
        layer=title,
        scale=profile.scale,
        low=profile.low,
        high=profile.high,
        clipped_fraction=profile.clipped_fraction,
    )


def distribution(profile: LayerProfile, title: str) -> tuple[go.Figure, go.Figure]:
    """A layer's values with its error over the same bins, and the error in bins of its own."""
    from qnb import charts

    figures = {"kurtosis": profile.kurtosis, "effective_bits": profile.effective_bits}
    values = charts.distribution(profile.distribution, layer=title, low=profile.low, high=profile.high, **figures)
    return values, charts.error_histogram(profile.errors, layer=title, scale=profile.scale)


def picture(values: np.ndarray) -> bytes:
    """A picture ``[channels, height, width]`` as a small PNG file."""
    from qnb.charts.pixels import png, to_pixels

    return png(to_pixels(values))


def figure(chart: go.Figure) -> Figure:
    """A Plotly figure as a block, with its picture."""
    from qnb.charts.svg.picture import svg

    return Figure(figure_json(chart), figure_title(chart), svg(chart))
