"""What a quantizer is set to, as one value: to copy, compare, send and bring back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from qnb.numerics import FloatGrid, Grid
from qnb.sim.quantizer import BiasQuantizer, Quantizer

if TYPE_CHECKING:
    from qnb.sim.base import SimBase

Tensor = torch.Tensor | np.ndarray


@dataclass(frozen=True, eq=False)
class QuantizerState:
    """All settings of one quantizer; of a bias only whether it is on, the rest follows from input and weight.

    ``scale``, ``zero_point``, ``minimum`` and ``maximum``: float32 of shape ``()``, ``(channels,)`` or the blocks';
    None before calibration.
    """

    enabled: bool
    grid: Grid | FloatGrid | None = None
    axis: int | None = None
    scale: Tensor | None = None
    zero_point: Tensor | None = None
    minimum: Tensor | None = None
    maximum: Tensor | None = None
    statistics: Any = None
    rule: tuple[str, dict] | None = None
    frozen: bool = False

    @classmethod
    def of(cls, module: Quantizer | BiasQuantizer) -> QuantizerState:
        """A quantizer's state now, with its very tensors."""
        return cls(**{name: getattr(module, name) for name in _names(module)})

    def restore(self, module: Quantizer | BiasQuantizer) -> None:
        """Set the quantizer that this was taken from back to it."""
        for name in _names(module):
            setattr(module, name, getattr(self, name))

    def put(self, module: Quantizer | BiasQuantizer, device: torch.device | None = None) -> None:
        """Set another quantizer to this; its scale and zero point are new tensors."""
        new = {name: _parameter(getattr(self, name), device) for name in ("scale", "zero_point")}
        replace(self, **new).restore(module)

    def plain(self) -> QuantizerState:
        """What a forward pass depends on, as plain data that pickles: no range, statistics or rule."""
        return QuantizerState(self.enabled, self.grid, self.axis, _array(self.scale), _array(self.zero_point))

    def __eq__(self, other) -> bool:
        """Tensors are the same where they hold the same; statistics only where they are one object."""
        if not isinstance(other, QuantizerState):
            return NotImplemented
        return all(_same(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))

    __hash__ = None


def quantizer_modules(sim: SimBase) -> dict[str, Quantizer | BiasQuantizer]:
    """Every quantizer by its path in ``sim.graph_module``."""
    modules = sim.graph_module.named_modules()
    return {name: m for name, m in modules if isinstance(m, Quantizer | BiasQuantizer)}


@contextmanager
def unchanged_on_error(sim: SimBase) -> Iterator[None]:
    """Where anything is raised inside, the sim's quantizers are as they were."""
    before = [(module, QuantizerState.of(module)) for module in quantizer_modules(sim).values()]
    try:
        yield
    except BaseException:
        for module, state in before:
            state.restore(module)
        raise


def _names(module: Quantizer | BiasQuantizer) -> Iterator[str]:
    return (f.name for f in fields(QuantizerState) if f.name == "enabled" or isinstance(module, Quantizer))


def _parameter(values: Tensor | None, device: torch.device | None) -> nn.Parameter | None:
    if values is None:
        return None
    values = torch.tensor(values) if isinstance(values, np.ndarray) else values.detach().clone()
    return nn.Parameter(values.to(device), requires_grad=False)


def _array(values: Tensor | None) -> np.ndarray | None:
    return np.array(values.detach().cpu().numpy()) if isinstance(values, torch.Tensor) else values


def _same(a, b) -> bool:
    if a is b:
        return True
    if isinstance(a, torch.Tensor | np.ndarray) and isinstance(b, torch.Tensor | np.ndarray):
        a, b = _array(a), _array(b)
        return a.dtype == b.dtype and np.array_equal(a, b)
    return type(a) is type(b) and a == b
