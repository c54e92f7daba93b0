"""Errors that name the operation, what was received, and the remedy."""

from __future__ import annotations


class QnbError(Exception):
    """Base of all errors that qnb raises on purpose.

    Args:
        operation: what was being done, as the user would call it (``"QuantSim.calibrate"``).
        received: what was found.
        remedy: what to do about it.

    >>> str(InputError("QuantSim.calibrate", "the loader is empty", "pass at least one batch"))
    'QuantSim.calibrate: the loader is empty. To fix: pass at least one batch.'
    >>> str(InputError("flow.run", "unknown option metod='mse'", "Did you mean method='mse'?"))
    "flow.run: unknown option metod='mse'. Did you mean method='mse'?"
    """

    def __init__(self, operation: str, received: str, remedy: str):
        self.operation, self.received, self.remedy = operation, received.rstrip("."), remedy.rstrip(". ")
        todo = self.remedy if self.remedy.startswith("Did you mean") else f"To fix: {self.remedy}"
        super().__init__(f"{self.operation}: {self.received}. {todo}{'' if todo.endswith('?') else '.'}")

    def __reduce__(self):
        return type(self), (self.operation, self.received, self.remedy)


class InputError(QnbError, ValueError):
    """A batch, an argument or a name that does not fit."""


class CaptureError(QnbError, RuntimeError):
    """The model cannot be captured as a graph."""


class CalibrationError(QnbError, RuntimeError):
    """Ranges are missing or cannot be found."""


class PrecisionError(QnbError, ValueError):
    """A precision that does not exist or does not fit."""


class TargetError(QnbError, ValueError):
    """A target that does not exist, or that does not support what was asked."""


class EvaluateError(QnbError, RuntimeError):
    """The user's evaluation function raised or returned something unusable."""


class ExportError(QnbError, RuntimeError):
    """A model that cannot be written in a file's format."""


class FileError(QnbError, ValueError):
    """A file that is missing, damaged or of another kind."""


class DependencyError(QnbError, ImportError):
    """A package that an optional feature needs is not installed, or does not run on this platform."""


class Cancelled(QnbError, RuntimeError):
    """The user cancelled a step; nothing has changed."""

    def __init__(self, operation: str = "qnb", received: str = "cancelled", remedy: str = "run the step again"):
        super().__init__(operation, received, remedy)

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: whoever cancelled needs no traceback.

        >>> Cancelled("flow.run('w8a8')")._render_traceback_()
        ["flow.run('w8a8'): cancelled. To fix: run the step again."]
        """
        return [str(self)]


class ModelAttributeError(QnbError, AttributeError):
    """An attribute of the user's class that the captured graph does not carry."""


class PluginWarning(UserWarning):
    """Another package's addition to qnb that cannot be loaded; qnb goes on without it."""
