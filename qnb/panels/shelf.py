"""Which panels are open, by the notebook cell that made them: running a cell again closes what it had made."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ipywidgets import Widget

_open: dict[str, tuple[int, list]] = {}


def put(panel: Any) -> None:
    """Keep a panel; close those of an earlier run of the same cell."""
    cell, count = _cell()
    if cell is None:
        return
    since, panels = _open.get(cell, (count, []))
    if since != count:
        for old in panels:
            old.close()
        panels = []
    _open[cell] = (count, [p for p in panels if not p.closed] + [panel])


def panels() -> list:
    """All that are open."""
    return [p for _, made in _open.values() for p in made if not p.closed]


def _cell() -> tuple[str | None, int]:
    """(what names the running cell, how many cells ran before it); a cell without an id goes by its text."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is None:
        return None, 0
    try:
        name = shell.get_parent()["metadata"]["cellId"]
    except (AttributeError, KeyError, TypeError):
        name = shell.user_ns.get("In", [""])[-1]
    return name, shell.execution_count


def close_all_comms(widget: Widget) -> None:
    """Close a widget with everything in it: children, layouts and styles have comms of their own."""
    from ipywidgets import Widget

    seen, waiting = set(), [widget]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        for name in one.keys:
            value = getattr(one, name, None)
            waiting += [v for v in (value if isinstance(value, list | tuple) else [value]) if isinstance(v, Widget)]
        one.close()
