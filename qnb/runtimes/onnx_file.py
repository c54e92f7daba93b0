"""What an ONNX file says of itself, read without its weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from qnb.arguments import nearest
from qnb.errors import FileError, InputError

_DTYPES = {
    "FLOAT": torch.float32,
    "FLOAT16": torch.float16,
    "DOUBLE": torch.float64,
    "BOOL": torch.bool,
    "INT8": torch.int8,
    "INT16": torch.int16,
    "INT32": torch.int32,
    "INT64": torch.int64,
    "UINT8": torch.uint8,
    "UINT16": torch.uint16,
    "UINT32": torch.uint32,
    "UINT64": torch.uint64,
}
"""Element types that pass between torch and a session, by ONNX's name."""
UNNAMED = "?"
QDQ = ("QuantizeLinear", "DequantizeLinear")


@dataclass(frozen=True)
class Tensor:
    """A graph input or output: ``shape`` has sizes, names of dynamic dimensions, or ``"?"``.

    >>> str(Tensor("x", ("N", 3), torch.float32))
    'x float32[N, 3]'
    """

    name: str
    shape: tuple[int | str, ...]
    dtype: torch.dtype

    def __str__(self) -> str:
        return f"{self.name} {str(self.dtype).removeprefix('torch.')}[{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class Header:
    """The outside of an ONNX file.

    Args:
        inputs, outputs: in the graph's order.
        metadata: the ``qnb`` entry of its metadata_props.
        quantized: it has QuantizeLinear or DequantizeLinear nodes.
        eight_bit_floats: it has constants of an 8-bit float type.
        compiled: it holds a device's binary (an EPContext node).
        nodes: names of its nodes.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    metadata: dict[str, Any] = field(default_factory=dict)
    quantized: bool = False
    eight_bit_floats: bool = False
    compiled: bool = False
    nodes: frozenset[str] = frozenset()


def load(path: Path, operation: str) -> Any:
    """The ``onnx.ModelProto`` in a file, external weights left where they are.

    Raises:
        FileError: there is no such file, or it is not ONNX.
    """
    import onnx

    if not path.is_file():
        raise FileError(operation, f"there is no file {str(path)!r}", "pass the path of an ONNX file")
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's own kinds, by version
        raise FileError(operation, f"{path.name} is not an ONNX file ({error})", "write it again") from error
    if not model.HasField("graph") or not model.graph.output:
        raise FileError(operation, f"{path.name} holds no ONNX graph", "pass the path of an ONNX file")
    return model


def read(path: Path, operation: str) -> Header:
    """Inputs, outputs and metadata of a file; raises FileError where it is none, or of unsupported types."""
    import onnx

    model = load(path, operation)
    ops = {node.op_type for node in model.graph.node}
    weights = {tensor.name for tensor in model.graph.initializer}
    kinds = {onnx.TensorProto.DataType.Name(tensor.data_type) for tensor in model.graph.initializer}
    written = {entry.key: entry.value for entry in model.metadata_props}.get("qnb", "{}")
    try:
        metadata = json.loads(written)
    except json.JSONDecodeError as error:
        received = f"the qnb metadata of {path.name} is damaged ({error})"
        raise FileError(operation, received, "export it again") from error
    return Header(
        tuple(_tensor(value, path, operation) for value in model.graph.input if value.name not in weights),
        tuple(_tensor(value, path, operation) for value in model.graph.output),
        metadata,
        quantized=not ops.isdisjoint(QDQ),
        eight_bit_floats=any(kind.startswith("FLOAT8") for kind in kinds),
        compiled="EPContext" in ops,
        nodes=frozenset(node.name for node in model.graph.node),
    )


def _tensor(value: Any, path: Path, operation: str) -> Tensor:
    import onnx

    kind, of = value.type.WhichOneof("value"), value.type.tensor_type
    name = onnx.TensorProto.DataType.Name(of.elem_type)
    if kind != "tensor_type" or name not in _DTYPES:
        received = f"{value.name!r} in {path.name} is a {name if kind == 'tensor_type' else kind}"
        raise FileError(operation, received, f"export it as a tensor of one of {', '.join(_DTYPES)}")
    shape = (d.dim_value if d.HasField("dim_value") else d.dim_param or UNNAMED for d in of.shape.dim)
    return Tensor(value.name, tuple(shape), _DTYPES[name])


def with_outputs(path: Path, names: Sequence[str], operation: str) -> tuple[Any, Any, dict[str, str]]:
    """Copies of the model that return inner tensors.

    4-bit tensors, which NumPy has not, pass through a Cast to 8 bits.

    Returns:
        the model with these as additional outputs; a model without inputs that makes those among them that depend on
        no graph input (weights), None where there is none; asked name to output's name.

    Raises:
        InputError: no node makes such a tensor.
    """
    import onnx

    model = load(path, operation)
    made = {output: node for node in model.graph.node for output in node.output if output}
    unknown = [name for name in names if name not in made]
    if unknown:
        near = nearest(unknown[0], made, most=3)
        hint = f", as {', '.join(map(repr, near))}" if near else ""
        received = f"no node of {path.name} makes {', '.join(map(repr, unknown))}"
        raise InputError(operation, received, f"pass names of node outputs{hint}")
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    given = {value.name for value in model.graph.input} - types.keys()
    outside, present, fixed = {}, {output.name for output in model.graph.output}, []
    for name in names:
        wide = _eight_bit(made[name], types)
        cast = [] if wide is None else [onnx.helper.make_node("Cast", [name], [f"{name}.as_8_bit"], to=wide)]
        outside[name] = cast[0].output[0] if cast else name
        needed = _ancestors(name, made)
        if given.isdisjoint(needed) and name not in present:
            fixed.append((outside[name], needed, cast))
            continue
        model.graph.node.extend(cast)
        if outside[name] not in present:
            # A session finds out the type and shape by itself.
            model.graph.output.append(onnx.ValueInfoProto(name=outside[name]))
            present.add(outside[name])
    return model, _without_inputs(model, fixed) if fixed else None, outside


def _ancestors(name: str, made: dict) -> set[str]:
    """All tensors that one is computed from, and itself."""
    waiting, seen = [name], set()
    while waiting:
        tensor = waiting.pop()
        if tensor not in seen:
            seen.add(tensor)
            waiting += made[tensor].input if tensor in made else ()
    return seen


def _without_inputs(model: Any, fixed: list[tuple[str, set[str], list]]) -> Any:
    """The part of a model that makes these outputs out of weights: (output, tensors it needs, nodes to add)."""
    import onnx

    part = onnx.ModelProto()
    part.CopyFrom(model)
    needed = set().union(*(tensors for _, tensors, _ in fixed))
    graph, nodes = part.graph, [n for n in model.graph.node if not needed.isdisjoint(n.output)]
    weights = [tensor for tensor in model.graph.initializer if tensor.name in needed]
    for field_ in ("node", "initializer", "input", "output", "value_info"):
        graph.ClearField(field_)
    graph.node.extend([*nodes, *(node for _, _, cast in fixed for node in cast)])
    graph.initializer.extend(weights)
    graph.output.extend(onnx.ValueInfoProto(name=name) for name, _, _ in fixed)
    return part


def _eight_bit(node: Any, types: dict[str, int]) -> int | None:
    """The 8-bit type that holds what a 4-bit QuantizeLinear returns; None for every other node."""
    import onnx

    if node.op_type != "QuantizeLinear":
        return None
    kind = types.get(node.input[2]) if len(node.input) > 2 else None
    asked = next((a.i for a in node.attribute if a.name == "output_dtype"), 0)
    of = onnx.TensorProto
    return {of.INT4: of.INT8, of.UINT4: of.UINT8}.get(kind or asked)  # pyright: ignore[reportArgumentType]


def has_external_data(model: Any) -> bool:
    """Whether weights lie in files beside the model."""
    return any(tensor.data_location == tensor.EXTERNAL for tensor in model.graph.initializer)
