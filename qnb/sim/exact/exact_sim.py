"""A copy of a QuantSim whose layers compute as a runtime's integer kernels do."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import fx

from qnb.errors import CalibrationError, InputError, ModelAttributeError, PrecisionError
from qnb.graph import ops
from qnb.numerics import Grid, quantize
from qnb.sim.base import SimBase
from qnb.sim.exact.integer_ops import Layer
from qnb.sim.exact.kernels import KERNELS, Kernels
from qnb.sim.exact.operands import Operand
from qnb.sim.placement import tensor_roles
from qnb.sim.placement.plan import LayerGroup
from qnb.sim.placement.superfluous import superfluous
from qnb.sim.quantizer import spread

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim


class ExactSim(SimBase):
    """What ``sim.exact(runtime)`` returns: a copy of the QuantSim, fixed as it was then.

    Args:
        sim: a calibrated QuantSim, which becomes ``.sim``; its graph becomes this one's.
        runtime: a name in `qnb.sim.exact.KERNELS`.

    ``layers_exact`` names the layers that are computed in the runtime's integers.
    """

    def __init__(self, sim: QuantSim, runtime: str):
        super().__init__(sim.captured, sim.graph_module, sim.plan, sim.target, sim.precision)
        self.__dict__["sim"] = sim  # so that it is no submodule: its tensors are this one's
        self._shared = sim._shared
        self.train(sim.training)
        self.applied_methods, self.weight_encodings_frozen = sim.applied_methods, sim.weight_encodings_frozen
        self.runtime = runtime
        self.layers_exact = _replace(self, KERNELS[runtime])

    def copy(self) -> ExactSim:
        return self.exact(self.runtime)

    def exact(self, runtime: str) -> ExactSim:
        return exact(self.sim, runtime)

    def __getattr__(self, name: str):
        """What only a QuantSim has would change it."""
        sim = self.__dict__.get("sim")
        if not name.startswith("_") and hasattr(type(sim), name):
            raise ModelAttributeError(
                f"{name} of an exact simulation",
                "its integer kernels are made for fixed encodings",
                "change the QuantSim and call exact() again",
            )
        return super().__getattr__(name)

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, {len(self.layers_exact)} layers in {self.runtime}'s integers)"


def exact(sim: QuantSim, runtime: str) -> ExactSim:
    """See `QuantSim.exact`."""
    if runtime not in KERNELS:
        raise InputError("QuantSim.exact", f"runtime {runtime!r}", f"use one of {', '.join(KERNELS)}")
    if not sim.calibrated:
        raise CalibrationError("QuantSim.exact", "the sim is not calibrated", "call sim.calibrate(batches) first")
    check_integer(sim, runtime)
    return ExactSim(sim.copy(), runtime)


def check_integer(sim: SimBase, runtime: str) -> None:
    """Integer kernels take 8-bit activations and weights of some widths.

    Raises:
        PrecisionError: a layer of another precision, by name.
    """
    widths = KERNELS[runtime].weight_bits
    remedy = "use w8a8" + (" or w4a8" if 4 in widths else f": {runtime} runs other widths in floating point")
    for key, site in sim.plan.activations.items():
        quantizer = sim.activation(key)
        if site.inside is not None:
            continue
        if not quantizer.active or not isinstance(quantizer.grid, Grid) or quantizer.grid.bits != 8:
            kept = quantizer.grid.name if quantizer.active else "float"
            raise PrecisionError(f"exact({runtime!r})", f"layer {site.layer!r} with {kept} activations", remedy)
    for key, site in sim.plan.weights.items():
        quantizer = sim.weight(key)
        grid = quantizer.grid if quantizer.active else None
        if site.grid == "weights" and (
            not isinstance(grid, Grid) or grid.bits not in widths or grid.granularity == "block"
        ):
            kept = grid.name if grid is not None else "float"
            raise PrecisionError(f"exact({runtime!r})", f"layer {site.layer!r} with {kept} weights", remedy)


def _replace(sim: ExactSim, kernels: Kernels) -> list[str]:
    """Put integer ops in the place of those that the runtime has kernels for; gives their layers' names back."""
    nodes = {n.name: n for n in sim.graph_module.graph.nodes}
    gone = superfluous(sim)
    chosen = {group.layer: _kernel(nodes[group.nodes[0]], kernels.ops) for group in sim.groups}
    done = []
    for group in sim.groups:
        first = nodes[group.nodes[0]]
        kernel = chosen[group.layer]
        alone = len(group.nodes) == 1 or (len(group.nodes) == 2 and nodes[group.nodes[1]] in gone)
        layer = _layer(sim, group, first) if kernel is not None and alone and _suits(first, kernels) else None
        if layer is None:
            continue
        first.meta = first.meta | {"pure": first.target, "exact": sim.runtime}
        first.target = _bound(kernel, kernels.rules, layer, first.name)
        done.append(group.layer)
    sim.graph_module.recompile()
    return done


def _kernel(node: fx.Node, kernels: dict[str, Callable]) -> Callable | None:
    """The integer kernel of an op; ``x * sigmoid(x)`` is one op where the runtime has a kernel for it."""
    if "silu" in kernels and ops.name(node) == "mul" and all(isinstance(a, fx.Node) for a in node.args):
        for at, gate in enumerate(map(_source, reversed(node.args))):
            if gate.op == "call_function" and ops.name(gate) == "sigmoid" and gate.args[0] is node.args[at]:
                return partial(kernels["silu"], at=at)
    return kernels.get(ops.name(node))


def _source(node: fx.Node) -> fx.Node:
    """What a quantizer quantizes."""
    return node.meta["quantizes"] if node.op == "call_module" else node


def _bound(kernel: Callable, rules: ModuleType, layer: Layer, name: str) -> Callable:
    def run(*args, **kwargs):
        return kernel(rules, layer, *args, **kwargs)

    run.__name__ = run.__qualname__ = f"exact_{name}"
    return run


def _suits(node: fx.Node, kernels: Kernels) -> bool:
    """Whether the op's other arguments are those that the kernel knows."""
    name = ops.name(node)
    if name in ("add", "sub", "mul"):
        return len(node.args) == 2 and not node.kwargs and all(isinstance(a, fx.Node) for a in node.args)
    if ops.of(node).family == "transposed convolution":
        return ops.groups(node) == 1  # others are split in ways not found
    value = _value(node.args[0])
    if name == "mean":
        axes = node.args[1] if len(node.args) > 1 else None
        over_image = isinstance(axes, list | tuple) and value.dim() == 4 and sorted(a % 4 for a in axes) == [2, 3]
        return isinstance(axes, list | tuple) and (kernels.means_any_axes or over_image)
    if name == "adaptive_avg_pool2d":
        return list(node.args[1]) == [1, 1]
    if name == "avg_pool2d":
        return all(p in (0, False, None, [0, 0], [0], True) for p in node.args[3:]) and not (
            len(node.args) > 4 and node.args[4]
        )
    if name == "softmax":
        return node.args[1] in (-1, value.dim() - 1)
    return True


def _value(node: fx.Node):
    return _source(node).meta["val"]


def _layer(sim: ExactSim, group: LayerGroup, node: fx.Node) -> Layer | None:
    """The layer's encodings; None where one is missing."""
    inputs = tuple(_operand(sim, arg) for arg in node.args if isinstance(arg, fx.Node))
    output = Operand.of(sim, group.key)
    keys = [k for k in sim.plan.weights_into.get(group.nodes[0], ()) if sim.plan.weights[k].grid == "weights"]
    if not keys:
        return Layer(node.target, inputs, output) if all(inputs) and inputs else None
    if len(keys) != 1 or inputs[0] is None or ops.of(node).kind != "weighted" or sim.plan.weights[keys[0]].path != (1,):
        return None
    quantizer, tensor = sim.weight(keys[0]), sim.weight_tensor(keys[0]).detach()
    scale, zero_point = (v.detach() for v in quantizer.encoding())
    codes = quantize(tensor, scale, zero_point, quantizer.grid, quantizer.axis).double()
    bias = _bias_codes(sim, node)
    if bias is False:
        return None
    return Layer(node.target, inputs, output, codes, scale.float(), bias)


def _bias_codes(sim: ExactSim, node: fx.Node):
    """float64 codes, None without a bias, False where the bias is not on an integer grid."""
    at = ops.of(node).bias
    if at is None or len(node.args) <= at or node.args[at] is None:
        return None
    key = f"{node.name}_arg{at}"
    if key not in sim.plan.biases or not sim.bias(key).active:
        return False
    values = sim.bias_tensor(key).detach().double()
    return torch.round(values / spread(sim.bias(key).scale.detach(), values.numel()))


def _operand(sim: ExactSim, node: fx.Node) -> Operand | None:
    found = sim.plan.encoding(_source(node).name)
    is_activation = found is not None and not tensor_roles.is_parameter(node)
    return Operand.of(sim, *found) if is_activation and sim.activation(found[0]).active else None
