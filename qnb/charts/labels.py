"""Where the labels of points go, so that they do not cover each other."""

from __future__ import annotations

from collections.abc import Sequence

WIDTH, HEIGHT = 480.0, 220.0
CHARACTER, LINE, GAP = 7.2, 15.0, 7.0
"""Pixels: a plot on a narrow page, a character, a line of text, from a point to its label."""
POSITIONS = {
    "middle right": (1, 0), "middle left": (-1, 0), "top right": (1, 1), "bottom right": (1, -1), "top left": (-1, 1),
    "bottom left": (-1, -1), "top center": (0, 1), "bottom center": (0, -1),
}  # fmt: skip
"""Plotly's text positions, the best first: (to the right, up)."""

Box = tuple[float, float, float, float]


def positions(x: Sequence[float], y: Sequence[float], texts: Sequence[str], xrange, yrange) -> list[str]:
    """A text position per point (``"middle right"``), each chosen against the points and earlier labels.

    >>> positions([1, 1], [0.9, 0.9], ["w8a8", "w8a16"], (0, 2), (0, 1))
    ['middle right', 'middle left']
    """
    points = [(WIDTH * (a - xrange[0]) / _span(xrange), HEIGHT * (b - yrange[0]) / _span(yrange))
              for a, b in zip(x, y, strict=True)]  # fmt: skip
    taken: list[Box] = [(a - 6, b - 6, a + 6, b + 6) for a, b in points]
    found = []
    for i, (point, text) in enumerate(zip(points, texts, strict=True)):
        others = taken[:i] + taken[i + 1 :]
        cost = {p: _cost(_box(point, text, *where), others) for p, where in POSITIONS.items()}
        best = min(cost, key=lambda p: cost[p])
        taken.append(_box(point, text, *POSITIONS[best]))
        found.append(best)
    return found


def _span(ends) -> float:
    return (ends[1] - ends[0]) or 1.0


def _box(point: tuple[float, float], text: str, right: int, up: int) -> Box:
    width = CHARACTER * len(text)
    x = point[0] + (GAP if right > 0 else -GAP - width if right < 0 else -width / 2)
    y = point[1] + up * (GAP + LINE / 2) - LINE / 2
    return x, y, x + width, y + LINE


def _cost(box: Box, others: list[Box]) -> float:
    """Area that is covered, and much for leaving the plot."""
    covered = sum(
        max(0.0, min(box[2], o[2]) - max(box[0], o[0])) * max(0.0, min(box[3], o[3]) - max(box[1], o[1])) for o in others
    )
    return covered + 1e4 * (box[0] < 0 or box[2] > WIDTH) + 1e3 * (box[1] < 0 or box[3] > HEIGHT)
