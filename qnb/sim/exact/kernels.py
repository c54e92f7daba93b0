"""Which ops each runtime has integer kernels for, and whose rules they follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType

from qnb.graph import ops
from qnb.registry import Registry
from qnb.sim.exact import htp, integer_ops, onnxruntime


@dataclass(frozen=True)
class Kernels:
    """A runtime's integer kernels. All other ops run in floating point between DequantizeLinear and QuantizeLinear
    there, as they do in any QuantSim.

    Args:
        rules: how the runtime rounds: a module like `qnb.sim.exact.htp`.
        ops: by op name, a function of `qnb.sim.exact.integer_ops`.
        weight_bits: the widths of weights that they take.
        means_any_axes: whether its integer mean takes any axes, not those of an image only.
    """

    rules: ModuleType
    ops: Mapping[str, Callable]
    weight_bits: tuple[int, ...] = (8,)
    means_any_axes: bool = False


_COMMON = {
    **dict.fromkeys(ops.family("convolution"), integer_ops.conv),
    "linear": integer_ops.linear,
    "matmul": integer_ops.matmul,
    "mm": integer_ops.matmul,
    "bmm": integer_ops.matmul,
    "add": integer_ops.two("add"),
    "mul": integer_ops.two("mul"),
    "mean": integer_ops.mean,
    "adaptive_avg_pool2d": integer_ops.mean,
    "avg_pool2d": integer_ops.average_pool,
    "softmax": integer_ops.softmax,
}
_OF_HTP = {
    **dict.fromkeys(ops.family("transposed convolution"), integer_ops.conv_transpose),
    **dict.fromkeys(("sigmoid", "tanh", "gelu", "hardswish"), integer_ops.unary),
    "sub": integer_ops.two("sub"),
    "silu": integer_ops.silu,
}

KERNELS: Registry[Kernels] = Registry("runtime with integer kernels")
"""By name of the runtime."""
KERNELS.add("onnxruntime", Kernels(onnxruntime, _COMMON))
KERNELS.add("htp", Kernels(htp, _COMMON | _OF_HTP, (4, 8), means_any_axes=True))
