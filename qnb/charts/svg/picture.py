"""One of qnb's figures as a picture without scripts, for pages that have no Plotly."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from qnb.charts.svg import axes as svg_axes
from qnb.charts.svg import marks
from qnb.charts.svg import notes as svg_notes
from qnb.charts.svg import points as svg_points
from qnb.charts.svg.axes import Axis, listed
from qnb.charts.svg.tags import LINE, lines, number, safe, tag, wide, words, wrap
from qnb.charts.theme import GREY, HEIGHT, PALETTE
from qnb.errors import InputError

SMALLEST, PLOT = 240, 150.0
"""Pixels: the narrowest picture, the lowest plot."""
REMEDY = "pass a figure of qnb.charts, as flow.chart() or flow.compare(run).chart()"


def svg(figure: Any, width: int = 640) -> str:
    """A figure of `qnb.charts` as one ``<svg>`` element: no scripts, no ids, every text escaped.

    Args:
        figure: the figure, or its ``to_dict()`` or its JSON, as text or read.
        width: of the picture in pixels, at least 240; on a narrower page it shrinks. The height is the figure's,
            more where labels need it.

    Raises:
        InputError: the figure is none, or has traces that qnb.charts does not draw.

    >>> from qnb.charts.theme import empty
    >>> svg(empty("No layers to show."))[:61]
    '<svg xmlns="http://www.w3.org/2000/svg" role="img" width="640'
    """
    data, layout = _read(figure)
    if not isinstance(width, int | float) or not width >= SMALLEST:
        raise InputError("charts.svg", f"width={width!r}", f"pass at least {SMALLEST} pixels")
    font = layout.get("font") or {}
    colour = str(font.get("color") or GREY)
    colours = [str(c) for c in layout.get("colorway") or PALETTE]
    x, y = _axes(data, layout)
    right = _right_axis(data, layout)
    head = _Head.of(data, layout, colours, width)
    margin = svg_axes.margin_right(right) if right else float((layout.get("margin") or {}).get("r", 20))
    x, y, labels, height = _placed(x, y, layout, head, width, margin)
    content = svg_axes.draw(x, y, labels, height)
    if right:
        right = replace(right, start=y.start, end=y.end)
        content += svg_axes.draw_right(x, right)
    content += _plot(data, layout, x, {"y": y, "y2": right}, colours)
    room = (float(width), float(height))
    content += svg_notes.notes(layout.get("annotations") or (), x, y, colour, room)
    content += head.draw(width)
    title = " ".join(lines(head.name)) or " ".join(lines(_first_note(layout)))
    return tag(
        "svg",
        tag("title", safe(title)),
        content,
        xmlns="http://www.w3.org/2000/svg",
        role="img",
        width=float(width),
        height=float(height),
        viewBox=f"0 0 {number(width)} {number(height)}",
        style="max-width:100%;height:auto",
        font_family=font.get("family") or "sans-serif",
    )


def _read(figure: Any) -> tuple[list[dict], dict]:
    """Traces, and the layout over its template."""
    if isinstance(figure, str) and figure.lstrip().startswith("{"):
        figure = json.loads(figure)
    figure = figure.to_dict() if hasattr(figure, "to_dict") else figure
    if not isinstance(figure, Mapping) or "layout" not in figure:
        raise InputError("charts.svg", f"a {type(figure).__name__}", REMEDY)
    data = [t for t in figure.get("data") or () if t.get("visible", True) is True]
    for trace in data:
        kind = trace.get("type", "scatter")
        if kind not in ("bar", "scatter") or trace.get("xaxis", "x") != "x":
            raise InputError("charts.svg", f"a figure with a {kind} trace that cannot be drawn", REMEDY)
    layout = figure["layout"]
    return data, _over((layout.get("template") or {}).get("layout") or {}, layout)


def _over(below: Mapping, above: Mapping) -> dict:
    """A layout in which what is not said comes from the template."""
    found = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(found.get(key), Mapping)
        found[key] = _over(found[key], value) if both else value
    return found


def _axes(data: list[dict], layout: Mapping) -> tuple[Axis, Axis]:
    axes = []
    left = [t for t in data if t.get("yaxis", "y") == "y"]
    for letter, traces in (("x", data), ("y", left)):
        said = layout.get(f"{letter}axis") or {}
        start = f"{letter}0"
        values = [v for t in traces for v in [*listed(t.get(letter)), *([t[start]] if start in t else [])]]
        kind = svg_axes.kind_of(said, values)
        names = [*listed(said.get("categoryarray")), *values] if kind == "category" else []
        axes.append(Axis(letter, said, kind, {name: i for i, name in enumerate(dict.fromkeys(names))}))
    along, up = reversed(axes) if marks.lying(data) else axes
    slots = marks.slots(data, along, 0.0).values()  # the gap between bars is also at both ends
    reach = [d for slot in slots for d in slot] or [0.0]
    along.fit((p + d for t in data for p in along.places(t) if p is not None for d in reach), 0.0 if slots else 0.04)
    up.fit((up.place(v) for t in left for v in marks.ends(t, up.letter)), 0.06)
    return tuple(axes)


def _right_axis(data: list[dict], layout: Mapping) -> Axis | None:
    """The second axis, at the right, of points and lines that have values of another kind."""
    traces, said = [t for t in data if t.get("yaxis") == "y2"], layout.get("yaxis2") or {}
    if not traces:
        return None
    found = Axis("y", said, svg_axes.kind_of(said, ()))
    found.fit((found.place(v) for t in traces for v in marks.ends(t, "y")), 0.06)
    return found


def _gap(layout: Mapping) -> float:
    return float(layout.get("bargap", 0.2))


@dataclass(frozen=True)
class _Head:
    """What stands above the plot: title, subtitle, legend."""

    name: str
    title: list[str]
    subtitle: list[str]
    legend: list[list[svg_notes.Entry]]

    @classmethod
    def of(cls, data: list[dict], layout: Mapping, colours: list[str], width: float) -> _Head:
        title = layout.get("title") or {}
        name = str(title.get("text") or "")
        subtitle = str((title.get("subtitle") or {}).get("text") or "")
        room = width - 24
        rows = svg_notes.rows(svg_notes.entries(data, layout, colours), room)
        # Bold letters are a tenth wider.
        return cls(name, wrap(name, 15.4, room) if name else [], wrap(subtitle, 12, room) if subtitle else [], rows)

    @property
    def heights(self) -> tuple[float, float, float]:
        """Of title, subtitle and legend, in pixels."""
        return (14 * LINE * len(self.title), 12 * LINE * len(self.subtitle), svg_notes.ROW * len(self.legend))

    def draw(self, width: float) -> str:
        title, subtitle, _ = self.heights
        found = words(self.title, 12, 10 + title / 2, size=14, weight=600)
        found += words(self.subtitle, 12, 10 + title + subtitle / 2)
        return found + svg_notes.legend(self.legend, width - 12, 14 + title + subtitle)


def _placed(x: Axis, y: Axis, layout: Mapping, head: _Head, width: float, right: float):
    """(x, y, labels below the plot, the picture's height): the axes know their pixels.

    Args:
        right: room there in pixels.
    """
    height, margin = float(layout.get("height") or HEIGHT), layout.get("margin") or {}
    top = 10 + sum(head.heights) + (14 if head.title else 0)
    if not (x.shown or y.shown):
        frame = {"l": 20, "t": 20, "b": 20, **margin}
        x = replace(x, start=float(frame["l"]), end=width - right)
        return x, replace(y, start=height - float(frame["b"]), end=float(frame["t"])), svg_axes.below(x, []), height
    left, bottom = 60.0, 50.0
    for _ in range(3):  # the labels of one axis take room from the other
        y = replace(y, start=max(height - bottom, top + PLOT), end=top)
        widest = max((wide(text, svg_axes.TICK) for _, text in y.ticks()), default=0.0)
        left = widest + svg_axes.GAP + (28 if y.title else 8)
        x = replace(x, start=left, end=width - right)
        labels = svg_axes.below(x, x.ticks(), svg_axes.size_of(x))
        left = max(left, left + labels.left)
        x = replace(x, start=left)
        labels = svg_axes.below(x, x.ticks(), svg_axes.size_of(x))
        bottom = svg_axes.GAP + labels.depth + (28 if x.title else 8)
    height = y.start + bottom
    x, y = _same_scale(x, y)
    return x, y, svg_axes.below(x, x.ticks(), svg_axes.size_of(x)), height


def _same_scale(x: Axis, y: Axis) -> tuple[Axis, Axis]:
    """Where the figure asks for it, one unit has the same length along both axes."""
    if y.layout.get("scaleanchor") != "x" or x.high == x.low or y.high == y.low:
        return x, y
    per = min((x.end - x.start) / (x.high - x.low), (y.start - y.end) / (y.high - y.low))
    across, down = per * (x.high - x.low), per * (y.high - y.low)
    middle = (x.start + x.end) / 2
    x = replace(x, start=middle - across / 2, end=middle + across / 2)
    return x, replace(y, end=y.start - down)


def _plot(data: list[dict], layout: Mapping, x: Axis, ys: Mapping[str, Axis], colours: list[str]) -> str:
    """Shapes and marks, cut off at the plot's edges except what may leave it."""
    y = ys["y"]
    along, up = (y, x) if marks.lying(data) else (x, y)
    slots = marks.slots(data, along, _gap(layout))
    shapes = layout.get("shapes") or ()
    inside = "".join(svg_notes.shape(s, x, y) for s in shapes if s.get("layer") == "below")
    inside += "".join(svg_notes.image(said, x, y) for said in layout.get("images") or ())
    over = ""
    for i, trace in enumerate(data):
        own = marks.colour_of(trace, i, colours)
        if i in slots:
            inside += marks.bars(trace, along, up, slots[i], own)
            continue
        low, high = svg_points.scatter(trace, x, ys[trace.get("yaxis", "y")], own)
        inside += low
        inside, over = (inside, over + high) if trace.get("cliponaxis") is False else (inside + high, over)
    inside += "".join(svg_notes.shape(s, x, y) for s in shapes if s.get("layer") != "below")
    box = [number(v) for v in (x.start, y.end, x.end - x.start, y.start - y.end)]
    # An inner <svg> cuts off what lies outside; a clipPath would need an id, unique on the page.
    cut = tag("svg", inside, x=box[0], y=box[1], width=box[2], height=box[3], viewBox=" ".join(box)) if inside else ""
    return cut + over


def _first_note(layout: Mapping) -> str:
    return next((str(a.get("text", "")) for a in layout.get("annotations") or ()), "")
