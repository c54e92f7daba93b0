"""A captured graph as plain JSON and a dict of tensors, and back. Reading runs no code from the file.

The JSON may come from anybody; it is not trusted. `qnb.graph.stored` says what it may look like, and that is checked
before anything is made of it; `qnb.graph.functions` says what it may call. What is trusted is torch: that an op which
is called on wrong values raises an error. Text of the file that is no name (layers, notes) is shown, never executed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn

from qnb import schema
from qnb.errors import FileError, QnbError
from qnb.graph import functions, stored
from qnb.graph.arguments import REMEDY, TORCH, decode, encode
from qnb.graph.captured import Captured, Input
from qnb.graph.structure import Structure

READ = "read a graph", REMEDY
SAVE = "save a graph", "such a model cannot be saved; keep the script that makes the sim"
_META = ("layer", "path", "module", "op", "source")
_FOLDED = ("gamma", "beta", "mean", "variance")


def to_json(captured: Captured, *, readable: bool = True) -> tuple[dict, dict[str, torch.Tensor]]:
    """The graph as JSON-able values, and its tensors by the user's names (tied ones under each name).

    Args:
        readable: refuse what `from_json` would; False where the values are only compared, never read.

    Raises:
        FileError: the graph holds what no file may hold, for example an op of another library.
    """
    module = captured.module
    named = dict(module.named_parameters(remove_duplicate=False)) | dict(module.named_buffers(remove_duplicate=False))
    tensors = {n.target: named[n.target].detach() for n in module.graph.nodes if n.op == "get_attr"}
    for node in module.graph.nodes:
        for part, value in node.meta.get("folded_batch_norm", {}).items():
            if isinstance(value, torch.Tensor):
                tensors[f"folded/{node.name}/{part}"] = value
    graph = {
        "name": captured.name,
        "nodes": [_node(n, named, readable) for n in module.graph.nodes],
        "inputs": [
            {"name": i.name, "shape": list(i.shape), "dtype": encode(i.dtype), "computed": encode(i.computed)}
            for i in captured.inputs
        ],
        "limits": {k: list(v) for k, v in captured.limits.items()},
        "called": captured.called.to_json(),
        "returned": captured.returned.to_json(),
        "parameters": captured.parameters,
        "fixed": captured.fixed,
        "notes": captured.notes,
    }
    if readable:
        _check_names(graph["nodes"], tensors, SAVE)
    return graph, tensors


def _node(node: fx.Node, named: dict[str, torch.Tensor], readable: bool) -> dict:
    row = {
        "name": node.name,
        "op": node.op,
        "target": _target(node, readable),
        "args": encode(node.args),
        "kwargs": {k: encode(v) for k, v in node.kwargs.items()},
        "meta": {k: node.meta[k] for k in _META if k in node.meta},
    }
    row["val"] = _value(node.meta.get("val"))
    if "shape" in node.meta:
        row["shape"] = list(node.meta["shape"])
    if node.op == "get_attr":
        row["trained"] = isinstance(named[node.target], nn.Parameter)
    if "folded_batch_norm" in node.meta:
        row["eps"] = node.meta["folded_batch_norm"]["eps"]
    return row


def _target(node: fx.Node, readable: bool) -> str:
    if node.op != "call_function":
        return str(node.target)
    name = functions.name_of(node.target) if readable else str(node.target)
    if name is None:
        raise _error(f"the function {node.target!s} in layer {node.meta.get('layer')!r}, which no file can hold", SAVE)
    return name


def _value(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return {"shape": list(value.shape), "dtype": encode(value.dtype)}
    return [_value(v) for v in value] if isinstance(value, tuple | list) else None


def from_json(graph: Any, tensors: dict[str, torch.Tensor]) -> Captured:
    """What `to_json` took apart.

    Raises:
        FileError: it is anything else.
    """
    schema.check(graph, stored.GRAPH, *READ)
    _check_names(graph["nodes"], tensors, READ)
    try:
        module = _module(graph["nodes"], tensors)
        inputs = [
            Input(i["name"], tuple(i["shape"]), TORCH[i["dtype"]["torch"]], TORCH[i["computed"]["torch"]])
            for i in graph["inputs"]
        ]
        called, returned = (Structure.from_json(graph[part]) for part in ("called", "returned"))
    except QnbError:
        raise
    except Exception as error:
        raise _error(f"parts that do not match ({type(error).__name__}: {error})") from error
    _check_ends(module.graph, inputs, called, returned)
    limits = {symbol: (low, high) for symbol, (low, high) in graph["limits"].items()}
    return Captured(
        module, graph["name"], inputs, limits, called, returned, graph["parameters"], graph["fixed"], graph["notes"]
    )


def _error(received: str, way: tuple[str, str] = READ) -> FileError:
    return FileError(way[0], received, way[1])


def _check_names(rows: list[dict], tensors: dict[str, torch.Tensor], way: tuple[str, str]) -> None:
    """Names that are names, each once; a tensor for each that is asked for, and no others."""
    for row in rows:
        if not stored.is_name(row["name"]):
            raise _error(f"a value named {row['name'][:80]!r}", way)
        if row["op"] == "placeholder" and row["target"] != row["name"]:
            raise _error(f"an input {row['target'][:80]!r} named {row['name'][:80]!r}", way)
        if row["op"] == "get_attr" and not stored.is_path(row["target"]):
            raise _error(f"a tensor at {row['target'][:80]!r}, where none can be", way)
    layers = [row["meta"]["layer"] for row in rows if row["op"] == "call_function"]
    for what, names in (("values", [row["name"] for row in rows]), ("layers", layers)):
        if len(set(names)) < len(names):
            raise _error(f"two {what} of one name", way)
    paths = {row["target"] for row in rows if row["op"] == "get_attr"}
    inside = {path[:at] for path in paths for at, letter in enumerate(path) if letter == "."}
    if inside & paths:
        raise _error(f"a tensor {min(inside & paths)[:80]!r} with another one inside it", way)
    wanted = paths | {f"folded/{row['name']}/{part}" for row in rows if "eps" in row for part in _FOLDED}
    if wanted != tensors.keys():
        raise _error(f"other tensors than the graph has ({min(wanted ^ tensors.keys())[:80]!r})", way)


def _module(rows: list[dict], tensors: dict[str, torch.Tensor]) -> fx.GraphModule:
    graph, nodes, root = fx.Graph(), {}, {}
    tied: dict[int, torch.Tensor] = {}
    for row in rows:
        if row["op"] == "get_attr":
            tensor = tensors[row["target"]]
            root[row["target"]] = tied.setdefault(id(tensor), nn.Parameter(tensor) if row["trained"] else tensor)
        nodes[row["name"]] = node = _create(graph, row, nodes)
        if node.name != row["name"]:
            raise _error(f"a value named {row['name'][:80]!r}")
        node.meta = dict(row["meta"]) | {"val": _read_value(row["val"])}
        if "shape" in row:
            node.meta["shape"] = tuple(row["shape"])
        if "eps" in row:
            parts = {part: tensors[f"folded/{row['name']}/{part}"] for part in _FOLDED}
            node.meta["folded_batch_norm"] = parts | {"eps": float(row["eps"])}
        _check_value(row, node, root)
    graph.lint()
    return fx.GraphModule(root, graph)


def _create(graph: fx.Graph, row: dict, nodes: dict[str, fx.Node]) -> fx.Node:
    args = decode(row["args"], nodes)
    if row["op"] == "output":
        return graph.create_node("output", "output", (tuple(args[0]),), name=row["name"])
    if row["op"] != "call_function":
        return graph.create_node(row["op"], row["target"], name=row["name"])
    target, kwargs = functions.function(row["target"]), {k: decode(v, nodes) for k, v in row["kwargs"].items()}
    if target is None:
        raise _error(f"the function {row['target'][:80]!r}, which a file may not name or this torch does not have")
    if wrong := functions.fault(target, tuple(args), kwargs):
        raise _error(f"a call of {row['target']} with {wrong}")
    return graph.create_node("call_function", target, tuple(args), kwargs, name=row["name"])


def _read_value(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_read_value(v) for v in value)
    if value is None:
        return None
    return torch.empty(value["shape"], dtype=TORCH[value["dtype"]["torch"]], device="meta")


def _check_value(row: dict, node: fx.Node, root: dict[str, torch.Tensor]) -> None:
    """What a row says of its value goes together, and with the tensor where it has one."""
    value = node.meta["val"]
    if "shape" in row:
        sizes = value.shape if isinstance(value, torch.Tensor) else ()
        if len(row["shape"]) != len(sizes) or any(a not in (None, b) for a, b in zip(row["shape"], sizes, strict=True)):
            raise _error(f"two shapes of {row['name']!r}")
    if row["op"] == "get_attr":
        tensor = root[row["target"]]
        if not isinstance(value, torch.Tensor) or (value.shape, value.dtype) != (tensor.shape, tensor.dtype):
            raise _error(f"a tensor {row['target'][:80]!r} of another shape or dtype than the graph says")


def _check_ends(graph: fx.Graph, inputs: list[Input], called: Structure, returned: Structure) -> None:
    """Inputs and outputs are as many as their structures hold, and what the graph says they are."""
    *body, last = graph.nodes
    given = [n for n in body if n.op == "placeholder"]
    if last.op != "output" or any(n.op == "output" for n in body):
        raise _error("a graph that does not end with its one output")
    shape = [c.kind for c in called.children]
    if (called.kind, shape) != ("tuple", ["tuple", "dict"]) or not len(given) == len(inputs) == called.tensors():
        raise _error("other inputs than the graph takes")
    if len(last.args[0]) != returned.tensors():
        raise _error("other outputs than the graph gives")
    for node, wanted in zip(given, inputs, strict=True):
        value = node.meta["val"]
        fits = isinstance(value, torch.Tensor) and value.dtype == wanted.computed and value.dim() == len(wanted.shape)
        if not fits or any(a != b for a, b in zip(value.shape, wanted.shape, strict=True) if isinstance(b, int)):
            raise _error(f"an input {wanted.name[:80]!r} of another shape or dtype than the graph says")
