"""Tensors of a module by dotted path, to read and to write."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def attribute(module: nn.Module, path: str) -> Any:
    """What stands at ``path``: ``attribute(model, "layer1.conv.weight")``."""
    for part in path.split("."):
        module = getattr(module, part)
    return module


def has_attribute(module: nn.Module, path: str) -> bool:
    try:
        attribute(module, path)
    except AttributeError:
        return False
    return True


def set_tensor(module: nn.Module, path: str, value: torch.Tensor) -> None:
    """Register or replace the parameter or buffer at ``path``; its owner must exist."""
    owner, _, leaf = path.rpartition(".")
    owner = module.get_submodule(owner) if owner else module
    if leaf in owner._parameters or leaf in owner._buffers:
        delattr(owner, leaf)
    if isinstance(value, nn.Parameter):
        owner.register_parameter(leaf, value)
    else:
        owner.register_buffer(leaf, value)


def drop_tensor(module: nn.Module, path: str) -> None:
    owner, _, leaf = path.rpartition(".")
    delattr(module.get_submodule(owner) if owner else module, leaf)
