"""Panel: what all panels share. A new one is a `build` (widgets), a `draw` (from the workflow) and a `document`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from qnb.document import Document, Shown
from qnb.errors import QnbError
from qnb.html import escape
from qnb.panels import shelf
from qnb.panels.jobs import JobLine
from qnb.panels.widgets import CodeButton

if TYPE_CHECKING:
    from qnb.workflow.workflow import Workflow

LIVE = "application/vnd.jupyter.widget-view+json"


class Panel(Shown):
    """Widgets over a workflow. It keeps no results: `draw` shows what the workflow holds, whenever that changes.

    Subclasses give `build`, `draw` and `document`. What a handler called by `do` (as those of `button`) raises is
    shown in the panel; a handler hands the code that repeats it to `note`, for the code drawer.

    Args:
        flow: the workflow.
    """

    def __init__(self, flow: Workflow):
        self.flow, self.closed = flow, False
        self._drawer: int | None = None
        self._wanted, self._lock = False, threading.Lock()
        self.job = JobLine(flow)
        self.codes: list[str] = []
        self._drawer_text = widgets.Textarea(layout=_wide(height="120px"), disabled=True)
        self._drawer_copy = CodeButton(label="Copy all")
        parts = self.build()
        parts += [] if self.job.widget in parts else [self.job.widget]  # it stands last, unless placed by `build`
        self.widget = widgets.VBox([*parts, self._code_drawer()], layout=_wide())
        self.widget.add_class("qnb-panel")
        self._ends = [flow.changed.connect(self.refresh), flow.selection.changed.connect(self.refresh)]
        shelf.put(self)
        self.refresh()

    def build(self) -> list[widgets.Widget]:
        """The widgets, from the top down; called once."""
        raise NotImplementedError

    def draw(self) -> None:
        """Bring the widgets up to date; called at every change, from any thread, one at a time."""
        raise NotImplementedError

    def document(self) -> Document:
        raise NotImplementedError

    def refresh(self) -> None:
        """Draw again. Nobody waits: where another thread is drawing, that one draws once more."""
        with self._lock:
            if self.closed or self._drawing():
                return
            self._wanted = True
            if self._drawer is not None:
                return
            self._drawer = threading.get_ident()
        try:
            while self._still_wanted():
                self._draw_once()
        except BaseException:
            self._drawer = None
            raise

    def _still_wanted(self) -> bool:
        """Whether to draw once more; if not, whoever comes next is the one that draws."""
        with self._lock:
            wanted, self._wanted = self._wanted and not self.closed, False
            if not wanted:
                self._drawer = None
            return wanted

    def _draw_once(self) -> None:
        try:
            self.job.draw()
            self.draw()
        except Exception as error:  # what runs a step must not fail because a panel does
            self.job.say(f"this panel could not be drawn: {type(error).__name__}: {error}", "bad")

    def _drawing(self) -> bool:
        """Whether this thread is drawing: events of widgets then do not come from the user."""
        return self._drawer == threading.get_ident()

    def close(self) -> None:
        """Remove it from the page and free its comms; a closed panel still has its static form."""
        with self._lock:
            if self.closed:
                return
            self.closed = True
        for end in self._ends:
            end()
        self.job.close()
        shelf.close_all_comms(self.widget)

    def button(self, label: str, action: Callable[[], Any], tip: str = "", **traits: Any) -> widgets.Button:
        """A button; what the action raises is shown in the panel."""
        layout = widgets.Layout(width="auto", flex="0 0 auto")
        made = widgets.Button(description=label, tooltip=tip, layout=layout, **traits)
        made.on_click(lambda _: self.do(action))
        return made

    def do(self, action: Callable[[], Any]) -> None:
        """Call a handler; errors are shown in the panel instead of disappearing in a log."""
        if self._drawing():
            return
        try:
            action()
        except QnbError as error:
            self.job.say(str(error), "bad")
        except Exception as error:
            self.job.say(f"{type(error).__name__}: {error}", "bad")

    def note(self, code: str) -> None:
        """Add an action's code to the drawer."""
        self.codes.append(code)
        self._drawer_text.value = self._drawer_copy.code = "\n".join(self.codes)

    def _code_drawer(self) -> widgets.Widget:
        show = widgets.ToggleButton(
            False,
            description="Code",
            tooltip="The code of the actions in this panel, to run again",
            layout=widgets.Layout(width="auto"),
        )
        box = widgets.VBox([self._drawer_text, self._drawer_copy], layout=_wide(display="none"))

        def toggle(change) -> None:
            box.layout.display = None if change["new"] else "none"

        show.observe(toggle, "value")
        return widgets.VBox([show, box], layout=_wide(align_items="flex-start"))

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        bundle = self.document().bundle()
        if not self.closed:
            bundle[LIVE] = self.widget._repr_mimebundle_()[LIVE]
        return bundle


def _wide(**traits) -> widgets.Layout:
    return widgets.Layout(width="100%", overflow="visible", **traits)


def columns(*children: widgets.Widget, least: str = "400px") -> widgets.Box:
    """Side by side where there is room for ``least`` each, else one below the other."""
    for child in children:
        child.layout.flex, child.layout.min_width = f"1 1 {least}", "0"  # pyright: ignore[reportAttributeAccessIssue]
    return widgets.Box(list(children), layout=_wide(display="flex", flex_flow="row wrap", grid_gap="4px 20px"))


def line(*children: widgets.Widget, wrap: bool = True) -> widgets.Box:
    """Controls side by side."""
    flow = f"row {'wrap' if wrap else 'nowrap'}"
    return widgets.Box(
        list(children), layout=_wide(display="flex", flex_flow=flow, align_items="center", grid_gap="4px 8px")
    )


def heading(text: str, more: str = "") -> str:
    """A title line in HTML."""
    return f'<div><b style="font-size:15px">{escape(text)}</b> <span style="opacity:.85">{escape(more)}</span></div>'
