"""One run in the chart of SQNR per layer."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from qnb.charts.frames import numbers, small
from qnb.charts.theme import BAD, PALETTE
from qnb.columns import LAYER, OP, OWN_SQNR_DB, SQNR_DB
from qnb.text import LOSSLESS, OVERFLOW, decibel

LABELS, LABEL_LENGTH = 60, 24
"""Beyond so many layers no names stand below the axis; longer names are abbreviated there."""


class RunTraces:
    """A run's values; what is lossless or overflowed stands at the upper end or at 0, and looks different.

    Only the first run says a layer's op in the hover, and layers' names where all runs have the same.
    """

    def __init__(self, name: str, frame: pd.DataFrame, i: int, order: list[str], cap: float, lines: bool):
        self.name, self.order, self.lines, self.i = name, order, lines, i
        self.layers, self.ops = frame[LAYER].tolist(), frame[OP].tolist()
        self.db, self.own_db = numbers(frame[SQNR_DB]), numbers(frame[OWN_SQNR_DB])
        self.y, self.own_y = (
            np.where(np.isposinf(v), cap, np.where(np.isneginf(v), 0.0, v)) for v in (self.db, self.own_db)
        )
        self.special = {LOSSLESS: np.flatnonzero(np.isposinf(self.db)), OVERFLOW: np.flatnonzero(np.isneginf(self.db))}
        self.colour = PALETTE[i % len(PALETTE)]
        self.many = len(order) > LABELS

    def draw(self, chart: go.Figure) -> None:
        custom, after = self._said()
        style = {"name": self.name or "SQNR", "customdata": custom, **self._place(first=self.i == 0)}
        full = self.i == 0 and not self.many and max(map(len, self.order)) > LABEL_LENGTH
        before = [f"{n}<br>" if full else "" for n in self.layers]
        if self.lines:
            for word, at in self.special.items():
                for j in at:
                    before[j] += f"{word}, drawn at "
            style["mode"] = "lines+markers"
            style["marker"] = {"size": 3 if self.many else 6}
            style["line"] = {"width": 1 if self.many else 1.5, "color": self.colour}
        else:
            style |= {"marker": {"color": self.colour}, "offsetgroup": str(self.i)}
        if any(before):
            style["hovertext"] = before
        style["hovertemplate"] = ("%{hovertext}" if any(before) else "") + "%{y:.1f} dB" + after
        if self.lines:
            chart.add_trace(go.Scatter(y=small(self.y, 4), **style))
        else:
            chart.add_trace(go.Bar(y=small(np.where(np.isinf(self.db), np.nan, self.y), 4), **style))
        for word, at in self.special.items():
            if at.size:
                self._draw_special(chart, word, at, custom, before, after)

    def _said(self) -> tuple[list | None, str]:
        """(customdata, end of the hover template): own error and op."""
        ops = self.ops if self.i == 0 else None
        if np.isnan(self.own_db).all():
            return ops, ", %{customdata}" if ops else ""
        form = "" if np.isinf(self.own_db).any() else ":.1f"
        own = small(self.own_db, 4) if form else [decibel(v, 2) for v in self.own_db]
        unit = " dB" if form else ""
        if ops is None:
            return own, f", own %{{customdata{form}}}{unit}"
        pairs = [list(pair) for pair in zip(own, ops, strict=True)]
        return pairs, f", own %{{customdata[0]{form}}}{unit}, %{{customdata[1]}}"

    def _draw_special(self, chart: go.Figure, word: str, at: np.ndarray, custom, before: list[str], after: str) -> None:
        """Hatched bars and crosses; among lines, markers, of which the line already tells."""
        style = {"name": word, "legendgroup": word, "x": [self.layers[j] for j in at], "y": small(self.y[at], 4)}
        shown = all(t.name != word for t in chart.data)
        if not self.lines:
            pattern = {"shape": "/", "size": 6, "solidity": 0.35, "fgcolor": self.colour}
            line = {"color": self.colour, "width": 1}
            chart.add_trace(
                go.Bar(
                    **style,
                    offsetgroup=str(self.i),
                    opacity=0.85,
                    showlegend=shown and word == LOSSLESS,
                    marker={"color": "rgba(0,0,0,0)", "pattern": pattern, "line": line},
                    customdata=[custom[j] for j in at] if custom else None,
                    hovertext=[before[j] for j in at],
                    hovertemplate="%{hovertext}" + f"{self.name} {word}".strip() + after + "<extra></extra>",
                )
            )
        if self.lines or word == OVERFLOW:
            marker = (
                {"symbol": "x", "color": BAD}
                if word == OVERFLOW
                else {"symbol": "triangle-up-open", "color": self.colour}
            )
            chart.add_trace(
                go.Scatter(
                    **style,
                    mode="markers",
                    cliponaxis=False,
                    showlegend=shown,
                    hoverinfo="skip",
                    marker={**marker, "size": 9},
                )
            )

    def draw_own(self, chart: go.Figure, colour: str) -> None:
        """Own error as markers; the hover of the run's values says the number."""
        marker = {"symbol": "diamond", "size": 3 if self.many else 7, "color": colour}
        chart.add_trace(
            go.Scatter(
                y=small(self.own_y, 4),
                name=f"{self.name}, own".removeprefix(", "),
                mode="markers",
                marker=marker,
                cliponaxis=False,
                hoverinfo="skip",
                **self._place(first=False),
            )
        )

    def _place(self, first: bool) -> dict:
        """Names once: where another trace said them already, the first name and a step of one are enough."""
        if self.layers == self.order and not first:
            return {"x0": self.layers[0], "dx": 1}
        return {"x": self.layers}
