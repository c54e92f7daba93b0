"""How a step that a person waits for says how far it is."""

from collections.abc import Callable

Report = Callable[[int, int | None, str], None]
"""``report(done, total, message)``; raising `qnb.errors.Cancelled` in it cancels the step. ``total`` is None where
nobody knows it."""
