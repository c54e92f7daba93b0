"""What layers won and lost from one run to another, in graph order."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from qnb.charts.frames import numbers, require, small
from qnb.charts.layer_sqnr import layer_axis
from qnb.charts.run_traces import LABELS
from qnb.charts.theme import BLUE, GREY, ORANGE, TEMPLATE, VERMILLION, empty, figure, plain, shorten, titled
from qnb.charts.worst import CHARACTER, LINE, NAME_LENGTH, Placed, free
from qnb.columns import GAINS, LAYER, LOST, ONLY_A, ONLY_B, SAME_DB, WON
from qnb.errors import InputError
from qnb.text import decibel

SOURCE = "the layers of a difference, as flow.diff(a, b).layers"
WITHIN = f"less than {SAME_DB:g} dB"
INFINITE = "lossless or overflow in one"
COLOURS = {WON: BLUE, LOST: VERMILLION, WITHIN: GREY}
"""What happened to a layer and its colour; the bar's direction says the same."""
RUN_NAME, ABOVE = 34, 84
"""Characters of a run's name in the subtitle; pixels above the plot: title, subtitle, legend."""


def diff(
    layers: pd.DataFrame, *, names: tuple[str, str] = ("a", "b"), own: bool = True, most_named: int = 4
) -> go.Figure:
    """A bar per layer in graph order, up where the second run's SQNR is higher, down where it is lower.

    Args:
        layers: what `Workflow.diff` found, columns `qnb.columns.GAINS`.
        names: of the two runs.
        own: bars of each layer's own SQNR, and marks at the accumulated one's gain where there is room for both;
            False: bars of the accumulated one.
        most_named: how many of the layers with the largest gain or loss are named, at most a third of all.

    Returns:
        A figure. What became lossless or overflows in one run only stands hatched at the end of the axis; layers of
        one run only are marked at 0; differences below `qnb.columns.SAME_DB` are grey.

    Raises:
        InputError: columns are missing, or a layer stands twice.

    >>> import pandas as pd
    >>> rows = [("conv", "", "conv2d", "same", 41., 41., 0., 41., 41., 0.),
    ...         ("fc", "", "linear", "won", 12.3, 33., 20.7, 12., 33., 21.)]
    >>> diff(pd.DataFrame(rows, columns=list(GAINS)), names=("w4a8", "w4a8+adaround")).layout.title.text
    '1 of 2 layers won, none lost; most: fc, +20.7 dB'
    """
    require(layers, GAINS, "diff", SOURCE)
    if layers.empty:
        return empty("No layers to compare: neither run was compared with FP32.")
    twice = layers[LAYER][layers[LAYER].duplicated()].tolist()
    if twice:
        raise InputError("charts.diff", f"layer {twice[0]!r} twice", f"pass {SOURCE}")
    bars = _Bars(layers, names, own)
    named = "own SQNR" if bars.own else "SQNR"
    chart = figure(bars.title(), "layer, in graph order", f"gain in {named} (dB)")
    bars.draw(chart)
    bars.name_layers(chart, most_named)
    layer_axis(chart, bars.order)
    said = " against ".join(plain(shorten(name, RUN_NAME)) for name in reversed(names))
    chart.update_layout(
        title_subtitle_text=said,
        hovermode="x unified",
        hoverdistance=1,
        barmode="overlay",
        bargap=0.0 if bars.many else 0.15,
        margin_t=ABOVE,
        showlegend=True,
        height=chart.layout.height + ABOVE - TEMPLATE.layout.margin.t,
    )
    return chart.update_xaxes(range=[-0.5, len(bars.order) - 0.5])  # Plotly leaves room beside marks


class _Bars:
    """The layers' gains, what is infinite at the ends of the axis."""

    def __init__(self, layers: pd.DataFrame, names: tuple[str, str], own: bool):
        self.order, self.names = [plain(name) for name in layers[LAYER]], [plain(name) for name in names]
        self.changes, self.many = layers["change"].to_numpy(), len(layers) > LABELS
        own_gain, gain = numbers(layers["own_gain_db"]), numbers(layers["gain_db"])
        self.own = own and not np.isnan(own_gain).all()
        self.db = own_gain if self.own else gain
        self.marks = gain if self.own and not self.many else None  # among many bars they would be noise
        prefix = "own" if self.own else "sqnr"
        self.ends = [numbers(layers[f"{prefix}_{run}_db"]) for run in "ab"]
        self.said = [f"{decibel(a)} → {decibel(b)}" for a, b in zip(*self.ends, strict=True)]
        known = np.abs(np.concatenate([self.db, gain[:0] if self.marks is None else self.marks]))
        finite = known[np.isfinite(known)]
        self.cap = float(f"{max(finite, default=0.0) * 1.08 or 1.0:.4g}")
        self.height = np.where(np.isinf(self.db), np.sign(self.db) * self.cap, self.db)
        self.kinds = {WON: self.db >= SAME_DB, LOST: self.db <= -SAME_DB, WITHIN: np.abs(self.db) < SAME_DB}

    def title(self) -> str:
        won, lost = (int(self.kinds[kind].sum()) for kind in (WON, LOST))
        if not np.isfinite(self.db).any() and not won + lost:
            return "No layer that both runs have was measured"
        if not won + lost:
            return f"No layer changed by {SAME_DB:g} dB or more"
        first = int(np.nanargmax(np.abs(self.db)))
        counted = f"{won or 'none'} of {len(self.order):,} layers won, {lost or 'none'} lost; most: "
        return titled(counted[:1].upper() + counted[1:], self.order[first], f", {self._gain(first)}")

    def _gain(self, at: int) -> str:
        """A gain as text; where only one run is lossless or overflows, which."""
        if np.isfinite(self.db[at]):
            return f"{self.db[at]:+.1f} dB"
        before, after = (decibel(ends[at]) for ends in self.ends)
        return f"now {after}" if np.isinf(self.ends[1][at]) else f"was {before}"

    def draw(self, chart: go.Figure) -> None:
        self._draw_marks(chart)
        for kind, at in self.kinds.items():
            if (at & np.isfinite(self.db)).any():
                self._draw_bars(chart, kind, at & np.isfinite(self.db), COLOURS[kind], hatched=False)
        for sign, kind in ((1, WON), (-1, LOST)):
            if (at := np.isinf(self.db) & (np.sign(self.db) == sign)).any():
                self._draw_bars(chart, kind, at, COLOURS[kind], hatched=True)
        whose = {ONLY_A: self.names[0], ONLY_B: self.names[1]}
        if len(alone := np.flatnonzero(np.isin(self.changes, list(whose)))):
            chart.add_trace(
                go.Scatter(
                    x=[self.order[i] for i in alone],
                    y=[0.0] * len(alone),
                    name="in one run only",
                    mode="markers",
                    marker={"symbol": "x-thin-open", "size": 9, "color": GREY, "line": {"width": 2, "color": GREY}},
                    customdata=[whose[self.changes[i]] for i in alone],
                    hovertemplate="only in %{customdata}<extra></extra>",
                )
            )

    def _draw_marks(self, chart: go.Figure) -> None:
        """The accumulated SQNR's gain; this trace says the layers' names, for those that follow, too."""
        y = np.full(len(self.order), np.nan) if self.marks is None else self.marks
        chart.add_trace(
            go.Scatter(
                x=self.order,
                y=small(y, 4),
                name="accumulated",
                mode="markers",
                marker={"symbol": "diamond", "size": 6, "color": ORANGE},
                cliponaxis=False,
                showlegend=bool(np.isfinite(y).any()),
                hovertemplate="%{y:+.1f} dB",
            )
        )

    def _draw_bars(self, chart: go.Figure, name: str, at: np.ndarray, colour: str, *, hatched: bool) -> None:
        """Bars of some layers, over all places, which a first name and a step of one say; the few hatched ones beside
        others by name."""
        marker: dict = {"color": colour, "line": {"width": 0}}
        if hatched:
            pattern = {"shape": "/", "size": 6, "solidity": 0.35, "fgcolor": colour}
            marker = {"color": "rgba(0,0,0,0)", "pattern": pattern, "line": {"color": colour, "width": 1}}
        few = hatched and len(chart.data) > 1
        shown = np.flatnonzero(at) if few else np.arange(len(at))
        place: dict = {"x": [self.order[i] for i in shown]} if few else {"x0": self.order[0], "dx": 1}
        number = "" if hatched else "%{y:+.1f} dB, "
        chart.add_trace(
            go.Bar(
                y=small(np.where(at, self.height, np.nan)[shown], 4),
                name=INFINITE if hatched else name,
                legendgroup=name,
                showlegend=hatched and all(trace.name != INFINITE for trace in chart.data),
                offsetgroup="layers",
                marker=marker,
                customdata=[self.said[i] if at[i] else None for i in shown],
                hovertemplate=number + "%{customdata}" + f"<extra>{name}</extra>",
                **place,
            )
        )

    def name_layers(self, chart: go.Figure, most: int) -> None:
        """The largest gains in a strip above everything, the largest losses in one below, each with a line."""
        changed = np.flatnonzero(self.kinds[WON] | self.kinds[LOST])
        first = sorted(changed, key=lambda i: -abs(self.db[i]))[: min(most, max(1, len(self.order) // 3))]
        low, high = min(0.0, *self._reach(-1)), max(0.0, *self._reach(1))
        span = high - low or 1.0
        above, below = (self._strip(chart, first, sign, (low, high)) for sign in (1, -1))
        room = [LINE * (lines + 0.4) if lines else 0.06 for lines in (below, above)]
        chart.update_yaxes(range=small([low - span * room[0], high + span * room[1]]))

    def _reach(self, sign: int) -> list[float]:
        """How far bars and marks go to one side."""
        found = np.concatenate([self.height, self.db[:0] if self.marks is None else self.marks])
        found = found[np.isfinite(found)]
        return [float(max(found * sign, default=0.0)) * sign, 0.0]

    def _strip(self, chart: go.Figure, layers: list[int], sign: int, ends: tuple[float, float]) -> int:
        """How many lines of text it takes."""
        placed: list[Placed] = []
        for i in sorted(j for j in layers if np.sign(self.db[j]) == sign):
            text = f"{shorten(self.order[i], NAME_LENGTH)}, {self._gain(i)}"
            line, x, start, _ = free((i + 0.5) / len(self.order), CHARACTER * len(text), placed)
            placed.append((line, x, start, start + CHARACTER * len(text)))
            colour = COLOURS[WON if sign > 0 else LOST]
            chart.add_annotation(
                x=self.order[i],
                y=small([self.height[i]], 4)[0],
                text=text,
                ax=0,
                ayref="y",
                ay=(ends[1] if sign > 0 else ends[0]) + sign * (ends[1] - ends[0]) * LINE * (line + 0.6),
                xanchor="left" if start == x else "right",
                showarrow=True,
                arrowhead=0,
                arrowwidth=1,
                arrowcolor=colour,
                font={"size": 11, "color": colour},
                standoff=2,
            )
        return 1 + max((p[0] for p in placed), default=-1)
