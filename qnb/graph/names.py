"""Names that a person recognizes: module paths for layers, forward's parameters for inputs, file and line."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import fx

from qnb.graph import ops
from qnb.graph.capture_errors import is_users, short
from qnb.graph.structure import Structure

_ROOT = "model"
_FRAME = re.compile(r'File "([^"]+)", line (\d+)')


class Names:
    """Gives names that are not taken yet: what comes again is counted."""

    def __init__(self, taken: Iterable[str] = ()):
        self.taken = set(taken)

    def __call__(self, wanted: str) -> str:
        name, count = wanted, 1
        while name in self.taken:
            name, count = f"{wanted}_{count}", count + 1
        self.taken.add(name)
        return name


def name_layers(module: fx.GraphModule) -> None:
    """Give every call_function node ``meta``: layer, path, module, op, source, val.

    An op that is all that a module without submodules does is named by the module's path (``layer1.0.conv1``);
    other ops add their own name (``layer1.0.add``); whatever comes again is counted (``fc``, ``fc_1``).
    """
    calls: dict[tuple, list[fx.Node]] = defaultdict(list)
    where: dict[fx.Node, tuple[str, str, str]] = {}
    for node in module.graph.nodes:
        if node.op == "call_function":
            where[node] = key, _, _ = _owner(node)
            calls[key].append(node)
    paths = {path for _, path, _ in where.values()}
    leaves = {p for p in paths if not any(other.startswith(f"{p}.") for other in paths)}
    alone = {node for key, nodes in calls.items() if key and where[nodes[0]][1] in leaves for node in _main(nodes)}
    counts: dict[str, int] = {}
    for node, (_, path, kind) in where.items():
        op = ops.name(node)
        wanted = path if node in alone else f"{path}.{op}" if path else op
        node.meta = {
            "layer": _unique(wanted, counts),
            "path": path,
            "module": kind,
            "op": op,
            "source": _source(node) if makes_tensors(node) else "",
            "val": node.meta.get("val"),
        }


def _owner(node: fx.Node) -> tuple[str, str, str]:
    """(key of the module call, module path, class name) of the innermost module that ran this op."""
    stack = node.meta.get("nn_module_stack") or {}
    entries = [(key, path, cls) for key, (path, cls) in stack.items() if path.split(".")[0] == _ROOT]
    if not entries:
        return "", "", ""
    key, path, cls = entries[-1]
    path = path.split("@")[0].partition(".")[2]
    name = cls if isinstance(cls, str) else cls.__name__
    return (key if path else ""), path, name.rpartition(".")[2]


def _main(nodes: list[fx.Node]) -> list[fx.Node]:
    """The op that a module call is about, if there is one: its only op that makes values, or its only op."""
    making = [n for n in nodes if ops.of(n).kind not in ("pass", "create") and makes_tensors(n)]
    if len(making) == 1:
        return making
    heavy = [n for n in making if ops.of(n).kind in ("weighted", "norm")]
    if len(heavy) == 1 and nodes[0].meta["nn_module_stack"] and _is_torch(nodes[0]):
        return heavy
    return nodes if len(nodes) == 1 else []


def makes_tensors(node: fx.Node) -> bool:
    """Whether the node computes tensors (not sizes)."""
    return isinstance(node.meta.get("val"), torch.Tensor | tuple | list)


def _is_torch(node: fx.Node) -> bool:
    cls = list(node.meta["nn_module_stack"].values())[-1][1]
    return str(cls).startswith("torch.nn")


def _unique(name: str, counts: dict[str, int]) -> str:
    unique = name
    while unique in counts:
        unique = f"{name}_{counts[name]}"
        counts[name] += 1
    counts[unique] = 1
    return unique


def _source(node: fx.Node) -> str:
    """``net.py:12``: the innermost line of the user's that led to this op."""
    frames = [f for f in _FRAME.findall(node.meta.get("stack_trace") or "") if is_users(f[0])]
    return f"{short(frames[-1][0])}:{frames[-1][1]}" if frames else ""


def name_inputs(placeholders: list[fx.Node], called: Structure, parameters: list[str]) -> None:
    """Name inputs as forward calls them: ``x``, ``input_ids``, ``past.0``."""
    args, kwargs = called.children
    found: list[str] = []
    for i, child in enumerate(args.children):
        found += child.names(parameters[i] if i < len(parameters) else f"input_{i}")
    for key, child in zip(kwargs.keys, kwargs.children, strict=True):
        found += child.names(key)
    for node, name in zip(placeholders, found, strict=True):
        node.meta = {"val": node.meta["val"], "layer": name}


def forget_symbols(module: fx.GraphModule) -> None:
    """Replace traced values by meta tensors of the example's sizes; ``meta["shape"]`` keeps what varies.

    What is left can be copied, saved, and read again without torch.export.
    """
    for node in module.graph.nodes:
        value = node.meta.get("val")
        if isinstance(value, torch.Tensor):
            node.meta["shape"] = tuple(int(str(d)) if str(d).isdigit() else None for d in value.shape)
        if value is not None:
            node.meta["val"] = plain(value)


def plain(value: Any) -> Any:
    """A traced value without its trace."""
    if isinstance(value, torch.Tensor):
        return torch.empty([int(d) for d in value.shape], dtype=value.dtype, device="meta")
    if isinstance(value, tuple | list):
        return tuple(plain(v) for v in value)
    if isinstance(value, torch.SymInt):
        return int(value.node.hint) if value.node.has_hint() else 1
    if isinstance(value, torch.SymFloat | torch.SymBool):
        return None
    return value
