"""Progress in a notebook: a bar in the cell that runs, never stored in an output or a file.

The kernel updates an output that was never displayed. Front ends pass over such messages; qnb's JupyterLab extension
draws them below the cell's code (labextension/src/progress). It answers by opening a comm, which a kernel with
subshells (ipykernel 7) takes up while the cell runs: once to say that it is there, and when Cancel is clicked. Without
subshells it interrupts the kernel.

Where nobody answers (VS Code, JupyterLab without the extension), the bar is an output of its own, without a button; its
data are taken away when the step ends.
"""

from __future__ import annotations

import sys
import threading
import uuid
from typing import Any

from qnb import html
from qnb.workflow.jobs.bar import Bar
from qnb.workflow.jobs.pace import Progress

MIME = "application/vnd.qnb.progress.v1+json"
TARGET = "qnb.progress"
PATIENCE_S, PATIENCE_DRAWN = 1.5, 3
"""How long the extension may take to answer, and how often the bar is drawn meanwhile: Python may have been busy."""

_here = threading.Event()
"""The extension has answered."""
_bars: dict[str, Bar] = {}
"""Those that can be cancelled, by their ids."""


def kernel() -> Any:
    """The Jupyter kernel that this runs in, or None."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None)


def request() -> dict[str, Any] | None:
    """The message that made the kernel run this; None outside a kernel."""
    found = kernel()
    return None if found is None else {"content": {}, "metadata": {}, **found.get_parent("shell")}


def cell_of(message: dict[str, Any]) -> str:
    """The id of the cell that is running; empty where no notebook asks, as in a console or nbconvert."""
    return str(message["metadata"].get("cellId", ""))


class CellBar(Bar):
    """A bar in the running cell, with a Cancel button."""

    def __init__(self, title: str, stages: int | None = None, **more):
        super().__init__(title, stages, **more)
        self.kernel = kernel()
        self.id, self.cell = uuid.uuid4().hex, cell_of(request())  # pyright: ignore[reportArgumentType]
        self._output, self._asked, self._drawn = "", 0.0, 0

    def open(self) -> Bar:
        _listen()
        _bars[self.id] = self
        return super().open()

    def draw(self, progress: Progress) -> None:
        what = self.title if progress.message == "starting" else progress.what
        state = {"title": self.title, "text": what, "percent": progress.percent, "left": progress.how_far}
        self._tell({"state": "running", **state})
        self._drawn += 1
        self._asked = self._asked or self.clock()
        if not _here.is_set() and self._drawn > PATIENCE_DRAWN and self.clock() - self._asked >= PATIENCE_S:
            self._show(_page(**state))

    def wipe(self) -> None:
        self._tell({"state": "ended"})
        if self._output:
            self._send("update_display_data", {}, self._output)

    def close(self) -> None:
        _bars.pop(self.id, None)
        super().close()

    def _tell(self, data: dict[str, Any]) -> None:
        about = {"version": 1, "id": self.id, "cell": self.cell, "answer": not _here.is_set()}
        self._send("update_display_data", {MIME: about | data}, f"qnb-progress-{self.id}")

    def _show(self, data: dict[str, str]) -> None:
        kind = "update_display_data" if self._output else "display_data"
        self._output = self._output or uuid.uuid4().hex
        self._send(kind, data, self._output)

    def _send(self, kind: str, data: dict[str, Any], output: str) -> None:
        content = {"data": data, "metadata": {}, "transient": {"display_id": output}}
        self.kernel.send_response(self.kernel.iopub_socket, kind, content)


def _listen() -> None:
    """Let the extension answer."""
    from comm import get_comm_manager

    manager = get_comm_manager()
    if TARGET not in manager.targets:
        manager.register_target(TARGET, _answered)


def _answered(comm: Any, message: dict[str, Any]) -> None:
    """In a subshell's thread, or in the main one when the cell has ended."""
    _here.set()
    bar = _bars.get(message["content"]["data"].get("cancel"))
    if bar is not None:
        bar.cancelled.set()
    comm.close()


def _page(title: str, text: str, percent: int | None, left: str) -> dict[str, str]:
    """The bar as an output; the extension's style sheet hides it, where it has come late."""
    track = "var(--jp-layout-color3, rgba(128, 128, 128, .3))"
    full = f"linear-gradient(var(--jp-brand-color1, #1976d2) 0 0) 0 / {percent or 0}% 100% no-repeat, {track}"
    return {
        "text/plain": f"{text}: {left}",
        "text/html": f'<div class="qnb-progress" title="{html.escape(title)}" '
        'style="display:flex;align-items:center;gap:8px">'
        f'<span style="flex:none;width:160px;height:6px;border-radius:3px;background:{full}"></span>'
        f'<span>{html.escape(text)}</span><span style="opacity:.75">{html.escape(left)}</span>'
        '<span style="opacity:.75">Interrupt the kernel to cancel.</span></div>',
    }
