"""One translation into ONNX for graphs that are the same: it takes most of an export's time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from qnb.export import onnx_file
from qnb.export.float_model import float_model


@contextmanager
def kept(known: dict) -> Iterator[None]:
    """Within it, exports take a graph's translation from ``known``, or put it there.

    For one model at several precisions: their graphs are the same or differ in code; encodings come later.
    """

    def translated(sim, exported, batch):
        key = exported.module.code, batch
        if key not in known:
            known[key] = float_model(sim, exported, batch)
        return known[key].clone()

    with patch.object(onnx_file, "float_model", translated):
        yield
