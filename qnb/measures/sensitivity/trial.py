"""What a sim's quantizers are set to, as plain data that travels to other processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from qnb.arguments import short
from qnb.errors import InputError
from qnb.sim import QuantSim
from qnb.sim.base import SimBase
from qnb.sim.quantizer_state import QuantizerState, quantizer_modules


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
    def between(cls, sim: QuantSim, changed: QuantSim, name: str = "trial") -> Trial:
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
            raise InputError("Trial.between", "sims of different models or targets", "change a sim.copy()")
        tensors, others = sim.tensors(), changed.tensors()
        moved = [n for n, t in tensors.items() if t is not others[n] and not torch.equal(t, others[n].to(t.device))]
        if moved:
            raise InputError(
                "Trial.between",
                f"sims with different weights ({moved[0]!r})",
                "start from a copy of the sim whose weights were changed",
            )
        states = ((n, QuantizerState.of(before[n]).plain(), QuantizerState.of(after[n]).plain()) for n in before)
        return cls(name, {n: new for n, old, new in states if new != old})

    @contextmanager
    def applied(self, sim: QuantSim) -> Iterator[QuantSim]:
        """Inside, the sim is set like this; afterwards as before."""
        modules = quantizer_modules(sim)
        before = {name: QuantizerState.of(modules[name]) for name in self.changes}
        try:
            with sim.lock.alone():
                for name, state in self.changes.items():
                    state.put(modules[name], sim.device)
            yield sim
        finally:
            with sim.lock.alone():
                for name, state in before.items():
                    state.restore(modules[name])


def check_plain(sim: object, operation: str) -> None:
    """Whether the quantizers of a sim can be set otherwise: those of an exact simulation are fixed.

    Raises:
        InputError: it is no `QuantSim`.
    """
    if not isinstance(sim, QuantSim):
        what = "an exact simulation, whose settings are fixed" if isinstance(sim, SimBase) else f"sim={short(sim)}"
        raise InputError(operation, what, "pass the QuantSim")
