"""One line for the workflow's job: what it does, the time left, Cancel; and how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ipywidgets as widgets

from qnb.errors import QnbError
from qnb.html import TONES, escape

if TYPE_CHECKING:
    from qnb.workflow.jobs.job import Job
    from qnb.workflow.workflow import Workflow

MARKS = {"neutral": "", "good": "✓ ", "warn": "! ", "bad": "✗ "}


class JobLine:
    """Follows ``flow.job``; every panel has one."""

    def __init__(self, flow: Workflow):
        self.flow, self._job, self._end = flow, None, None
        self.bar = widgets.FloatProgress(min=0.0, max=1.0, layout=widgets.Layout(width="160px", display="none"))
        self.text = widgets.HTML(layout=widgets.Layout(flex="1 1 200px", min_width="0"))
        self.cancel = widgets.Button(
            description="Cancel",
            tooltip="Stop after the batch that is running",
            layout=widgets.Layout(width="auto", display="none"),
            disabled=True,
        )
        self.cancel.on_click(lambda _: self._job and self._job.cancel())  # which says so at once
        self.widget = widgets.Box(
            [self.cancel, self.bar, self.text],
            layout=widgets.Layout(
                display="none",
                flex_flow="row wrap",
                align_items="center",
                width="100%",
                grid_gap="4px 8px",
            ),
        )

    def say(self, words: str, tone: str = "neutral") -> None:
        """Show a sentence; the mark before it says the tone too."""
        self.widget.layout.display = "flex" if words or self._end is not None else "none"
        edge = f"border-left:3px solid {TONES[tone]};padding-left:8px" if words else ""
        self.text.value = f'<div role="status" style="{edge}">{escape(MARKS[tone] + words)}</div>'

    def draw(self) -> None:
        """Follow a new job; say how the last one ended."""
        job = self.flow.job
        if job is self._job:
            if job is not None and not job.running and self._end is not None:
                self._ended(job)
            return
        self._leave()
        self._job, self._end = job, job.reported.connect(self._report)
        self.cancel.disabled, self.cancel.layout.display, self.bar.layout.display = job.cancelling, None, None
        self.bar.value = 0.0
        self.say(f"{job.name}: starting")
        if not job.running:
            self._ended(job)  # pyright: ignore[reportArgumentType]

    def _report(self, job: Job) -> None:
        self.cancel.disabled = job.cancelling
        self.bar.value = job.progress.fraction or 0.0
        self.say(str(job.progress))

    def _ended(self, job: Job) -> None:
        self._leave()
        self.cancel.disabled, self.cancel.layout.display, self.bar.layout.display = True, "none", "none"
        if job.status == "done":
            self.say(f"{job.name}: done", "good")
        elif job.status == "cancelled":
            self.say(f"{job.name}: cancelled; nothing changed", "warn")
        else:
            said = str(job.error) if isinstance(job.error, QnbError) else f"{type(job.error).__name__}: {job.error}"
            self.say(said, "bad")

    def _leave(self) -> None:
        if self._end is not None:
            self._end()
            self._end = None

    def close(self) -> None:
        self._leave()
