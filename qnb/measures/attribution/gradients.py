"""A unit's gradient between FP32 and simulated inputs, so that it accounts for the whole difference of its outputs.

Along the straight line from FP32 inputs a to simulated ones b, ``f(b) - f(a) = (b - a) . mean gradient`` exactly
(integrated gradients, arXiv 1703.01365). A linear op's gradient is the same everywhere. An elementwise op's mean is
``(f(b) - f(a)) / (b - a)``. Of others two points of Gauss-Legendre quadrature give it, exactly for products.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx

from qnb.errors import InputError
from qnb.graph import ops
from qnb.measures.attribution.units import Unit, Units
from qnb.measures.layers.lockstep import call

Values = dict[fx.Node, Any]
OPERATION = "qnb.attribute"
AT_THE_END = ((1.0, 1.0),)
GAUSS = ((0.5 - math.sqrt(1 / 12), 0.5), (0.5 + math.sqrt(1 / 12), 0.5))
"""(place between FP32, 0, and simulated, 1; weight)."""
DISTINCT = 1e-3
"""Relative difference from which on a quotient of differences is not mostly rounding error."""

ELEMENTWISE = frozenset(
    """relu relu6 hardtanh clamp clamp_min clamp_max sigmoid tanh gelu hardswish hardsigmoid leaky_relu elu selu celu
    softplus mish silu exp log log1p expm1 log2 log10 exp2 sqrt rsqrt pow square reciprocal sin cos erf abs logsigmoid
    log_sigmoid softsign tanhshrink hardshrink softshrink threshold prelu""".split()
)
LINEAR = frozenset(
    """add sub rsub neg mean sum avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d
    adaptive_avg_pool3d where masked_fill cumsum upsample_bilinear2d upsample_linear1d upsample_bicubic2d
    upsample_trilinear3d""".split()
)
IN_ONE_OPERAND = ("mul", "div", "matmul", "mm", "bmm", "addmm", "baddbmm", "einsum")
"""Linear where the other operand is a constant."""
SELECT = ("max", "min", "amax", "amin", "aminmax", "topk", "sort", "msort", "masked_select")


@dataclass(frozen=True)
class Gradients:
    """Hands gradients back through units, one after the other.

    Args:
        units: of the sim.
        given: the graph's inputs.
        found: gradients at the outputs of units, added up over whoever reads them; they are written to.
    """

    units: Units
    given: Values
    found: Values

    def read(self, values: Values) -> Callable[[fx.Node], Any]:
        return lambda node: values[node] if node in values else self.given[node]

    def back(self, unit: Unit, u: Any, fp32: Values, simulated: Values, sources: list[fx.Node]) -> Any:
        """Hand ``u`` back from a unit's output to ``sources``, those inputs whose values differ.

        Returns:
            The unit's output in FP32 arithmetic for simulated inputs; None where that was not computed.
        """
        chain = [n for n in unit.members if n.op == "call_function"]
        constants = self.units.constants
        tail = chain.pop() if is_elementwise(chain[-1], constants) else None
        linear = all(is_linear(n, constants) for n in chain)
        if tail is None:
            return self._through(unit, lambda _: u, fp32, simulated, sources, linear)
        if not chain:
            node = next(n for n in tail.all_input_nodes if n not in constants)
            slope, after = self._secant(tail, self.read(fp32)(node), self.read(simulated)(node))
            add(self.found, node, u * slope)
            return after
        inner = replace(unit, members=unit.members[: unit.members.index(chain[-1]) + 1])
        before = self.units.evaluate(inner, self.read(fp32))
        secant: list[Tensor] = []

        def seed(z: Tensor) -> Tensor:
            if not secant:
                behind = z.detach() if linear else self.units.evaluate(inner, self.read(simulated))
                secant.extend(self._secant(tail, before, behind))
            return u * secant[0]

        self._through(inner, seed, fp32, simulated, sources, linear)
        return secant[1]

    def _through(
        self,
        unit: Unit,
        seed: Callable[[Any], Any],
        fp32: Values,
        simulated: Values,
        sources: list[fx.Node],
        linear: bool,
    ) -> Any:
        """``seed(output)`` gives the gradient at the output."""
        z, read = None, self.read(simulated)
        for place, weight in AT_THE_END if linear else GAUSS:
            leaves = {n: _leaf(_between(fp32[n], simulated[n], place)) for n in sources}
            with torch.enable_grad(), torch.backends.cudnn.flags(enabled=not _recurrent(unit)):
                z = self.units.evaluate(unit, lambda n, leaves=leaves: leaves[n] if n in leaves else read(n))
            with torch.no_grad():
                u = seed(z)
            pairs = zip(tensors(z), tensors(u), strict=True)
            outs = [(a, g) for a, g in pairs if a is not None and g is not None and a.requires_grad]
            flat = [(n, i, x) for n in sources for i, x in enumerate(tensors(leaves[n])) if x is not None]
            for (node, index, _), g in zip(flat, _grad(unit, outs, [x for *_, x in flat]), strict=True):
                if g is not None:
                    add(self.found, node, g if weight == 1.0 else g * weight, index, leaves[node])
        return _detached(z) if linear else None

    def _secant(self, node: fx.Node, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """(mean slope of an elementwise op from a to b, its value at b)."""

        def at(x: Tensor) -> Tensor:
            return call(node, lambda n: self.units.constant(n) if n in self.units.constants else x)

        after, distance = at(b), b - a
        middle = torch.lerp(a, b, 0.5).requires_grad_()
        with torch.enable_grad():
            y = at(middle)
        tangent = torch.autograd.grad(y, middle, torch.ones_like(y))[0]
        quotient = (after - at(a)).div_(distance)
        near = middle.detach().abs().mul_(2 * DISTINCT)
        return torch.where((distance.abs_() > near) & (quotient.abs() < math.inf), quotient, tangent), after


def is_elementwise(node: fx.Node, constants: Collection[fx.Node]) -> bool:
    """Whether every element of the output comes from one element of activations."""
    data = [n for n in node.all_input_nodes if n not in constants]
    return ops.name(node).rstrip("_") in ELEMENTWISE and len(data) == 1 and node.args[0] is data[0]


def is_linear(node: fx.Node, constants: Collection[fx.Node]) -> bool:
    """Whether the output is a linear function (and a constant) of the activations that it reads."""
    name, row = ops.name(node), ops.of(node)
    if name in LINEAR or row.kind == "concat":
        return True
    if row.kind == "pass":
        return name not in SELECT and "max_pool" not in name
    data = [n for n in node.all_input_nodes if n not in constants]
    if row.family == "recurrent" or len(data) != 1:
        return False
    if name in IN_ONE_OPERAND:
        return sum(n is data[0] for n in (*node.args, *node.kwargs.values())) == 1 and (
            name != "div" or node.args[0] is data[0]
        )
    return row.kind == "weighted"


def _grad(unit: Unit, outs: Sequence[tuple[Tensor, Tensor]], leaves: list[Tensor]) -> Sequence[Tensor | None]:
    if not outs or not leaves:
        return [None] * len(leaves)
    try:
        return torch.autograd.grad([a for a, _ in outs], leaves, [g for _, g in outs], allow_unused=True)
    except (RuntimeError, NotImplementedError) as error:
        if not any(word in str(error) for word in ("derivative", "differentiable", "autograd formula")):
            raise
        first = unit.members[0]
        raise InputError(
            OPERATION,
            f"an op without a gradient, {ops.name(first)}, in layer {first.meta.get('layer', first.name)!r}",
            "use compare_layers, which needs none",
        ) from error


def add(found: Values, node: fx.Node, g: Tensor, index: int = 0, like: Any = None) -> None:
    """Add a gradient up; of a tuple, ``like``, each tensor's by itself. What is not finite stands behind a mask."""
    if not torch.isfinite(g.sum()):
        g = torch.nan_to_num(g, nan=0.0, posinf=0.0, neginf=0.0)
    if not isinstance(like, tuple):
        found[node] = found[node] + g if node in found else g
        return
    kept = found.setdefault(node, [None] * len(like))
    kept[index] = g if kept[index] is None else kept[index] + g


def tensors(value: Any) -> tuple[Tensor | None, ...]:
    """A value's tensors; None for those that hold no floating-point numbers."""
    parts = value if isinstance(value, tuple | list) else (value,)
    return tuple(p if isinstance(p, Tensor) and p.is_floating_point() else None for p in parts)


def _between(a: Any, b: Any, place: float) -> Any:
    """Values at a place on the line from a to b; of integers and where b is a tuple, part by part."""
    if isinstance(b, tuple | list):
        return tuple(_between(x, y, place) for x, y in zip(a, b, strict=True))
    if place == 1.0 or not (isinstance(b, Tensor) and b.is_floating_point()):
        return b
    return a * (1 - place) + b * place


def _leaf(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return tuple(_leaf(part) for part in value)
    floating = isinstance(value, Tensor) and value.is_floating_point()
    return value.detach().requires_grad_() if floating else value


def _detached(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return tuple(_detached(part) for part in value)
    return value.detach() if isinstance(value, Tensor) else value


def _recurrent(unit: Unit) -> bool:
    """cuDNN's have no backward pass outside training."""
    return any(n.op == "call_function" and ops.of(n).family == "recurrent" for n in unit.members)
