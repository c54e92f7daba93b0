"""What may be stored in a notebook at all, whatever its cells say when they run."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping

SIZE_LIMIT = 500_000
"""Bytes: beyond this a browser and a review both suffer. Widget state alone is 5 MB."""

NEEDS_QNN = "needs-qnn"


def stored_faults(notebook: Mapping, size_bytes: int) -> Iterator[str]:
    """Yield what is wrong with a notebook as it is stored, before any cell runs.

    >>> list(stored_faults({"metadata": {"widgets": {}}, "cells": []}, size_bytes=612_345))
    ['metadata.widgets is there: `make notebooks` leaves it out', 'it has 612 kB; 500 kB are allowed']
    """
    if "widgets" in notebook["metadata"]:
        yield "metadata.widgets is there: `make notebooks` leaves it out"
    if size_bytes > SIZE_LIMIT:
        yield f"it has {size_bytes / 1000:.0f} kB; {SIZE_LIMIT // 1000} kB are allowed"


def never_run(cell: Mapping) -> bool:
    """Whether a code cell has something to run but no sign of having been run.

    >>> [never_run({"source": source, "execution_count": None}) for source in ("1 + 1", " ")]
    [True, False]
    """
    return bool(cell["source"].strip()) and cell["execution_count"] is None


def can_show(cell: Mapping) -> bool:
    """Whether this machine can show what is stored: cells tagged ``needs-qnn`` say something else without the extra."""
    return NEEDS_QNN not in cell["metadata"].get("tags", ()) or importlib.util.find_spec("onnxruntime_qnn") is not None
