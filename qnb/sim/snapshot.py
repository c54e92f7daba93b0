"""A simulation as it is at one moment, for longer reading: see `qnb.sharing`."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, TypeVar

from torch import nn

from qnb.sharing import Lock
from qnb.sim.quantizer import BiasQuantizer
from qnb.sim.recurrent_steps import Steps

if TYPE_CHECKING:
    from qnb.sim.base import SimBase

Sim = TypeVar("Sim", bound="SimBase")


def snapshot(sim: Sim) -> Sim:
    """A twin of ``sim`` that later changes of it do not reach. Nothing is computed or copied but names and settings:
    both have the same tensors, the same graph and its generated code, and share what they keep of quantized weights.

    It is for reading. Writing into its tensors would write into the sim's.
    """
    with sim.lock.shared():
        twins: dict[int, nn.Module] = {}
        made = _twin(sim, twins)
    made.__dict__.update({name: copy(found) for name, found in made.__dict__.items() if name.endswith("_hooks")})
    made.lock = Lock()
    for module in twins.values():
        if isinstance(module, BiasQuantizer | Steps):
            module._refs = tuple(twins[id(quantizer)] for quantizer in module._refs)
    return made


def _twin(module: nn.Module, twins: dict[int, nn.Module]) -> nn.Module:
    """A module with the same content in dicts of its own, and so for the modules in it."""
    if id(module) not in twins:
        twins[id(module)] = made = object.__new__(type(module))
        made.__dict__.update(module.__dict__)
        made.__dict__["_parameters"] = module._parameters.copy()
        made.__dict__["_buffers"] = module._buffers.copy()
        made.__dict__["_modules"] = {n: None if m is None else _twin(m, twins) for n, m in module._modules.items()}
    return twins[id(module)]
