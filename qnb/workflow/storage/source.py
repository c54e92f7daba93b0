"""Where something is read from, for errors; and what every reader of a file does with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from qnb import schema
from qnb.errors import FileError, QnbError

T = TypeVar("T")
REMEDY = "save the workflow again with flow.save(path)"


@dataclass(frozen=True)
class Source:
    """A file that is being read; ``operation`` is what the caller asked for."""

    operation: str
    remedy: str = REMEDY

    def error(self, received: str) -> FileError:
        return FileError(self.operation, f"the file is damaged: {received}", self.remedy)

    def check(self, value: Any, wanted: dict) -> None:
        """Whether parsed JSON is what a schema describes; a FileError where not."""
        schema.check(value, wanted, self.operation, self.remedy)

    def made(self, make: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """What a constructor with a validation of its own makes of checked values; its refusal is a FileError."""
        try:
            return make(*args, **kwargs)
        except QnbError as error:
            raise self.error(f"{error.operation}: {error.received}") from error
