"""Graphs of one quantized op with integer inputs and outputs, and the runtimes that run them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor
from torch.nn import functional

from qnb.runtimes.onnxruntime import needs_exact_kernels


@dataclass
class Codes:
    """An 8-bit asymmetric activation: uint8 codes, a float32 scale and an integer zero_point."""

    codes: np.ndarray
    scale: float
    zero_point: int

    @classmethod
    def random(cls, rng: np.random.Generator, shape: tuple[int, ...], scale: float, zero_point: int) -> Codes:
        return cls(rng.integers(0, 256, shape, dtype=np.uint8), float(np.float32(scale)), zero_point)

    @property
    def exact(self) -> Tensor:
        return torch.from_numpy(self.codes.astype(np.float64))

    @property
    def real(self) -> Tensor:
        return (self.exact - self.zero_point) * self.scale


@dataclass
class Weight:
    """int8 (or int4) codes with one float32 scale per output channel (axis 0), and an int32 bias at s_x * s_w."""

    codes: np.ndarray
    scales: np.ndarray
    bias: np.ndarray
    bits: int = 8

    @classmethod
    def random(cls, rng: np.random.Generator, shape: tuple[int, ...], bits: int = 8, bias: int = 4000) -> Weight:
        top = 2 ** (bits - 1)
        scales = rng.uniform(0.001, 0.02, shape[0]).astype(np.float32)
        biases = rng.integers(-bias, bias, shape[0]).astype(np.int32)
        return cls(rng.integers(-top + 1, top, shape).astype(np.int8), scales, biases, bits)

    @classmethod
    def case(cls, rng: np.random.Generator, kind: str, bits: int) -> tuple[Codes, Weight, str, dict[str, object]]:
        """Random input, random weights, the op's name and its attributes."""
        shapes = {"conv3x3": (32, 16, 3, 3), "conv1x1": (32, 16, 1, 1), "depthwise": (16, 1, 3, 3), "gemm": (32, 48)}
        padded, grouped = {"pads": [1, 1, 1, 1]}, {"group": 16}
        attributes = {"conv3x3": padded, "depthwise": padded | grouped, "gemm": {"transB": 1}}.get(kind, {})
        shape = (24, 48) if kind == "gemm" else (1, 16, 10, 10)
        x = Codes.random(rng, shape, rng.uniform(0.005, 0.05), int(rng.integers(0, 256)))
        return x, cls.random(rng, shapes[kind], bits), "Gemm" if kind == "gemm" else "Conv", attributes


class Graph:
    """Collects nodes and initializers under names of their own."""

    def __init__(self) -> None:
        self.nodes, self.initializers, self.inputs = [], [], []

    def constant(self, name: str, value: np.ndarray, kind: int | None = None) -> str:
        if kind is None:
            self.initializers.append(numpy_helper.from_array(np.asarray(value), name))
        else:
            flat = np.asarray(value)
            self.initializers.append(helper.make_tensor(name, kind, flat.shape, flat.flatten().tolist()))
        return name

    def dequantize(self, name: str, codes: str, scale: np.ndarray, zero_point: np.ndarray, kind: int, **axis) -> str:
        scale = self.constant(name + ".scale", np.asarray(scale, np.float32))
        zero_point = self.constant(name + ".zero_point", zero_point, kind)
        inputs = [codes, scale, zero_point]
        self.nodes.append(helper.make_node("DequantizeLinear", inputs, [name], name + ".dq", **axis))
        return name

    def activation(self, name: str, value: Codes) -> str:
        self.inputs.append(helper.make_tensor_value_info(name + ".codes", TensorProto.UINT8, value.codes.shape))
        return self.dequantize(name, name + ".codes", value.scale, np.array(value.zero_point), TensorProto.UINT8)

    def weight(self, weight: Weight, s_x: float) -> list[str]:
        kind = TensorProto.INT4 if weight.bits == 4 else TensorProto.INT8
        codes = self.constant("w.codes", weight.codes, kind)
        zeros = np.zeros(len(weight.scales), np.int64)
        names = [self.dequantize("w", codes, weight.scales, zeros, kind, axis=0)]
        codes = self.constant("b.codes", weight.bias)
        scales = np.float32(s_x) * weight.scales
        return [*names, self.dequantize("b", codes, scales, zeros, TensorProto.INT32, axis=0)]


def accumulate(x: Codes, weight: Weight, kind: str, bias_rule: Callable) -> tuple[Tensor, Tensor]:
    """Exact integer sums and the weight's scales, shaped to broadcast against them."""
    codes, weights = x.exact - x.zero_point, torch.from_numpy(weight.codes.astype(np.float64))
    scales = torch.from_numpy(weight.scales)
    bias = bias_rule(torch.from_numpy(weight.bias), x.scale, scales)
    if kind == "gemm":
        return codes @ weights.T + bias, scales
    padding, groups = weights.shape[-1] // 2, codes.shape[1] // weights.shape[1]
    return functional.conv2d(codes, weights, bias, padding=padding, groups=groups), scales.reshape(-1, 1, 1)


def build(
    op: str,
    inputs: list[Codes],
    scale: float,
    zero_point: int,
    weight: Weight | None = None,
    after: str = "",
    constants: tuple[np.ndarray, ...] = (),
    **attributes: object,
) -> bytes:
    """Model of uint8 inputs -> DequantizeLinear -> op (-> ``after``) -> QuantizeLinear -> a uint8 output."""
    graph = Graph()
    names = [graph.activation(f"x{i}", value) for i, value in enumerate(inputs)]
    if weight is not None:
        names += graph.weight(weight, inputs[0].scale)
    names += [graph.constant(f"c{i}", value) for i, value in enumerate(constants)]
    graph.nodes.append(helper.make_node(op, names, ["real"], "op", **attributes))
    if after:
        graph.nodes.append(helper.make_node(after, ["real"], ["active"], "after"))
    scale = graph.constant("y.scale", np.array(scale, np.float32))
    zero_point = graph.constant("y.zero_point", np.array(zero_point, np.uint8))
    graph.nodes.append(helper.make_node("QuantizeLinear", [graph.nodes[-1].output[0], scale, zero_point], ["y"], "y.q"))
    output = helper.make_tensor_value_info("y", TensorProto.UINT8, None)
    proto = helper.make_graph(graph.nodes, "single_op", graph.inputs, [output], graph.initializers)
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).SerializeToString()


def run(model: bytes, inputs: list[Codes], htp: bool = False) -> Tensor:
    """Output codes, float64. ``htp``: on Qualcomm's HTP emulator (v75), with no node left to the CPU."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    if needs_exact_kernels():
        options.add_session_config_entry("session.x64quantprecision", "1")
    if htp:
        device, settings = _htp_device()
        options.add_provider_for_devices([device], settings)
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    session = ort.InferenceSession(model, options)
    feeds = {f"x{i}.codes": value.codes for i, value in enumerate(inputs)}
    return torch.from_numpy(session.run(None, feeds)[0].astype(np.float64))


def _htp_device() -> tuple[object, dict[str, str]]:
    import onnxruntime_qnn as qnn

    name = "QNNExecutionProvider"
    if all(device.ep_name != name for device in ort.get_ep_devices()):
        ort.register_execution_provider_library(name, qnn.get_library_path())
    device = next(device for device in ort.get_ep_devices() if device.ep_name == name)
    return device, {"backend_path": qnn.get_qnn_htp_path(), "htp_arch": "75", "soc_model": "57"}


def share_and_step(ours: Tensor, theirs: Tensor) -> tuple[float, float]:
    """Share of equal codes, and the largest difference in steps."""
    difference = (ours - theirs).abs()
    return float((difference == 0).double().mean()), float(difference.max())
