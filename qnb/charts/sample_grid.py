"""Input samples side by side: pictures, and signals as lines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from qnb.charts.frames import small
from qnb.charts.pixels import address
from qnb.charts.theme import PALETTE, empty, figure, plain
from qnb.errors import InputError

ACROSS, PITCH, ROW = 4, 1.35, 150
"""Samples in a row, from row to row in heights of a sample, and what a row needs in pixels."""
LINES, POINTS = 8, 256
"""Of a signal at most so many channels are drawn, and of each so many points."""
EDGE = 0.06
"""Of a cell, left free at each side."""


def sample_grid(samples: Sequence[bytes | np.ndarray], captions: Sequence[str], *, title: str = "") -> go.Figure:
    """Samples in rows of four, a caption over each.

    Args:
        samples: of each a picture as a PNG file, or a signal ``[channels, points]``. Signals are drawn from their
            smallest to their largest value; of more than 8 channels the first 8.
        captions: of each; ``<br>`` breaks lines.
        title: what the figure says.

    Raises:
        InputError: not as many captions as samples, or a sample that is neither.

    >>> sample_grid([np.zeros((1, 5))], ["sample 3"], title="Lowest SQNR").layout.annotations[0].text
    'sample 3'
    """
    if len(samples) != len(captions):
        received = f"{len(samples)} samples and {len(captions)} captions"
        raise InputError("charts.sample_grid", received, "give each sample its caption")
    if not samples:
        return empty("No samples to show.")
    across, rows = min(ACROSS, len(samples)), -(-len(samples) // ACROSS)
    chart = figure(title, "", "", 72 + ROW * rows, showlegend=False, dragmode=False)
    lines: dict[int, tuple[list, list]] = {}
    for i, (sample, caption) in enumerate(zip(samples, captions, strict=True)):
        left, bottom = i % ACROSS, -PITCH * (i // ACROSS) - PITCH
        text = "<br>".join(map(plain, caption.split("<br>")))
        place = {"x": left + 0.5, "y": bottom + 1, "xanchor": "center", "yanchor": "bottom", "showarrow": False}
        chart.add_annotation(text=text, font={"size": 11}, **place)
        if isinstance(sample, bytes):
            box = {"x": left + 0.5, "y": bottom + 0.5, "sizex": 1 - 2 * EDGE, "sizey": 1 - 2 * EDGE}
            place = {"xref": "x", "yref": "y", "xanchor": "center", "yanchor": "middle", "sizing": "contain"}
            chart.add_layout_image(source=address(sample), layer="above", **place, **box)
        elif isinstance(sample, np.ndarray) and sample.ndim == 2:
            _signal(lines, sample, left, bottom)
        else:
            received = f"a {type(sample).__name__} as a sample"
            raise InputError("charts.sample_grid", received, "give a PNG file or an array [channels, points]")
    for channel, (x, y) in lines.items():
        colour = PALETTE[channel % len(PALETTE)]
        chart.add_scatter(x=small(x), y=small(y), mode="lines", line={"width": 1, "color": colour}, hoverinfo="skip")
    hidden = {"visible": False, "fixedrange": True}
    chart.update_xaxes(range=[0, across], **hidden)
    return chart.update_yaxes(range=[-PITCH * rows, 0], **hidden).update_layout(
        margin={"l": 12, "r": 12, "t": 52, "b": 12}
    )


def _signal(lines: dict[int, tuple[list, list]], signal: np.ndarray, left: float, bottom: float) -> None:
    """Add a sample's channels to the lines of each; a gap follows them."""
    signal = signal[:LINES, :: -(-signal.shape[1] // POINTS) or 1].astype(np.float64)
    finite = signal[np.isfinite(signal)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    scale = (1 - 2 * EDGE) / (high - low) if high > low else 0.0
    middle = 0.0 if high > low else 0.5 - EDGE
    across = left + EDGE + (1 - 2 * EDGE) * np.linspace(0, 1, signal.shape[1])
    for channel, values in enumerate(signal):
        x, y = lines.setdefault(channel, ([], []))
        x += [*across, np.nan]
        y += [*(bottom + EDGE + middle + (values - low) * scale), np.nan]
