"""One run in the chart of SQNR per layer."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from qnb.charts.frames import numbers, small
from qnb.charts.theme import BAD, PALETTE
from qnb.charts.worst import decibel
from qnb.columns import LAYER, OP, OWN_SQNR_DB, SQNR_DB

LABELS, LABEL_LENGTH = 60, 24
"""Beyond so many layers no names stand below the axis; longer names are abbreviated there."""


class RunTraces:
    """One run's traces: its finite values, and apart from them what is lossless and what overflowed."""

    def __init__(self, name: str, frame: pd.DataFrame, i: int, order: list[str], cap: float, lines: bool):
        self.name, self.order, self.cap, self.lines, self.i = name, order, cap, lines, i
        self.layers, self.ops = frame[LAYER].tolist(), frame[OP].tolist()
        self.db, self.own_db = numbers(frame[SQNR_DB]), numbers(frame[OWN_SQNR_DB])
        self.colour = PALETTE[i % len(PALETTE)]
        self.many = len(order) > LABELS

    def draw(self, chart: go.Figure, say_own: bool) -> None:
        own = [decibel(v) for v in self.own_db] if say_own else [""] * len(self.db)
        custom = [[op, said] if any(own) else [op] for op, said in zip(self.ops, own, strict=True)]
        rest = ", %{customdata[0]}" + (", own %{customdata[1]}" if any(own) else "")
        place, style = self._place(first=self.i == 0), {"name": self.name or "SQNR", "customdata": custom}
        if self.i == 0 and not self.many and max(map(len, self.order)) > LABEL_LENGTH:
            style["hovertext"] = self.layers  # in full, where the axis abbreviates them
        style["hovertemplate"] = ("%{hovertext}<br>" if "hovertext" in style else "") + "%{y:.1f} dB" + rest
        if self.lines:
            marker, line = {"size": 3 if self.many else 6}, {"width": 1 if self.many else 1.5, "color": self.colour}
            style |= {"mode": "lines+markers", "marker": marker, "line": line}
            chart.add_trace(go.Scatter(y=small(self.db), **place, **style))
        else:
            style |= {"marker": {"color": self.colour}, "offsetgroup": str(self.i)}
            chart.add_trace(go.Bar(y=small(self.db), **place, **style))
        for word, at in (("lossless", np.isposinf(self.db)), ("overflow", np.isneginf(self.db))):
            self._special(chart, word, np.flatnonzero(at), custom, rest)

    def _special(self, chart: go.Figure, word: str, at: np.ndarray, custom: list, rest: str) -> None:
        if not at.size:
            return
        lossless = word == "lossless"
        style = {
            "name": word, "legendgroup": word, "showlegend": all(t.name != word for t in chart.data),
            "x": [self.layers[j] for j in at], "y": [self.cap if lossless else 0.0] * at.size,
            "customdata": [custom[j] for j in at],
            "hovertemplate": f"{self.name} {word}".strip() + rest + "<extra></extra>",
        }  # fmt: skip
        if lossless and not self.lines:
            pattern = {"shape": "/", "size": 6, "solidity": 0.35, "fgcolor": self.colour}
            marker = {"color": "rgba(0,0,0,0)", "pattern": pattern, "line": {"color": self.colour, "width": 1}}
            chart.add_trace(go.Bar(**style, offsetgroup=str(self.i), opacity=0.85, marker=marker))
        else:
            marker = {"symbol": "triangle-up-open", "color": self.colour} if lossless else {"symbol": "x", "color": BAD}
            chart.add_trace(go.Scatter(**style, mode="markers", cliponaxis=False, marker={**marker, "size": 9}))

    def draw_own(self, chart: go.Figure, colour: str) -> None:
        """Own error as markers; what is lossless stands at the upper end and says so."""
        db = self.own_db
        y = np.where(np.isposinf(db), self.cap, np.where(np.isneginf(db), 0.0, db))
        hover = {"hovertemplate": "%{y:.1f} dB"}
        if np.isinf(db).any():
            hover = {"customdata": [decibel(v) for v in db], "hovertemplate": "%{customdata}"}
        chart.add_trace(go.Scatter(
            y=small(y), name=f"{self.name}, own".removeprefix(", "), mode="markers", cliponaxis=False,
            marker={"symbol": "diamond", "size": 3 if self.many else 7, "color": colour},
            **self._place(first=False), **hover,
        ))  # fmt: skip

    def _place(self, first: bool) -> dict:
        """Names once: where another trace said them already, the first name and a step of one are enough."""
        if self.layers == self.order and not first:
            return {"x0": self.layers[0], "dx": 1}
        return {"x": self.layers}
