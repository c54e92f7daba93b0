"""Points of a static picture, with their intervals and labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qnb.charts.svg import marks
from qnb.charts.svg.axes import Axis, finite, listed
from qnb.charts.svg.tags import lines, number, paint, tag, words

LAYERS = 6
"""See-through points are drawn in so many paths: within one, points that overlap do not get darker."""


def markers(points: Sequence[tuple[float, float] | None], marker: Mapping[str, Any], colour: str) -> str:
    """Points, those of one symbol and size in one path.

    Args:
        marker: symbol and size of all of them, or a list with one for each.
    """
    kinds: dict[tuple[str, float], list[tuple[float, float]]] = {}
    symbols, sizes = (_each(marker.get(key), usual, len(points)) for key, usual in (("symbol", "circle"), ("size", 6)))
    for point, symbol, size in zip(points, symbols, sizes, strict=False):
        if point is not None:
            kinds.setdefault((str(symbol), float(size)), []).append(point)
    opacity, found = marker.get("opacity"), ""
    for (symbol, size), same in kinds.items():
        shares = LAYERS if finite(opacity) is not None and opacity < 1 and len(same) > LAYERS else 1
        form, style = _shape(symbol, size, colour)
        for share in range(shares):
            path = "".join(f"M{number(a)} {number(b)}{form}" for a, b in same[share::shares])
            found += tag("path", d=path, opacity=opacity, **style)
    return found


def _each(said: Any, usual: Any, count: int) -> list:
    """A value for each point: the figure says one for all, a list, or nothing."""
    if said is None or isinstance(said, str | int | float):
        return [said or usual] * count
    return listed(said)


def largest(marker: Mapping[str, Any]) -> float:
    """Size of the largest point in pixels."""
    return max(map(float, _each(marker.get("size"), 6, 1)), default=6.0)


def _shape(symbol: str, size: float, colour: str) -> tuple[str, dict[str, Any]]:
    """(how the path goes on from the point's middle, style).

    A dot is a line without length but with round ends: the shortest way to write it.
    """
    # So small a diamond looks like a dot, which takes a third of the characters.
    name, r, n = "circle" if size < 4 else symbol.removesuffix("-open").removesuffix("-thin"), size / 2, number
    stroke = paint("stroke", colour)
    if name == "line-ns":
        return f"m0 {n(-r)}v{n(size)}", {**stroke, "stroke_width": 1.2}
    if name in ("x", "cross"):
        arm = 0.8 * r
        form = f"m{n(-arm)} {n(-arm)}l{n(2 * arm)} {n(2 * arm)}m0 {n(-2 * arm)}l{n(-2 * arm)} {n(2 * arm)}"
        plus = f"m{n(-r)} 0h{n(size)}m{n(-r)} {n(-r)}v{n(size)}"
        thick = 2.0 if "thin" in symbol else max(1.0, 0.3 * size)
        return form if name == "x" else plus, {**stroke, "stroke_width": thick}
    shapes = {
        "diamond": f"m{n(-1.1 * r)} 0l{n(1.1 * r)} {n(-1.1 * r)} {n(1.1 * r)} {n(1.1 * r)} {n(-1.1 * r)} {n(1.1 * r)}z",
        "triangle-up": f"m0 {n(-r)}l{n(0.9 * r)} {n(1.5 * r)}h{n(-1.8 * r)}z",
        "triangle-down": f"m0 {n(r)}l{n(0.9 * r)} {n(-1.5 * r)}h{n(-1.8 * r)}z",
        "square": f"m{n(-r)} {n(-r)}h{n(size)}v{n(size)}h{n(-size)}z",
        "circle": f"m{n(-r)} 0a{n(r)} {n(r)} 0 1 0 {n(size)} 0a{n(r)} {n(r)} 0 1 0 {n(-size)} 0z",
    }
    if symbol.endswith("-open"):
        return shapes.get(name, shapes["circle"]), {"fill": "none", **stroke, "stroke_width": 1.4}
    if name in shapes and name != "circle":
        return shapes[name], paint("fill", colour)
    return "h0", {**stroke, "stroke_width": size, "stroke_linecap": "round"}


def intervals(trace: Mapping[str, Any], x: Axis, y: Axis, colour: str) -> str:
    """Intervals along y, with a bar across at both ends."""
    error = trace.get("error_y") or {}
    above = listed(error.get("array"))
    under = listed(error.get("arrayminus")) or above
    cap, path = float(error.get("width", 4)), ""
    for place, value, up, down in zip(x.places(trace), listed(trace.get("y")), above, under, strict=False):
        if place is None or finite(value) is None:
            continue
        a, top, bottom = x.pixel(place), y.at(value + (finite(up) or 0)), y.at(value - (finite(down) or 0))
        if top is not None and bottom is not None:
            across = f"M{number(a - cap)} {{0}}H{number(a + cap)}"
            path += f"M{number(a)} {number(bottom)}V{number(top)}"
            path += across.format(number(bottom)) + across.format(number(top))
    thick = float(error.get("thickness", 2))
    return tag("path", d=path, stroke_width=thick, **paint("stroke", error.get("color") or colour)) if path else ""


def labels(trace: Mapping[str, Any], points: Sequence[tuple[float, float] | None]) -> str:
    """The text of each point, at its side that ``textposition`` says."""
    texts, where = trace.get("text"), trace.get("textposition") or "middle center"
    texts = [texts] * len(points) if isinstance(texts, str) else listed(texts)
    sides = [where] * len(points) if isinstance(where, str) else listed(where)
    font, away = trace.get("textfont") or {}, 4 + largest(trace.get("marker") or {}) / 2
    size, found = float(font.get("size") or 12), ""
    for point, text, side in zip(points, texts, sides, strict=False):
        if point is not None and text:
            up, across = (
                {"top": -1, "bottom": 1}.get(side.split()[0], 0),
                {"right": 1, "left": -1}.get(side.split()[-1], 0),
            )
            # A corner is nearer than a side: half as far along both ways.
            x = point[0] + across * away * (0.5 if up else 1)
            y = point[1] + up * (away + 0.45 * size)
            found += words(lines(text), x, y, anchor=("end", "middle", "start")[across + 1], size=size)
    return found


def scatter(trace: Mapping[str, Any], x: Axis, y: Axis, colour: str) -> tuple[str, str]:
    """(line, points with their intervals and labels): the points may leave the plot."""
    mode = str(trace.get("mode") or "lines")
    places = zip(x.places(trace), y.places(trace), strict=False)
    points = [None if a is None or b is None else (x.pixel(a), y.pixel(b)) for a, b in places]
    low, found = marks.line(trace, points, y, colour) if "lines" in mode else "", intervals(trace, x, y, colour)
    if "markers" in mode:
        marker = trace.get("marker") or {}
        own = marker.get("color")
        found += markers(points, marker, own if isinstance(own, str) else colour)
    return low, found + (labels(trace, points) if "text" in mode else "")
