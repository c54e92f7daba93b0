"""Where the labels of points go, so that they do not cover each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

WIDTH, HEIGHT = 400.0, 230.0
CHARACTER, LINE, GAP = 7.0, 14.0, 6.0
"""Pixels: a plot on a narrow page, a character, a line of text, from a point to its label."""
POSITIONS = {
    "middle right": (1, 0),
    "middle left": (-1, 0),
    "top right": (1, 1),
    "bottom right": (1, -1),
    "top left": (-1, 1),
    "bottom left": (-1, -1),
    "top center": (0, 1),
    "bottom center": (0, -1),
}
"""Plotly's text positions, the best first: (to the right, up)."""

Box = tuple[float, float, float, float]
"""Left, bottom, right, top in pixels."""


def positions(
    x: Sequence[float],
    y: Sequence[float],
    texts: Sequence[str],
    xrange: Sequence[float],
    yrange: Sequence[float],
    low: Sequence[float] | None = None,
    high: Sequence[float] | None = None,
    line: float | None = None,
) -> list[str]:
    """A text position per point (``"middle right"``) that covers little of points, intervals and earlier labels.

    Args:
        low, high: ends of each point's interval along y.
        line: where a horizontal line crosses the plot.

    >>> positions([1, 1], [0.9, 0.9], ["w8a8", "w8a16"], (0, 2), (0, 1))
    ['middle right', 'middle left']
    """
    across, bottom, top = _pixels(x, xrange, WIDTH), *(_pixels(v, yrange, HEIGHT) for v in (low or y, high or y))
    points = list(zip(across, _pixels(y, yrange, HEIGHT), strict=True))
    taken: list[Box] = [(a - 6, b - 6, a + 6, b + 6) for a, b in points]
    taken += [(a - 3, b, a + 3, c) for a, b, c in zip(across, bottom, top, strict=True)]
    if line is not None:
        at = _pixels([line], yrange, HEIGHT)[0]
        taken.append((0.0, at - 1, WIDTH, at + 1))
    found = []
    for point, text in zip(points, texts, strict=True):
        cost = {name: _cost(_box(point, text, *where), taken) for name, where in POSITIONS.items()}
        best = min(cost, key=lambda name: cost[name])
        taken.append(_box(point, text, *POSITIONS[best]))
        found.append(best)
    return found


def _pixels(values: Sequence[float], ends: Sequence[float], length: float) -> list[float]:
    return (length * (np.asarray(values, dtype=float) - ends[0]) / ((ends[1] - ends[0]) or 1.0)).tolist()


def _box(point: tuple[float, float], text: str, right: int, up: int) -> Box:
    width = CHARACTER * len(text) + 2
    x = point[0] + (GAP if right > 0 else -GAP - width if right < 0 else -width / 2)
    y = point[1] + up * (GAP + LINE / 2) - LINE / 2
    return x, y, x + width, y + LINE


def _cost(box: Box, taken: list[Box]) -> float:
    """Area that is covered, and much for leaving the plot."""
    covered = 0.0
    for other in taken:
        width, height = (min(box[i + 2], other[i + 2]) - max(box[i], other[i]) for i in (0, 1))
        covered += max(width, 0.0) * max(height, 0.0)
    return covered + 1e4 * (box[0] < 0 or box[2] > WIDTH) + 1e3 * (box[1] < 0 or box[3] > HEIGHT)
