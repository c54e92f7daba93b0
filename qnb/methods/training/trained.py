"""What a training moves: the model's parameters, and the ranges of its quantizers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from qnb.methods.training.lsq import LearnedRange, learned_ranges
from qnb.numerics import Grid
from qnb.sim.calibration import guard_bias_overflow, weight_encodings
from qnb.sim.quantizer import Quantizer

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim


class Trained:
    """The tensors that an optimiser moves, and what follows from them.

    Args:
        sim: calibrated; its tensors are its own.
        scales, offsets: whether ranges are learned.

    Weights on symmetric 16-bit grids follow min-max, as in calibration, with the headroom that the target asks for.
    """

    def __init__(self, sim: QuantSim, scales: bool = True, offsets: bool = True):
        self.sim = sim
        self.start = encodings(sim)
        self.parameters = parameters(sim)
        self.ranges: dict[str, LearnedRange] = learned_ranges(sim, offsets) if scales else {}
        self.following = {k for k in sim.plan.weights if _is_int16(sim.weight(k))}

    def named(self) -> dict[str, nn.Parameter]:
        """``parameter/<name>``, ``theta/<quantizer>``, ``phi/<quantizer>``."""
        found = {f"parameter/{name}": p for name, p in self.parameters.items()}
        for path, learned in self.ranges.items():
            found[f"theta/{path}"] = learned.theta
            if learned.phi is not None:
                found[f"phi/{path}"] = learned.phi
        return found

    def groups(self, learning_rate: float, scale_learning_rate: float) -> list[dict[str, Any]]:
        """For an optimiser; what is learned of ranges has no weight decay."""
        scales = [p for learned in self.ranges.values() for p in learned.parameters()]
        groups = [
            {"params": list(self.parameters.values()), "lr": learning_rate},
            {"params": scales, "lr": scale_learning_rate, "weight_decay": 0.0},
        ]
        return [group for group in groups if group["params"]]

    def require_gradient(self, needed: bool = True) -> None:
        for learned in self.ranges.values():
            learned.require_gradient(needed)

    def take_gradients(self) -> None:
        for learned in self.ranges.values():
            learned.take_gradient()

    def write(self) -> None:
        """Bring the quantizers to what the optimiser has."""
        for learned in self.ranges.values():
            learned.write()
        if self.following:
            weight_encodings(self.sim, self.following)
            guard_bias_overflow(self.sim)
            self.require_gradient()  # the guard may have put another scale in place

    def snapshot(self) -> dict[str, torch.Tensor]:
        return {name: p.detach().clone() for name, p in self.named().items()}

    @torch.no_grad()
    def put(self, values: dict[str, torch.Tensor]) -> None:
        """Back to a `snapshot`."""
        for name, parameter in self.named().items():
            parameter.copy_(values[name])
        self.write()

    def finish(self) -> None:
        """What was learned is the range from now on, for another precision too; statistics of before are not."""
        self.require_gradient(False)
        for parameter in self.parameters.values():
            parameter.grad = None
        for learned in self.ranges.values():
            quantizer = learned.quantizer
            quantizer.minimum, quantizer.maximum = (end.detach() for end in quantizer.limits())
            quantizer.statistics = None
        guard_bias_overflow(self.sim)


def parameters(sim: QuantSim) -> dict[str, nn.Parameter]:
    """The model's parameters that require gradients, each once, by name."""
    found: dict[int, tuple[str, nn.Parameter]] = {}
    for name, tensor in sim.tensors().items():
        if isinstance(tensor, nn.Parameter) and tensor.requires_grad:
            found.setdefault(id(tensor), (name, tensor))
    return dict(found.values())


def encodings(sim: QuantSim) -> dict[str, torch.Tensor]:
    """Of all quantizers that have one: ``scale/<quantizer>`` and ``zero_point/<quantizer>``, cloned."""
    found = {}
    for path, quantizer in _quantizers(sim).items():
        if quantizer.scale is not None:
            found[f"scale/{path}"] = quantizer.scale.detach().clone()
            found[f"zero_point/{path}"] = quantizer.zero_point.detach().clone()
    return found


def put_encodings(sim: QuantSim, tensors: dict[str, torch.Tensor]) -> None:
    """Give every quantizer what `encodings` found."""
    for path, quantizer in _quantizers(sim).items():
        if f"scale/{path}" in tensors:
            quantizer.set_encoding(*(tensors[f"{part}/{path}"].to(sim.device) for part in ("scale", "zero_point")))


def _quantizers(sim: QuantSim) -> dict[str, Quantizer]:
    activations = {f"activation_quantizers.{k}": sim.activation(k) for k in sim.plan.activations}
    return activations | {f"weight_quantizers.{k}": sim.weight(k) for k in sim.plan.weights}


def _is_int16(quantizer: Quantizer) -> bool:
    grid = quantizer.grid
    return quantizer.active and isinstance(grid, Grid) and grid.symmetric and grid.bits == 16
