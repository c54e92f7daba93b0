"""The three widgets that ipywidgets lacks: a chart, a long table, a button that copies code."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

FOLDER = Path(__file__).parent
CSS = (FOLDER / "panel.css").read_text(encoding="utf-8")


class _Drawn(anywidget.AnyWidget):
    """Base: one script for both, which draws only where ``show`` is set."""

    _esm = (FOLDER / "plot.js").read_text(encoding="utf-8")
    library = traitlets.Bytes(b"").tag(sync=True)
    show = traitlets.Bool(True).tag(sync=True)


class Library(_Drawn):
    """Carries Plotly to the page, once for all charts: each FigureWidget would send its own 5 MB."""

    _one: Library | None = None

    @classmethod
    def ready(cls) -> Library:
        """The page's library; made with the first chart of a kernel."""
        if cls._one is None or cls._one.comm is None:
            cls._one = cls(library=plotly_script(), show=False)
        return cls._one


def plotly_script() -> bytes:
    from plotly.offline import get_plotlyjs

    return get_plotlyjs().encode()


class Plot(_Drawn):
    """A Plotly figure that answers to clicks and arrow keys.

    Args:
        figure: as ``figure.to_plotly_json()`` gives it; see `draw`.
        alt: what it shows, for those who cannot see it.
        marks: places on its category axis that are highlighted.
        focusable: whether it takes arrow keys.
    """

    _css = CSS
    figure = traitlets.Dict().tag(sync=True)
    alt = traitlets.Unicode("chart").tag(sync=True)
    marks = traitlets.List(traitlets.Int()).tag(sync=True)
    focusable = traitlets.Bool(False).tag(sync=True)

    def __init__(
        self, on_click: Callable[[dict], Any] | None = None, on_key: Callable[[str], Any] | None = None, **traits
    ):
        Library.ready()
        super().__init__(focusable=on_key is not None, **traits)
        self._on_click, self._on_key = on_click, on_key
        self.on_msg(self._heard)

    def draw(self, figure: go.Figure, marks: Iterable[int] = ()) -> None:
        """Show a Plotly figure; what has not changed is not sent again."""
        from qnb.workflow.documents.figures import figure_json, figure_title

        with self.hold_sync():
            self.alt = figure_title(figure)
            self.figure = figure_json(figure)
            self.marks = list(marks)

    def _heard(self, _, message: dict, buffers) -> None:
        if message.get("kind") == "library":  # the page did not get it otherwise
            self.send({"kind": "library"}, [plotly_script()])
        elif message.get("kind") == "click" and self._on_click is not None:
            self._on_click(message)
        elif message.get("kind") == "key" and self._on_key is not None:
            self._on_key(str(message.get("key", "")))


class LayerTable(anywidget.AnyWidget):
    """A table of any length with search, sort, groups that fold, and a choice of rows.

    Args:
        columns: ``{"name": ..., "align": "left" | "right"}``.
        rows: ``{"id": ..., "cells": [text, ...], "group": text}``.
        selected: ids of the chosen rows, the first one leads.
        folded: groups of which only the head shows.
        label: what it is, for those who cannot see it.
        empty: what it says without rows.
    """

    _esm = (FOLDER / "layer_table.js").read_text(encoding="utf-8")
    _css = CSS
    columns = traitlets.List().tag(sync=True)
    rows = traitlets.List().tag(sync=True)
    selected = traitlets.List(traitlets.Unicode()).tag(sync=True)
    folded = traitlets.List(traitlets.Unicode()).tag(sync=True)
    label = traitlets.Unicode("table").tag(sync=True)
    empty = traitlets.Unicode("nothing yet").tag(sync=True)
    searchable = traitlets.Bool(False).tag(sync=True)
    height = traitlets.Int(260).tag(sync=True)

    def fill(
        self, frame: pd.DataFrame, id_column: str, formats: dict | None = None, groups: list[str] | None = None
    ) -> None:
        """Show a DataFrame; ``groups`` names each row's group.

        Columns with names of `qnb.columns` get their titles; ``formats`` as for `qnb.document.Table`.
        """
        from qnb.document import Table

        table = Table(frame, max_rows=len(frame), formats=formats or {}).json()
        ids = [str(value) for value in frame[id_column]]
        groups = groups or [""] * len(ids)
        rows = [
            {"id": i, "cells": cells, "group": group}
            for i, cells, group in zip(ids, table["rows"], groups, strict=True)
        ]
        with self.hold_sync():
            self.columns, self.rows = table["columns"], rows


class CodeButton(anywidget.AnyWidget):
    """Gives the code of an action: into a cell below, or to the clipboard; what is no Python only to the latter."""

    _esm = (FOLDER / "code.js").read_text(encoding="utf-8")
    _css = CSS
    code = traitlets.Unicode("").tag(sync=True)
    label = traitlets.Unicode("Copy as code").tag(sync=True)
    insert = traitlets.Bool(True).tag(sync=True)
