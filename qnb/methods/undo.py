"""A method that fails leaves the sim it was given unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from qnb.sim.quantizer_state import QuantizerState, quantizer_modules

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim

_SIM = ("captured", "precision", "applied_methods", "weight_encodings_frozen", "_moved_reference", "_shared")


@contextmanager
def all_or_nothing(sim: QuantSim) -> Iterator[None]:
    """What is done to ``sim`` inside is undone, bit by bit, if anything is raised: an error, a cancel, an interrupt.

    Inside, the sim's tensors and encodings are copies of its own, so that writing into them is fine.
    """
    restore = _snapshot(sim)
    sim._shared = True  # whoever's they were: from here on the sim has its own
    sim.own_tensors()
    try:
        yield
    except BaseException:
        restore()
        raise


def _snapshot(sim: QuantSim):
    """A function that puts everything back."""
    own = {name: getattr(sim, name) for name in _SIM}
    modes = [(module, module.training) for module in sim.modules()]
    tensors = [(module, dict(module._parameters), dict(module._buffers)) for module in sim.graph_module.modules()]
    flags = [(p, p.requires_grad) for _, parameters, _ in tensors for p in parameters.values() if p is not None]
    quantizers = [(m, QuantizerState.of(m)) for m in quantizer_modules(sim).values()]

    def restore() -> None:
        for module, mode in modes:
            module.training = mode
        for module, parameters, buffers in tensors:
            module._parameters.clear()
            module._parameters.update(parameters)
            module._buffers.clear()
            module._buffers.update(buffers)
        for parameter, needs in flags:
            parameter.requires_grad_(needs)
        for module, state in quantizers:
            state.restore(module)
        for name, value in own.items():
            setattr(sim, name, value)
        sim.drop_cache()

    return restore
