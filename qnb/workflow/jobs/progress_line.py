"""Progress outside a notebook: a line of the terminal, or of a log."""

from __future__ import annotations

import shutil
import sys

from qnb.workflow.jobs.bar import Bar
from qnb.workflow.jobs.pace import Progress


class Line(Bar):
    """One line on stderr, rewritten in place, wiped at the end.

    Args: as for `Bar`, and ``stream``: where to write.
    """

    def __init__(self, title: str, stages: int | None = None, stream=None, **more):
        super().__init__(title, stages, **more)
        self.stream, self.width = stream or sys.stderr, 0

    def draw(self, progress: Progress) -> None:
        room = shutil.get_terminal_size().columns - 1  # a line that wraps cannot be rewritten
        text = (f"{self.title}: {progress}" if progress.message == "starting" else str(progress))[:room]
        self._write("\r" + text.ljust(self.width))
        self.width = len(text)

    def wipe(self) -> None:
        self._write("\r" + " " * self.width + "\r")

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()


class Log(Bar):
    """One line on stderr for a step of more than a second, in a file or a pipe."""

    def __init__(self, title: str, stages: int | None = None, stream=None, **more):
        super().__init__(title, stages, **more)
        self.stream, self.written = stream or sys.stderr, False

    def draw(self, progress: Progress) -> None:
        if not self.written:
            self.written = True
            self.stream.write(f"{self.title} ...\n")
            self.stream.flush()

    def wipe(self) -> None:
        """A log keeps its lines."""
