"""Bars and lines of a static picture. One path holds all marks of a kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from qnb.charts.svg.axes import Axis, finite, listed
from qnb.charts.svg.tags import number, paint, tag

DASHES = {"dot": "1.5 3", "dash": "6 4", "longdash": "9 5", "dashdot": "6 3 1.5 3"}
STRIPES = "1.6 3.4"


def colour_of(trace: Mapping[str, Any], i: int, colours: Sequence[str]) -> str:
    """A trace's colour: of its marks, of its line, or the next of the figure's."""
    places = ("line", "marker") if "lines" in str(trace.get("mode", "lines")) else ("marker", "line")
    said = ((trace.get(place) or {}).get("color") for place in places)
    return next((c for c in said if isinstance(c, str)), colours[i % len(colours)])


def lying(data: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a figure's bars lie: their places stand along y, their values along x."""
    return any(t.get("orientation") == "h" for t in data)


def slots(data: Sequence[Mapping[str, Any]], x: Axis, gap: float) -> dict[int, tuple[float, float]]:
    """For each trace of bars, from where to where they go around their place, in the units of the places' axis."""
    bars = {i: t for i, t in enumerate(data) if t.get("type") == "bar"}
    groups = list(dict.fromkeys(str(t.get("offsetgroup", f"trace {i}")) for i, t in bars.items()))
    places = sorted({p for t in bars.values() for p in x.places(t) if p is not None})
    step = min((b - a for a, b in zip(places, places[1:], strict=False)), default=1.0)
    each = step * (1 - gap) / max(len(groups), 1)
    found = {}
    for i, trace in bars.items():
        start = each * (groups.index(str(trace.get("offsetgroup", f"trace {i}"))) - len(groups) / 2)
        found[i] = (start, start + each)
    return found


def ends(trace: Mapping[str, Any], letter: str = "y") -> list[float | None]:
    """What values a trace reaches along an axis: for a range where the figure has none."""
    y = [finite(v) for v in listed(trace.get(letter))]
    if trace.get("type") == "bar":
        base = _bases(trace, len(y))
        return [*base, *(None if v is None else b + v for b, v in zip(base, y, strict=True))]
    error = trace.get("error_y") or {}
    found = list(y)
    for key, sign in (("array", 1), ("arrayminus", -1)):
        reach = zip(y, listed(error.get(key)), strict=False)
        found += [v + sign * e for v, e in reach if v is not None and finite(e) is not None]
    return found + ([0.0] if trace.get("fill") == "tozeroy" else [])


def _bases(trace: Mapping[str, Any], count: int) -> list[float]:
    base = trace.get("base")
    given = [base] * count if finite(base) is not None else listed(base)
    return [finite(v) or 0.0 for v in given] or [0.0] * count


def bars(trace: Mapping[str, Any], x: Axis, y: Axis, slot: tuple[float, float], colour: str) -> str:
    """Bars; those with a pattern are striped and outlined. Of lying ones, ``x`` is the figure's y axis."""
    values = [finite(v) for v in listed(trace.get(y.letter))]
    boxes = []
    for place, base, value in zip(x.places(trace), _bases(trace, len(values)), values, strict=False):
        sides = None if place is None or value is None else (y.place(base), y.place(base + value))
        if sides is not None and sides[1] is not None:
            bottom, top = (y.low if s is None else s for s in sides)  # a logarithmic axis has no 0
            near, far = x.pixel(place + slot[0]), x.pixel(place + slot[1])
            low, high = y.pixel(bottom), y.pixel(top)
            boxes.append((near, low, far, high) if x.letter == "x" else (low, near, high, far))
    return box_path(boxes, trace.get("marker") or {}, colour, trace.get("opacity"))


def box_path(boxes: Iterable[tuple], marker: Mapping[str, Any], colour: str, opacity: Any = None) -> str:
    """Boxes (left, bottom, right, top) in pixels, as one path."""
    boxes = [tuple(map(number, box)) for box in boxes]
    path = "".join(f"M{a} {b}H{c}V{d}H{a}z" for a, b, c, d in boxes)
    if not path:
        return ""
    pattern = marker.get("pattern") or {}
    if not pattern.get("shape"):
        return tag("path", d=path, opacity=opacity, **paint("fill", colour))
    stripe = pattern.get("fgcolor") or colour
    found = tag("path", d=path, fill="none", opacity=opacity, **paint("stroke", stripe))
    # A line as wide as the bar whose dashes are the stripes: a <pattern> would need an id, unique on the page.
    wide = float(boxes[0][2]) - float(boxes[0][0])
    middle = "".join(f"M{number((float(a) + float(c)) / 2)} {b}V{d}" for a, b, c, d in boxes)
    return found + tag(
        "path", d=middle, stroke_width=wide, stroke_dasharray=STRIPES, opacity=opacity, **paint("stroke", stripe)
    )


def line(trace: Mapping[str, Any], points: Sequence[tuple[float, float] | None], y: Axis, colour: str) -> str:
    """A line, in parts where values are missing, and the area below it."""
    style = trace.get("line") or {}
    stepped = style.get("shape") == "hv"
    path, area = "", ""
    zero = y.place(0)
    ground = number(y.start if zero is None else y.pixel(zero))
    for part in _parts(points):
        steps = [f"H{number(b)}V{number(c)}" if stepped else f"L{number(b)} {number(c)}" for b, c in part[1:]]
        path += f"M{number(part[0][0])} {number(part[0][1])}" + "".join(steps)
        area += f"M{number(part[0][0])} {ground}V{number(part[0][1])}" + "".join(steps) + f"V{ground}z"
    if not path:
        return ""
    found = ""
    if str(trace.get("fill", "")).startswith("tozero"):
        fill = trace.get("fillcolor")
        found += tag("path", d=area, **(paint("fill", fill) if fill else {"fill": colour, "fill_opacity": "0.4"}))
    return found + tag("path", d=path, fill="none", stroke_linejoin="round", **stroke(style, colour))


def stroke(style: Mapping[str, Any], colour: str | None) -> dict[str, Any]:
    """Attributes of a line: width in pixels, dashes, colour."""
    width = float(style.get("width", 2))
    return {"stroke_width": width, "stroke_dasharray": DASHES.get(style.get("dash")), **paint("stroke", colour)}


def _parts(points: Sequence[tuple[float, float] | None]) -> Iterable[list[tuple[float, float]]]:
    part: list[tuple[float, float]] = []
    for point in [*points, None]:
        if point is not None:
            part.append(point)
        elif part:
            yield part
            part = []
