"""What stands around the marks of a static picture: shapes, annotations, the legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qnb.charts.svg import marks, points
from qnb.charts.svg.axes import Axis, finite
from qnb.charts.svg.tags import LINE, lines, number, paint, tag, wide, words

SWATCH, BETWEEN, ROW = 18.0, 14.0, 18.0
"""Pixels: a sample in the legend, from entry to entry, a row."""
SIZE, PAD = 12.0, 3.0
"""Of text, and how far it stays from the place it belongs to; pixels."""


def shape(said: Mapping[str, Any], x: Axis, y: Axis) -> str:
    """A line or a rectangle over the plot."""
    xs = [x.at(said.get(k), said.get("xref")) for k in ("x0", "x1")]
    ys = [y.at(said.get(k), said.get("yref")) for k in ("y0", "y1")]
    if None in xs + ys:
        return ""
    style = said.get("line") or {}
    line = marks.stroke(style, style.get("color")) if style.get("width", 2) else {}
    if said.get("type") == "line":
        path = f"M{number(xs[0])} {number(ys[0])}L{number(xs[1])} {number(ys[1])}"
        return tag("path", d=path, opacity=said.get("opacity"), **line)
    left, right, top, bottom = *sorted(xs), *sorted(ys)
    path = f"M{number(left)} {number(top)}H{number(right)}V{number(bottom)}H{number(left)}z"
    return tag("path", d=path, opacity=said.get("opacity"), **paint("fill", said.get("fillcolor")), **line)


def image(said: Mapping[str, Any], x: Axis, y: Axis) -> str:
    """A picture that the figure holds in itself (PNG), in the middle of its box and as large as that lets it be."""
    source, across, up = str(said.get("source")), finite(said.get("x")), finite(said.get("y"))
    width, height = finite(said.get("sizex")), finite(said.get("sizey"))
    if not source.startswith("data:image/png;base64,") or None in (across, up, width, height):
        return ""
    box = x.pixel(across - width / 2), y.pixel(up + height / 2), x.pixel(across + width / 2), y.pixel(up - height / 2)
    return tag("image", href=source, x=box[0], y=box[1], width=box[2] - box[0], height=box[3] - box[1])


@dataclass(frozen=True)
class Note:
    """An annotation in pixels: its lines of text, their box, and the point that they belong to, if any."""

    said: Mapping[str, Any]
    text: list[str]
    size: float
    anchor: str
    box: tuple[float, float, float, float]
    head: tuple[float, float] | None
    tail: float

    def draw(self, colour: str, others: Sequence[Note]) -> str:
        left, top, right, bottom = self.box
        colour = (self.said.get("font") or {}).get("color") or colour
        at = {"start": left, "end": right, "middle": (left + right) / 2}[self.anchor]
        text = words(self.text, at, (top + bottom) / 2, anchor=self.anchor, size=self.size)
        return (_leader(self, others, colour) if self.head else "") + text


def notes(said: Sequence[Mapping[str, Any]], x: Axis, y: Axis, colour: str, room: tuple[float, float]) -> str:
    """Annotations: text at a place of the plot, or away from it with a line to it.

    Args:
        room: the picture's width and height in pixels: text that would leave it is moved back.
    """
    placed = [note for one in said if (note := _note(one, x, y, room)) is not None]
    return "".join(note.draw(colour, [o for o in placed if o is not note]) for note in placed)


def _note(said: Mapping[str, Any], x: Axis, y: Axis, room: tuple[float, float]) -> Note | None:
    text, size = lines(said.get("text", "")), float((said.get("font") or {}).get("size") or SIZE)
    places = [a.at(said.get(a.letter), said.get(f"{a.letter}ref"), exponent=True) for a in (x, y)]
    if None in places:
        return None
    head = places[0] + float(said.get("xshift") or 0), places[1] - float(said.get("yshift") or 0)
    arrow = said.get("showarrow") is not False
    tail = (_tail(said, x, head[0]), _tail(said, y, head[1])) if arrow else head
    width, height = max(wide(line, size) for line in text), LINE * size * len(text)
    pad = 0.0 if arrow else PAD
    shares = {"left": 0.0, "top": 0.0, "right": 1.0, "bottom": 1.0, "center": 0.5, "middle": 0.5}
    across = shares.get(str(said.get("xanchor")), _near_end(x, said, head[0]) if not arrow else 0.5)
    down = shares.get(str(said.get("yanchor")), 0.5)
    left = min(max(tail[0] - across * width + pad * (1 - 2 * across), 2.0), max(room[0] - width - 2, 2.0))
    top = min(max(tail[1] - down * height, 2.0), max(room[1] - height - 2, 2.0))
    anchor = {0.0: "start", 1.0: "end"}.get(across, "middle")
    return Note(said, text, size, anchor, (left, top, left + width, top + height), head if arrow else None, tail[0])


def _near_end(x: Axis, said: Mapping[str, Any], pixel: float) -> float:
    """Which share of a text lies left of its place: as in Plotly, text at an end of the paper keeps inside."""
    if said.get("xref") != "paper":
        return 0.5
    part = (pixel - x.start) / ((x.end - x.start) or 1.0)
    return 0.0 if part < 1 / 3 else 1.0 if part > 2 / 3 else 0.5


def _tail(said: Mapping[str, Any], axis: Axis, head: float) -> float:
    """Where the text of an annotation with an arrow stands, along one axis."""
    key = f"a{axis.letter}"
    if str(said.get(f"{key}ref", "pixel")) != "pixel":
        found = axis.at(said.get(key), exponent=True)
        return head if found is None else found
    return head + float(said.get(key, -10 if axis.letter == "x" else -30))


def _leader(note: Note, others: Sequence[Note], colour: str) -> str:
    """From the text's edge to its point, behind other texts; nothing where the text lies on the point."""
    left, top, right, bottom = note.box
    x, y = note.head
    end = bottom if bottom < y else top if top > y else None
    if end is None:
        return ""
    stop = y + (-1 if end < y else 1) * float(note.said.get("standoff") or 0)
    from_x = min(max(note.tail, left), right)
    parts = [(end, stop)]
    if abs(from_x - x) < 1:  # only upright lines: others hardly ever cross a text
        for a, b, c, d in sorted((o.box for o in others), key=lambda box: box[1], reverse=stop < end):
            first, last = (b, d) if stop > end else (d, b)
            start, close = parts[-1]
            if a <= x <= c and min(start, close) < min(b, d) and max(b, d) < max(start, close):
                parts[-1:] = [(start, first), (last, close)]
    path = "".join(f"M{number(from_x)} {number(a)}L{number(x)} {number(b)}" for a, b in parts)
    style = {"width": note.said.get("arrowwidth") or 1}
    return tag("path", d=path, **marks.stroke(style, note.said.get("arrowcolor") or colour))


@dataclass(frozen=True)
class Entry:
    """One line of the legend: what it is called, and the trace or shape it stands for."""

    name: str
    of: Mapping[str, Any]
    colour: str

    @property
    def width(self) -> float:
        return SWATCH + 5 + wide(self.name, SIZE)


def entries(data: Sequence[Mapping[str, Any]], layout: Mapping[str, Any], colours: Sequence[str]) -> list[Entry]:
    """What the legend says: traces and shapes that have a name, if there are several or the figure asks for it."""
    shapes = [s for s in layout.get("shapes") or () if s.get("showlegend") and s.get("name")]
    named = [(i, t) for i, t in enumerate(data) if t.get("name") and t.get("showlegend") is not False]
    if layout.get("showlegend", len(named) > 1 or bool(shapes)) is False:
        return []
    found = [Entry(" ".join(lines(t["name"])), t, marks.colour_of(t, i, colours)) for i, t in named]
    return found + [Entry(" ".join(lines(s["name"])), s, str(s.get("fillcolor") or "none")) for s in shapes]


def rows(found: Sequence[Entry], width: float) -> list[list[Entry]]:
    """The legend's entries, as many side by side as fit."""
    done: list[list[Entry]] = []
    for entry in found:
        taken = sum(e.width + BETWEEN for e in done[-1]) if done else width + 1
        if taken + entry.width > width:
            done.append([])
        done[-1].append(entry)
    return done


def legend(shown: Sequence[Sequence[Entry]], right: float, top: float) -> str:
    """Rows of samples and names that end at ``right``."""
    found = ""
    for i, row in enumerate(shown):
        x = max(4.0, right - sum(e.width for e in row) - BETWEEN * (len(row) - 1))
        y = top + (i + 0.5) * ROW
        for entry in row:
            found += _sample(entry, x, y) + words([entry.name], x + SWATCH + 5, y, size=SIZE)
            x += entry.width + BETWEEN
    return found


def _sample(entry: Entry, x: float, y: float) -> str:
    of, box = entry.of, (x + 3, y + 5, x + SWATCH - 3, y - 5)
    marker = of.get("marker") or {}
    if of.get("type") == "bar":
        return marks.box_path([box], marker, entry.colour, of.get("opacity"))
    if of.get("type") == "rect":
        return marks.box_path([box], {}, entry.colour, 2 * (finite(of.get("opacity")) or 0.5))
    mode, found = str(of.get("mode") or "lines"), ""
    if "lines" in mode:
        if of.get("fill"):
            found += marks.box_path([(x, y + 5, x + SWATCH, y)], {}, of.get("fillcolor") or entry.colour)
        path = f"M{number(x)} {number(y)}h{number(SWATCH)}"
        found += tag("path", d=path, **marks.stroke(of.get("line") or {}, entry.colour))
    if "markers" in mode:
        size = min(max(points.largest(marker), 5.0), 11.0)
        own = marker.get("color") if isinstance(marker.get("color"), str) else entry.colour
        found += points.markers([(x + SWATCH / 2, y)], {**marker, "size": [size]}, own)
    return found
