"""Axes of a static picture: where a value stands, and ticks whose labels do not overlap."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from qnb.charts.svg.tags import lines, number, paint, tag, wide, words

TICK, GAP = 11.0, 6.0
"""Font size of tick labels, from an axis to its labels; pixels."""
ROW = 13.0
"""What a line of tick labels needs."""
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def listed(values: Any) -> list:
    """An array of a figure as a list, also where Plotly wrote it in base64.

    >>> listed({"dtype": "i1", "bdata": "AQI="}), listed((1.5, None)), listed(None)
    ([1, 2], [1.5, None], [])
    """
    if values is None:
        return []
    if isinstance(values, Mapping):
        return np.frombuffer(base64.b64decode(values["bdata"]), np.dtype(values["dtype"]).newbyteorder("<")).tolist()
    return values.tolist() if hasattr(values, "tolist") else list(values)


def finite(value: Any) -> float | None:
    """The value as a number; None where it is none."""
    known = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if known else None


@dataclass
class Axis:
    """One axis. Its own units ("places") are values, exponents of 10, or the ranks of categories.

    >>> axis = Axis("x", {}, "category", {"conv": 0, "fc": 1}, -0.5, 1.5, 0.0, 100.0)
    >>> axis.at("fc"), axis.at(0), axis.at(0.5, "x domain")
    (75.0, 25.0, 50.0)
    """

    letter: str
    layout: Mapping[str, Any]
    kind: str
    ranks: dict[Any, int] = field(default_factory=dict)
    low: float = 0.0
    high: float = 1.0
    start: float = 0.0
    end: float = 1.0

    def place(self, value: Any) -> float | None:
        """A value in the axis' own units; None where it has no place."""
        if self.kind == "category":
            return float(self.ranks[value]) if value in self.ranks else finite(value)
        value = finite(value)
        if self.kind == "log" and value is not None:
            return math.log10(value) if value > 0 else None
        return value

    def places(self, trace: Mapping[str, Any]) -> list[float | None]:
        """A trace's values, also those that a first one and a step tell."""
        values = listed(trace.get(self.letter))
        if values or self.letter != "x":
            return [self.place(v) for v in values]
        start, step = trace.get("x0", 0), trace.get("dx", 1)
        if self.kind == "category":
            return [(self.place(start) or 0.0) + i * step for i in range(len(listed(trace.get("y"))))]
        return [self.place(start + i * step) for i in range(len(listed(trace.get("y"))))]

    def pixel(self, place: float) -> float:
        return self.start + (self.end - self.start) * (place - self.low) / ((self.high - self.low) or 1.0)

    def at(self, value: Any, ref: str | None = None, exponent: bool = False) -> float | None:
        """Pixels of a value, or of a share of the plot (``paper``, ``x domain``).

        Args:
            exponent: on a logarithmic axis the value is a power of 10, as Plotly has it in annotations.
        """
        if ref == "paper" or str(ref).endswith("domain"):
            return self.start + (self.end - self.start) * float(value)
        place = finite(value) if exponent and self.kind == "log" else self.place(value)
        return None if place is None else self.pixel(place)

    def fit(self, places: Iterable[float | None], pad: float) -> None:
        """Take the range that the figure says, else one that holds these places and a bit more."""
        given = listed(self.layout.get("range"))
        found = [p for p in places if p is not None]
        if len(given) == 2 and None not in given:
            self.low, self.high = map(float, given)
        elif self.kind == "category":
            self.low, self.high = -0.5, max(len(self.ranks), 1) - 0.5
        elif found:
            low, high = min(found), max(found)
            more = pad * (high - low) if high > low else 0.1 * abs(high) or 1.0
            self.low, self.high = (low - more if low else low), (high + more if high else high)

    def ticks(self) -> list[tuple[float, str]]:
        """(place, label), as many as there is room for in one direction."""
        if self.layout.get("showticklabels") is False and self.kind == "category":
            return []
        if self.kind == "category":
            texts = listed(self.layout.get("ticktext"))
            names = dict(zip(listed(self.layout.get("tickvals")), texts, strict=False)) if texts else {}
            found = [(float(rank), " ".join(lines(names.get(value, value)))) for value, rank in self.ranks.items()]
        elif self.kind == "log":
            found = _powers(self.low, self.high, self._room(30))
        else:
            found = _steps(
                self.low,
                self.high,
                self._room(70 if self.letter == "x" else 36),
                str(self.layout.get("tickformat", "")),
            )
        low, high = sorted((self.low, self.high))
        return [(place, text) for place, text in found if low - 1e-9 <= place <= high + 1e-9]

    def _room(self, pixels: float) -> int:
        return max(2, int(abs(self.end - self.start) / pixels))

    @property
    def shown(self) -> bool:
        return self.layout.get("visible") is not False

    @property
    def title(self) -> str:
        title = self.layout.get("title") or {}
        return " ".join(lines((title.get("text") if isinstance(title, Mapping) else title) or ""))


def kind_of(layout: Mapping[str, Any], values: Iterable[Any]) -> str:
    if layout.get("type") in ("category", "log", "linear"):
        return layout["type"]
    return "category" if any(isinstance(v, str) for v in values) else "linear"


def _powers(low: float, high: float, room: int) -> list[tuple[float, str]]:
    """Powers of ten; of less than two of them, also twice and five times."""
    first, last = math.ceil(low - 1e-9), math.floor(high + 1e-9)
    step = max(1, math.ceil((last - first + 1) / room))
    found = [(float(p), "10" + str(p).translate(_SUPERSCRIPT)) for p in range(first, last + 1, step)]
    if len(found) < 2:
        every = [m * 10.0**p for p in range(first - 1, last + 2) for m in (1, 2, 5)]
        found = [(math.log10(v), f"{v:,.15g}") for v in every if low <= math.log10(v) <= high]
    return found


def _steps(low: float, high: float, room: int, form: str) -> list[tuple[float, str]]:
    """Round numbers 1, 2 or 5 times a power of ten apart."""
    low, high = sorted((low, high))
    if not high > low:
        return []
    power = 10.0 ** math.floor(math.log10((high - low) / room))
    step = next(m * power for m in (1, 2, 5, 10) if (high - low) / (m * power) <= room)
    step = max(step, 1.0) if form.endswith("d") else step
    values = [i * step for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
    return [(v, _label(v, step, max(abs(low), abs(high)), form)) for v in values]


def _label(value: float, step: float, largest: float, form: str) -> str:
    if form.endswith("d") or (largest < 1e4 and largest >= 1e-3):
        said = f"{value:,.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"
    elif largest < 1e-3:
        said = f"{value:.3g}"
    else:
        unit, by = next((u, b) for u, b in (("G", 1e9), ("M", 1e6), ("k", 1e3)) if largest >= b)
        said = f"{value / by:,.4g}{unit}" if value else "0"
    return said.replace("-", "−")


@dataclass(frozen=True)
class Labels:
    """How labels stand below an axis: which, how turned, and how much room they take in pixels."""

    shown: list[tuple[float, str]]
    turn: int
    depth: float
    left: float


def below(axis: Axis, ticks: list[tuple[float, str]], size: float = TICK) -> Labels:
    """Labels level if they fit, else aslant, else upright and, if need be, not all of them."""
    widths = [wide(text, size) for _, text in ticks]
    if not ticks or axis.layout.get("showticklabels") is False:
        return Labels([], 0, 0.0, 0.0)
    pixels = [axis.pixel(place) for place, _ in ticks]
    slots = [b - a for a, b in zip(pixels, pixels[1:], strict=False)]
    room = min(slots, default=abs(axis.end - axis.start))
    edge = axis.start
    if all((a + b) / 2 + 8 <= s for a, b, s in zip(widths, widths[1:], slots, strict=False)):
        return Labels(ticks, 0, ROW, max(0.0, widths[0] / 2 - (pixels[0] - edge)))
    left = max(0.71 * w - (p - edge) for w, p in zip(widths, pixels, strict=True))
    if room >= 1.4 * ROW and left <= 75:
        return Labels(ticks, -45, 0.71 * max(widths) + ROW / 2, max(left, 0.0))
    every = max(1, math.ceil(ROW / max(room, 1e-6)))
    return Labels(ticks[::every], -90, max(widths[::every]) + 2, 0.0)


def draw(x: Axis, y: Axis, labels: Labels, height: float) -> str:
    """Grid, labels and titles; ``height`` is the picture's."""
    found = []
    if y.shown:
        found += [_grid(y, x, y.ticks())]
        found += [words([t], x.start - GAP, y.pixel(p), anchor="end", size=TICK) for p, t in y.ticks()]
        widest = max((wide(t, TICK) for _, t in y.ticks()), default=0.0)
        found.append(
            words([y.title], max(9.0, x.start - widest - GAP - 16), (y.start + y.end) / 2, anchor="middle", turn=-90)
        )
    if x.shown:
        found += [_grid(x, y, x.ticks())]
        anchor, down = ("middle", GAP + ROW / 2) if labels.turn == 0 else ("end", GAP)
        found += [
            words([t], x.pixel(p), y.start + down, anchor=anchor, size=size_of(x), turn=labels.turn)
            for p, t in labels.shown
        ]
        found.append(words([x.title], (x.start + x.end) / 2, height - 11, anchor="middle"))
    return "".join(found)


def margin_right(y: Axis) -> float:
    """What a second axis, at the right, needs there in pixels."""
    y = replace(y, start=200.0, end=0.0)  # any height of a plot: of so many ticks the widest
    return max((wide(t, TICK) for _, t in y.ticks()), default=0.0) + GAP + (34 if y.title else 8)


def draw_right(x: Axis, y: Axis) -> str:
    """Labels and title of a second axis, at the right; the grid is the first one's."""
    found = [words([t], x.end + GAP, y.pixel(p), size=TICK) for p, t in y.ticks()]
    widest = max((wide(t, TICK) for _, t in y.ticks()), default=0.0)
    found.append(words([y.title], x.end + widest + GAP + 16, (y.start + y.end) / 2, anchor="middle", turn=-90))
    return "".join(found)


def size_of(axis: Axis) -> float:
    return float((axis.layout.get("tickfont") or {}).get("size") or TICK)


def _grid(axis: Axis, across: Axis, ticks: list[tuple[float, str]]) -> str:
    """Lines at the ticks, and a stronger one at zero."""
    form = "M{a} {p}H{b}" if axis.letter == "y" else "M{p} {a}V{b}"
    ends = {"a": number(across.start), "b": number(across.end)}
    if axis.layout.get("showgrid") is False or axis.kind == "category":
        return ""
    grid = [p for p, _ in ticks if p != 0 or axis.kind == "log"]
    straddles = axis.kind == "linear" and min(axis.low, axis.high) <= 0 <= max(axis.low, axis.high)
    found = ""
    for places, key in ((grid, "gridcolor"), ([0.0] if straddles else [], "zerolinecolor")):
        path = "".join(form.format(p=number(axis.pixel(p)), **ends) for p in places)
        found += tag("path", d=path, **paint("stroke", axis.layout.get(key, "rgba(121,121,121,0.4)"))) if path else ""
    return found
