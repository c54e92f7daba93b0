"""One activation width per op, for targets whose kernels have no other: 16 bits wherever 8 and 16 meet.

An 8-bit value has the code ``256 * code`` on the 16-bit grid with ``scale / 256`` and ``256 * zero_point``: the byte
moves up, nothing is rounded. That is exact in float32, where only the exponent changes, and in HTP's Convert (measured
on v75 for every code). A code moved up by ``257`` would fill the grid; its low byte would not be zero then, and HTP,
which multiplies 16-bit activations byte by byte, rounds more (measured: up to 4 dB less).
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from qnb.export.onnx.tensors import Names
from qnb.sim.calibration import INT32_LIMIT
from qnb.targets import Target

BYTE = 256
FOLLOWERS = ("Relu", "Clip", "PRelu", "LeakyRelu", "HardSwish")
"""What may stand between an op and its QuantizeLinear in one kernel."""
BIASED = ("Conv", "ConvTranspose", "Gemm", "LayerNormalization")
"""Input 1 is the weight, input 2 the bias."""
WIDE_FIRST = (*BIASED, "MatMul")
"""Only input 0 needs the width of the output: HTP multiplies a 16-bit matrix by an 8-bit one (measured on v75: exactly
where its zero point is 128, else to 57 dB or better, which is far below what 8 bits cost)."""


def one_width(model: ir.Model, layers: Collection[str], target: Target) -> set[str]:
    """Ops between activations of 8 and of 16 bits compute in 16, where the target asks for one width.

    Their 8-bit inputs pass through QuantizeLinear and DequantizeLinear on a 16-bit grid that holds the same values;
    the bias keeps its values too, in steps as much finer as the input's. An 8-bit output is quantized to ``scale /
    256`` first and to its own grid from there: rounded twice, it may differ by one step.

    Args:
        layers: names of the tensors that are layers' outputs.

    Returns:
        Tensors that are made so from wider ones. Where HTP has to transpose their codes to give them out it cannot;
        it gives out their values.
    """
    return _Widths(model.graph, layers, target).write() if target.one_activation_width else set()


class _Widths:
    def __init__(self, graph: ir.Graph, layers: Collection[str], target: Target):
        self.graph, self.layers, self.target = graph, layers, target
        self.names = Names()
        values = (*graph.inputs, *graph.initializers.values(), *(v for n in graph for v in n.outputs))
        self.names.taken = {value.name for value in values}
        self.wide: dict[tuple[ir.Value, int], ir.Value] = {}
        self.grids: dict[tuple[ir.Value, int], tuple[ir.Value, ir.Value]] = {}
        self.narrowed: set[str] = set()

    def write(self) -> set[str]:
        for last in list(self.graph):
            op = _op_before(last) if last.op_type == "QuantizeLinear" else None
            if op is None:
                continue
            bits = {i: width for i, value in enumerate(op.inputs) if (width := _bits(_source(value))) is not None}
            if {*bits.values(), _bits(last)} == {8, 16}:
                for i, width in bits.items():
                    if width == 8 and (i == 0 or op.op_type not in WIDE_FIRST):
                        self.widen(op, i)
                if _bits(last) == 8:
                    self.narrow(last)
        return self.narrowed

    def widen(self, op: ir.Node, i: int) -> None:
        """Give an 8-bit input 16 bits, and the bias the scale that goes with it."""
        value, bias = op.inputs[i], _bias(op)
        factor = self.factor(op, i)
        if (value, factor) not in self.wide:
            source = _source(value)
            self.wide[value, factor], nodes = self.pair(value, source, factor)
            self.graph.insert_after(source, nodes)
        op.replace_input_with(i, self.wide[value, factor])
        if bias is not None:  # it belongs to this op alone
            codes, scale = bias.inputs[:2]
            _hold(codes, _array(codes) * np.int32(factor))
            _hold(scale, _array(scale) / np.float32(factor))

    def factor(self, op: ir.Node, i: int) -> int:
        """Steps of the 16-bit grid in one of the 8-bit grid's: 256, or a half, a quarter ... of it where bias codes
        would leave int32, or where the range would be less than the target's softmax takes."""
        factor, bias, scale = BYTE, _bias(op), _array(_source(op.inputs[i]).inputs[1])
        largest = int(np.abs(_array(bias.inputs[0]).astype(np.int64)).max()) if bias is not None else 0
        least = self.target.min_softmax_input_range_16bit if op.op_type == "Softmax" else 0.0
        while factor > 1 and (largest * factor > INT32_LIMIT or (2**16 - 1) * scale / factor < least):
            factor //= 2
        return factor

    def narrow(self, last: ir.Node) -> None:
        """Quantize a value to 16 bits before its QuantizeLinear to 8 bits. The rows of a fully connected layer are
        narrowed once they are in the layer's own shape: as rows, HTP gets those of a 16-bit layer norm out of order."""
        while _name(last) not in self.layers and (following := _reshaped(last)) is not None:
            scale, zero_point = self.grid(last, BYTE)
            for node in (last, next(iter(last.outputs[0].uses())).node):
                node.replace_input_with(1, scale)
                node.replace_input_with(2, zero_point)
            last = following
        value, nodes = self.pair(last.inputs[0], last, BYTE)
        self.graph.insert_before(last, nodes)
        last.replace_input_with(0, value)
        self.narrowed.add(_name(last))

    def pair(self, value: ir.Value, like: ir.Node, factor: int) -> tuple[ir.Value, list[ir.Node]]:
        """A value on the 16-bit grid that is ``factor`` times as fine as ``like``'s 8-bit one, and the two nodes."""
        name, grid = f"{_name(like)}_wide", self.grid(like, factor)
        first = self.node("QuantizeLinear", [value, *grid], f"{name}_quantized")
        second = self.node("DequantizeLinear", [first.outputs[0], *grid], f"{name}_dequantized")
        return second.outputs[0], [first, second]

    def grid(self, like: ir.Node, factor: int) -> tuple[ir.Value, ir.Value]:
        """(scale, zero_point), once for each tensor."""
        key = like.inputs[1], factor
        if key not in self.grids:
            name, (scale, zero_point) = f"{_name(like)}_wide", (_array(x) for x in like.inputs[1:])
            self.grids[key] = (
                self.constant(f"{name}_scale", scale / np.float32(factor)),
                self.constant(f"{name}_zero_point", zero_point.astype(np.uint16) * np.uint16(factor)),
            )
        return self.grids[key]

    def node(self, kind: str, inputs: list[ir.Value], name: str) -> ir.Node:
        name = self.names(name)
        node = ir.node(kind, inputs, name=f"{kind}({name})")
        node.outputs[0].name = name
        return node

    def constant(self, name: str, array: np.ndarray) -> ir.Value:
        value = ir.val(self.names(name))
        self.graph.initializers[value.name] = _hold(value, array)
        return value


def _op_before(last: ir.Node) -> ir.Node | None:
    """The op whose output this QuantizeLinear quantizes, looking through an activation function fused with it."""
    op = last.inputs[0].producer()
    before = op.inputs[0].producer() if op is not None and op.op_type in FOLLOWERS else None
    op = before if before is not None and before.op_type != "DequantizeLinear" else op
    return None if op is None or op.op_type == "DequantizeLinear" else op


def _reshaped(last: ir.Node) -> ir.Node | None:
    """The QuantizeLinear of the same values in another shape, if nothing else reads them in the one that they have."""
    op = last
    for kind in (("DequantizeLinear",), ("Reshape", "Squeeze"), ("QuantizeLinear",)):
        uses = [] if op.outputs[0].is_graph_output() else list(op.outputs[0].uses())
        if len(uses) != 1 or uses[0].node.op_type not in kind:
            return None
        op = uses[0].node
    return op


def _source(value: ir.Value | None) -> ir.Node | None:
    node = value.producer() if value is not None else None
    return node if node is not None and node.op_type == "DequantizeLinear" else None


def _bits(node: ir.Node | None) -> int | None:
    """Bits of an activation's codes by the QuantizeLinear or DequantizeLinear; weights and biases are signed."""
    if node is None or len(node.inputs) < 3:
        return None
    return {ir.DataType.UINT8: 8, ir.DataType.UINT16: 16}.get(node.inputs[2].const_value.dtype)


def _bias(op: ir.Node) -> ir.Node | None:
    return _source(op.inputs[2]) if op.op_type in BIASED and len(op.inputs) > 2 else None


def _name(node: ir.Node) -> str:
    """The tensor's name, which its scale has."""
    return node.inputs[1].name.removesuffix("_scale")


def _array(value: ir.Value) -> np.ndarray:
    return value.const_value.numpy()


def _hold(value: ir.Value, array: np.ndarray) -> ir.Value:
    value.const_value = ir.tensor(np.asarray(array), name=value.name)
    return value
