"""How every chart looks: one small template, colours that read on a white and on a near-black page."""

from __future__ import annotations

import html
from typing import Any

import plotly.graph_objects as go

GREY = "#797979"
"""The grey whose contrast is the same on #ffffff and on #111111: 4.3 to 1."""
BLUE, ORANGE, GREEN, PURPLE = "#0072b2", "#c77f00", "#009e73", "#b8669a"
SKY, VERMILLION, YELLOW = "#2f96cf", "#d55e00", "#9a8c00"
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION, YELLOW)
"""Okabe and Ito's colour-blind-safe set (Color Universal Design, 2008), the light ones darkened until each has
a contrast of at least 3 to 1 on both pages."""
FP32, QUANTSIM, OWN, BAD = GREY, BLUE, ORANGE, VERMILLION
"""What a colour means in every chart."""
HEIGHT, TITLE = 360, 72
"""Of a figure in pixels, of a title in characters."""

_AXIS = {
    "gridcolor": "rgba(121,121,121,0.22)",
    "zerolinecolor": "rgba(121,121,121,0.6)",
    "zerolinewidth": 1,
    "linecolor": GREY,
    "automargin": True,
    "title": {"standoff": 10},
    "showspikes": False,  # Plotly draws them on a white ground
}
TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": GREY},
        "title": {
            "x": 0,
            "xref": "paper",
            "y": 1,
            "yref": "container",
            "yanchor": "top",
            "pad": {"t": 12},
            "font": {"size": 14, "weight": 600},
            "subtitle": {"font": {"size": 12}},
        },
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "colorway": list(PALETTE),
        "margin": {"l": 60, "r": 20, "t": 62, "b": 50},
        "hovermode": "closest",
        "hoverlabel": {
            "bgcolor": "#2b2b2b",
            "bordercolor": GREY,
            "font": {"color": "#f2f2f2"},
            "align": "left",
            "namelength": -1,
        },
        "legend": {"orientation": "h", "x": 1, "xanchor": "right", "y": 1.01, "yanchor": "bottom"},
        "modebar": {
            "bgcolor": "rgba(0,0,0,0)",
            "color": GREY,
            "activecolor": BLUE,
            "remove": ["select2d", "lasso2d", "zoomIn2d", "zoomOut2d", "autoScale2d"],
        },
        "xaxis": _AXIS,
        "yaxis": _AXIS,
    }
)


def figure(title: str, x: str, y: str, height: int = HEIGHT, **layout: Any) -> go.Figure:
    """An empty figure: what it says, and axis titles with their units.

    The title is plain text of at most `TITLE` characters, which fits a page 640 pixels wide.
    """
    found = go.Figure(layout={"template": TEMPLATE, "title": {"text": title}, "height": height})
    found.update_layout(xaxis_title_text=x, yaxis_title_text=y, **layout)
    return found


def empty(text: str) -> go.Figure:
    """What a chart without data shows: one sentence that says what to do.

    >>> empty("No layers to show: run flow.run('w8a16') first.").layout.annotations[0].text
    "No layers to show: run flow.run('w8a16') first."
    """
    axis = {"visible": False, "fixedrange": True}
    found = go.Figure(layout={"template": TEMPLATE, "height": 160, "xaxis": axis, "yaxis": axis, "dragmode": False})
    found.update_layout(margin={"l": 20, "r": 20, "t": 20, "b": 20})
    return found.add_annotation(text=text, x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False, font_size=14)


def plain(text: object) -> str:
    """Text from outside, safe in a chart: Plotly reads tags and entities in every label. Twice is as once.

    >>> plain("<img src=x>"), plain("stem.conv")
    ('&lt;img src=x&gt;', 'stem.conv')
    """
    return html.escape(html.unescape(str(text)), quote=False)


def shorten(name: str, length: int) -> str:
    """A dotted name abbreviated from its beginning, as logs do it; numbers stay, and what stands before a blank.

    >>> shorten("encoder.layer.11.attention.self.query", 24), shorten("w8a8, features.3.conv", 20)
    ('e.l.11.a.self.query', 'w8a8, f.3.conv')
    """
    before, blank, dotted = name.rpartition(" ")
    parts = dotted.split(".")
    for i, part in enumerate(parts[:-1]):
        if len(before + blank + ".".join(parts)) <= length:
            break
        parts[i] = part if part.isdigit() else part[:1]
    short = before + blank + ".".join(parts)
    return short if len(short) <= length else "…" + short[1 - length :]


def titled(before: str, name: str, after: str) -> str:
    """A title in which the layer's name takes what room is left, and which begins with a capital or a name.

    >>> titled("w4a8: weakest layer ", "fc", ", 12.3 dB"), titled("", "", "no difference")
    ('w4a8: weakest layer fc, 12.3 dB', 'No difference')
    """
    if not before + name:
        return after[:1].upper() + after[1:]
    return plain(before + shorten(name, max(16, TITLE - len(before) - len(after))) + after)
