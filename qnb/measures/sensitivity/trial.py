"""What a sim's quantizers are set to, as plain data that travels to other processes."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch

from qnb.errors import InputError
from qnb.numerics import FloatGrid, Grid
from qnb.sim.quantizer import BiasQuantizer, Quantizer


@dataclass(frozen=True, eq=False)
class QuantizerState:
    """Grid and encoding of one quantizer; of a bias only whether it is on, the rest follows.

    ``scale`` and ``zero_point``: float32 of shape ``()``, ``(channels,)`` or the blocks'; None before calibration.
    """

    enabled: bool
    grid: Grid | FloatGrid | None = None
    axis: int | None = None
    scale: np.ndarray | None = None
    zero_point: np.ndarray | None = None

    @classmethod
    def of(cls, module: Quantizer | BiasQuantizer) -> QuantizerState:
        if isinstance(module, BiasQuantizer):
            return cls(module.enabled)
        return cls(module.enabled, module.grid, module.axis, _array(module.scale), _array(module.zero_point))

    def put(self, module: Quantizer | BiasQuantizer, device: torch.device | None) -> None:
        """Set a quantizer to this; its tensors are new ones."""
        module.enabled = self.enabled
        if isinstance(module, BiasQuantizer):
            return
        module.grid, module.axis = self.grid, self.axis
        if self.scale is None:
            module.scale = module.zero_point = None
        else:
            module.set_encoding(*(torch.tensor(v, device=device) for v in (self.scale, self.zero_point)))

    def __eq__(self, other) -> bool:
        if not isinstance(other, QuantizerState):
            return NotImplemented
        same = (self.enabled, self.grid, self.axis) == (other.enabled, other.grid, other.axis)
        return same and _equal(self.scale, other.scale) and _equal(self.zero_point, other.zero_point)

    __hash__ = None


@dataclass(frozen=True)
class Trial:
    """How a sim's quantizers are to be set in place of how they are: plain data that pickles.

    Args:
        name: for errors.
        changes: the quantizer's path in ``sim.graph_module`` to its state; quantizers that are not in it stay.
    """

    name: str = "trial"
    changes: Mapping[str, QuantizerState] = field(default_factory=dict)

    @classmethod
    def between(cls, sim, changed, name: str = "trial") -> Trial:
        """What is set otherwise in ``changed``, a changed copy of ``sim``.

        Raises:
            InputError: another model, or weights that are no longer the same: a trial carries settings only.

        >>> import torch, qnb
        >>> sim = qnb.QuantSim(torch.nn.Linear(4, 2).eval(), torch.ones(2, 4), "w8a8").calibrate([torch.ones(2, 4)])
        >>> sorted(Trial.between(sim, sim.copy().disable(kind="weight")).changes)
        ['weight_quantizers.linear_arg1']
        """
        before, after = quantizer_modules(sim), quantizer_modules(changed)
        if before.keys() != after.keys():
            raise InputError("Trial.between", "sims of two models or targets", "change a sim.copy()")
        tensors, others = sim.tensors(), changed.tensors()
        moved = [n for n, t in tensors.items() if t is not others[n] and not torch.equal(t, others[n].to(t.device))]
        if moved:
            raise InputError(
                "Trial.between",
                f"sims with different weights ({moved[0]!r})",
                "start from a copy of the sim whose weights were changed",
            )
        states = ((n, QuantizerState.of(before[n]), QuantizerState.of(after[n])) for n in before)
        return cls(name, {n: new for n, old, new in states if new != old})

    @contextmanager
    def applied(self, sim):
        """Inside, the sim is set like this; afterwards as before, with new tensors of the same values."""
        modules = quantizer_modules(sim)
        before = {name: QuantizerState.of(modules[name]) for name in self.changes}
        try:
            _put(self.changes, sim, modules)
            yield sim
        finally:
            _put(before, sim, modules)


def _put(states: Mapping[str, QuantizerState], sim, modules) -> None:
    with sim.lock.alone():
        for name, state in states.items():
            state.put(modules[name], sim.device)


def check_plain(sim, operation: str) -> None:
    """An exact simulation is fixed: its quantizers cannot be set otherwise.

    Raises:
        InputError: it is one.
    """
    from qnb.sim.exact.exact_sim import ExactSim

    if isinstance(sim, ExactSim):
        raise InputError(operation, "an exact simulation, whose settings are fixed", "pass the QuantSim it was made of")


def quantizer_modules(sim) -> dict[str, Quantizer | BiasQuantizer]:
    """Every quantizer by its path in ``sim.graph_module``."""
    modules = sim.graph_module.named_modules()
    return {name: m for name, m in modules if isinstance(m, Quantizer | BiasQuantizer)}


def _array(tensor: torch.Tensor | None) -> np.ndarray | None:
    return None if tensor is None else np.array(tensor.detach().cpu().numpy())


def _equal(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    return a is b if a is None or b is None else a.dtype == b.dtype and np.array_equal(a, b)
