"""A captured model in the form that a target runs: some ops as several others that it has, or computes better."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import fx, nn

from qnb.graph import ops
from qnb.graph.attributes import attribute
from qnb.graph.captured import Captured
from qnb.graph.names import Names, plain

aten = torch.ops.aten


def written_out(captured: Captured, names: Collection[str]) -> Captured:
    """The same model with these ops in parts; itself where it has none of them. Tensors are shared."""
    wanted = {name: PARTS[name] for name in names if name in PARTS}
    graph = captured.module.graph
    if not any(n.op == "call_function" and ops.name(n) in wanted for n in graph.nodes):
        return captured
    copied = fx.Graph()
    copied.output(copied.graph_copy(graph, {}))
    layers = Names(n.meta["layer"] for n in copied.nodes if "layer" in n.meta)
    made: dict[str, torch.Tensor] = {}
    changed = False
    for node in list(copied.nodes):
        parts = wanted.get(ops.name(node)) if node.op == "call_function" else None
        if parts is None:
            continue
        with copied.inserting_before(node):
            result = parts(Parts(node, layers, captured.module, made), *node.args, **node.kwargs)
        if result is not None:
            changed = True
            result.meta |= {"layer": node.meta["layer"], "source": node.meta.get("source", "")}
            node.replace_all_uses_with(result)
            copied.erase_node(node)
    if not changed:
        return captured
    copied.eliminate_dead_code()
    tensors = {
        n.target: attribute(captured.module, n.target)
        for n in copied.nodes
        if n.op == "get_attr" and n.target not in made
    }
    found = copy.copy(captured)
    found.module = fx.GraphModule(tensors | made, copied)
    return found


class Parts:
    """Adds ops before a node of a captured graph; they belong to its module and are named after it."""

    def __init__(self, node: fx.Node, layers: Names, module: fx.GraphModule, made: dict[str, torch.Tensor]):
        self.node, self.layers, self.module, self.made = node, layers, module, made
        inputs = (n for n in node.graph.nodes if n.op == "placeholder")
        self.varies = any(None in n.meta.get("shape", ()) for n in inputs)

    def __call__(self, op: Callable, *args) -> fx.Node:
        node = self.node.graph.call_function(op, args)
        value = op(*fx.map_arg(args, lambda n: n.meta["val"]))
        whole = self.node.meta
        node.meta = {
            "layer": self.layers(f"{whole['layer']}.{ops.name(node)}"),
            "path": whole.get("path", ""),
            "module": whole.get("module", ""),
            "op": ops.name(node),
            "source": "",
            "val": plain(value),
        }
        if isinstance(value, torch.Tensor):
            node.meta["shape"] = tuple(value.shape)
        return node

    def tensor(self, node: fx.Node | None, like: fx.Node, fill: float) -> torch.Tensor:
        """A constant's values in float64; all the same where there is none."""
        known = attribute(self.module, (like if node is None else node).target).detach().double()
        return torch.full_like(known, fill) if node is None else known

    def parameter(self, name: str, value: torch.Tensor) -> fx.Node:
        """A new constant, in the place of what has its name in this form."""
        name = Names(self.made)(name)
        self.made[name] = nn.Parameter(value.float())
        node = self.node.graph.get_attr(name)
        node.meta = {"val": plain(value.float()), "shape": tuple(value.shape)}
        return node

    def size(self, x: fx.Node, axis: int) -> int | fx.Node:
        """A number where the model's inputs have fixed sizes, else a node that asks for it."""
        return self(aten.sym_size.int, x, axis) if self.varies else int(x.meta["val"].shape[axis])


def group_norm(
    write: Parts,
    x: fx.Node,
    groups: int,
    weight: fx.Node | None = None,
    bias: fx.Node | None = None,
    eps: float = 1e-5,
    *_: Any,
) -> fx.Node:
    """An instance norm of the groups, put one after the other; then scale and shift per channel."""
    batch, channels = write.size(x, 0), int(x.meta["val"].shape[1])
    sizes = [batch, channels, *(write.size(x, axis) for axis in range(2, x.meta["val"].dim()))]
    rows = write(aten.reshape.default, x, [batch, groups, -1])
    rows = write(aten.instance_norm.default, rows, None, None, None, None, True, 0.0, eps, False)
    y = write(aten.reshape.default, rows, sizes)
    per_channel = [channels] + [1] * (len(sizes) - 2)
    if weight is not None:
        y = write(aten.mul.Tensor, y, write(aten.reshape.default, weight, per_channel))
    if bias is not None:
        y = write(aten.add.Tensor, y, write(aten.reshape.default, bias, per_channel))
    return y


def batch_norm(
    write: Parts,
    x: fx.Node,
    weight: fx.Node | None,
    bias: fx.Node | None,
    mean: fx.Node | None,
    variance: fx.Node | None,
    training: bool,
    momentum: float,
    eps: float,
    *_: Any,
) -> fx.Node | None:
    """Scale and shift of each channel as a depthwise convolution of one element: one op, one rounding. None where
    nothing can be written out."""
    like = next((n for n in (mean, weight, bias) if n is not None), None)
    dims = x.meta["val"].dim() - 2
    if mean is None or training or dims > 2:
        return None
    factor = write.tensor(weight, like, 1.0) / torch.sqrt(write.tensor(variance, like, 1.0) + eps)
    shift = write.tensor(bias, like, 0.0) - write.tensor(mean, like, 0.0) * factor
    layer = write.node.meta["layer"]
    factor = factor.view(-1, 1, *[1] * dims) if dims else factor
    factor = write.parameter(weight.target if weight is not None else f"{layer}.weight", factor)
    shift = write.parameter(bias.target if bias is not None else f"{layer}.bias", shift)
    if not dims:
        return write(aten.add.Tensor, write(aten.mul.Tensor, x, factor), shift)
    op = aten.conv1d.default if dims == 1 else aten.conv2d.default
    return write(op, x, factor, shift, [1] * dims, [0] * dims, [1] * dims, int(x.meta["val"].shape[1]))


def mish(write: Parts, x: fx.Node) -> fx.Node:
    """``x tanh(log(1 + e^x)) = x (1 - u) / (1 + u)`` with ``u = sigmoid(-x)^2``: all between 0 and 2."""
    t = write(aten.sigmoid.default, write(aten.neg.default, x))
    u = write(aten.mul.Tensor, t, t)
    ratio = write(aten.div.Tensor, write(aten.rsub.Scalar, u, 1.0), write(aten.add.Tensor, u, 1.0))
    return write(aten.mul.Tensor, x, ratio)


PARTS = {"batch_norm": batch_norm, "group_norm": group_norm, "mish": mish}
"""Op -> what writes it out; a target's ``written_out`` names some of them."""
