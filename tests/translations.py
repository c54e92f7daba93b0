"""One translation into ONNX for graphs that are the same: it takes most of an export's time."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import torch

from qnb.export.onnx import file as onnx_file
from qnb.export.onnx.float_model import float_model

KEPT = 48
LARGEST = 2_000_000
"""Bytes of constants; larger models are translated each time."""


@contextmanager
def kept() -> Iterator[None]:
    """Within it, exports translate a graph once: a graph with the same code, constants and inputs is that one.

    Precisions of one model have the same graph, or few; encodings come after the translation.
    """
    known: dict[tuple, object] = {}

    def translated(sim, exported, batch):
        if _bytes(exported.module) > LARGEST:
            return float_model(sim, exported, batch)
        key = _key(sim, exported, batch)
        if key not in known:
            known[key] = float_model(sim, exported, batch)
            while len(known) > KEPT:
                known.pop(next(iter(known)))
        return _clone(known[key])

    with patch.object(onnx_file, "float_model", translated):
        yield


def _clone(model):
    """A model's own clones share the types of their values, which an export changes in place."""
    found = model.clone()
    for value in (*found.graph.inputs, *found.graph.outputs, *(v for node in found.graph for v in node.outputs)):
        value.type = copy.copy(value.type)
    return found


def _tensors(module) -> list:
    return [*module.named_parameters(), *module.named_buffers()]


def _bytes(module) -> int:
    return sum(tensor.nbytes for _, tensor in _tensors(module))


def _key(sim, exported, batch) -> tuple:
    constants = hashlib.sha256()
    for name, tensor in _tensors(exported.module):
        constants.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        constants.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    values = [node.meta["val"] for node in sim.captured.module.graph.nodes if node.op == "placeholder"]
    inputs = [(i.shape, tuple(v.shape), v.dtype) for i, v in zip(sim.captured.inputs, values, strict=True)]
    return exported.module.code, constants.digest(), str(inputs), tuple(exported.inputs), tuple(exported.outputs), batch
