"""A captured graph as plain JSON and a dict of tensors, and back. Reading runs no code from the file.

Only ATen and qnb operators and a short list of arithmetic on sizes can be named by a file.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import torch
from torch import fx, nn

from qnb.errors import FileError
from qnb.graph.captured import Captured, Input
from qnb.graph.structure import Structure

REMEDY = "save it again with the version of qnb that wrote it"
_SIZES = {f"operator.{f.__name__}": f for f in (
    operator.getitem, operator.add, operator.sub, operator.mul, operator.floordiv, operator.truediv, operator.mod,
    operator.neg, operator.pow, operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge,
    operator.and_, operator.or_,
)} | {f"math.{f.__name__}": f for f in (math.trunc, math.ceil, math.floor)} | {
    f"torch.{name}": getattr(torch, name) for name in ("sym_max", "sym_min", "sym_not", "sym_float", "sym_int")
}  # fmt: skip
_NAMES = {function: name for name, function in _SIZES.items()}
_DENIED = ("from_file", "_pin_memory", "record_stream", "set_")
_META = ("layer", "path", "module", "op", "source")
_TORCH = (torch.dtype, torch.layout, torch.memory_format)


def to_json(captured: Captured) -> tuple[dict, dict[str, torch.Tensor]]:
    """The graph as JSON-able values, and its tensors by the user's names (tied ones under each name)."""
    module = captured.module
    named = dict(module.named_parameters(remove_duplicate=False)) | dict(module.named_buffers(remove_duplicate=False))
    tensors = {n.target: named[n.target].detach() for n in module.graph.nodes if n.op == "get_attr"}
    for node in module.graph.nodes:
        for part, value in node.meta.get("folded_batch_norm", {}).items():
            if isinstance(value, torch.Tensor):
                tensors[f"folded/{node.name}/{part}"] = value
    stored = {
        "name": captured.name,
        "nodes": [_node(n, named) for n in module.graph.nodes],
        "inputs": [{"name": i.name, "shape": list(i.shape), "dtype": _encode(i.dtype),
                    "computed": _encode(i.computed)} for i in captured.inputs],
        "limits": {k: list(v) for k, v in captured.limits.items()},
        "called": captured.called.to_json(), "returned": captured.returned.to_json(),
        "parameters": captured.parameters, "fixed": captured.fixed, "notes": captured.notes,
    }  # fmt: skip
    return stored, tensors


def _node(node: fx.Node, named: dict[str, torch.Tensor]) -> dict:
    row = {"name": node.name, "op": node.op, "target": _target(node),
           "args": _encode(node.args), "kwargs": {k: _encode(v) for k, v in node.kwargs.items()},
           "meta": {k: node.meta[k] for k in _META if k in node.meta}}  # fmt: skip
    row["val"] = _value(node.meta.get("val"))
    if "shape" in node.meta:
        row["shape"] = list(node.meta["shape"])
    if node.op == "get_attr":
        row["trained"] = isinstance(named[node.target], nn.Parameter)
    if "folded_batch_norm" in node.meta:
        row["eps"] = node.meta["folded_batch_norm"]["eps"]
    return row


def _target(node: fx.Node) -> str:
    if node.op != "call_function":
        return str(node.target)
    if isinstance(node.target, torch._ops.OpOverload):
        return str(node.target)  # aten.conv2d.default
    if node.target in _NAMES:
        return _NAMES[node.target]
    raise FileError("save a graph", f"the function {node.target!r} in layer {node.meta.get('layer')!r}",
                    "such a model cannot be saved yet; keep the script that makes the sim")  # fmt: skip


def _encode(value: Any) -> Any:
    if isinstance(value, fx.Node):
        return {"node": value.name}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if isinstance(value, list | tuple):
        return [_encode(v) for v in value]
    if isinstance(value, _TORCH):
        return {"torch": str(value).removeprefix("torch.")}
    if isinstance(value, torch.device):
        return {"device": str(value)}
    if not isinstance(value, bool | int | float | str | type(None)):
        raise FileError("save a graph", f"an argument of type {type(value).__name__}", "keep the script instead")
    return value


def _value(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return {"shape": list(value.shape), "dtype": _encode(value.dtype)}
    return [_value(v) for v in value] if isinstance(value, tuple | list) else None


def from_json(stored: dict, tensors: dict[str, torch.Tensor]) -> Captured:
    """What `to_json` took apart.

    Raises:
        FileError: an op that a file may not name, or a graph that does not fit together.
    """
    graph, nodes, root = fx.Graph(), {}, {}
    tied: dict[int, torch.Tensor] = {}
    for row in stored["nodes"]:
        if row["op"] == "get_attr":
            tensor = tensors[row["target"]]
            value = nn.Parameter(tensor) if row["trained"] else tensor
            root[row["target"]] = tied.setdefault(id(tensor), value)
        nodes[row["name"]] = node = _create(graph, row, nodes)
        node.meta = dict(row["meta"]) | {"val": _decode_value(row["val"])}
        if "shape" in row:
            node.meta["shape"] = tuple(row["shape"])
        if "eps" in row:
            parts = {p: tensors[f"folded/{row['name']}/{p}"] for p in ("gamma", "beta", "mean", "variance")}
            node.meta["folded_batch_norm"] = parts | {"eps": row["eps"]}
    graph.lint()
    inputs = [Input(i["name"], tuple(i["shape"]), _decode(i["dtype"], {}), _decode(i["computed"], {}))
              for i in stored["inputs"]]  # fmt: skip
    return Captured(
        fx.GraphModule(root, graph), stored["name"], inputs, {k: tuple(v) for k, v in stored["limits"].items()},
        Structure.from_json(stored["called"]), Structure.from_json(stored["returned"]),
        list(stored["parameters"]), list(stored["fixed"]), list(stored["notes"]),
    )  # fmt: skip


def _create(graph: fx.Graph, row: dict, nodes: dict[str, fx.Node]) -> fx.Node:
    args = _decode(row["args"], nodes)
    kwargs = {str(k): _decode(v, nodes) for k, v in row["kwargs"].items()}
    if row["op"] == "output":
        return graph.output(tuple(args[0]))
    if row["op"] == "call_function":
        target = _function(row["target"])
        return graph.create_node("call_function", target, tuple(args), kwargs, name=row["name"])
    if row["op"] not in ("placeholder", "get_attr"):
        raise FileError("read a graph", f"a node of kind {row['op']!r}", REMEDY)
    return graph.create_node(row["op"], row["target"], name=row["name"])


def _function(name: str):
    if name in _SIZES:
        return _SIZES[name]
    namespace, _, rest = name.partition(".")
    op, _, overload = rest.partition(".")
    allowed = namespace in ("aten", "qnb") and op.isidentifier() and overload.isidentifier()
    if not allowed or op in _DENIED:
        raise FileError("read a graph", f"the function {name!r}, which a file may not name", REMEDY)
    found = getattr(getattr(getattr(torch.ops, namespace), op, None), overload, None)
    if not isinstance(found, torch._ops.OpOverload):
        raise FileError("read a graph", f"the op {name!r}, which this torch does not have", "update torch")
    return found


def _decode(value: Any, nodes: dict[str, fx.Node]) -> Any:
    if isinstance(value, list):
        return [_decode(v, nodes) for v in value]
    if not isinstance(value, dict):
        return value
    (kind, text), = value.items()
    if kind == "node":
        return nodes[text]
    if kind == "float":
        return float(text)
    if kind == "device":
        return torch.device(text)
    found = getattr(torch, text, None) if kind == "torch" else None
    if not isinstance(found, _TORCH):
        raise FileError("read a graph", f"an argument {value!r}", REMEDY)
    return found


def _decode_value(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_decode_value(v) for v in value)
    if value is None:
        return None
    return torch.empty(value["shape"], dtype=_decode(value["dtype"], {}), device="meta")
