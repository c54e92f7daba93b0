"""An exported graph in functional form: no subgraphs, no op that writes to its input.

``ExportedProgram.run_decompositions({})`` does this too, by tracing the whole program again, which takes three times
as long as exporting it. Most models write only to tensors that nothing else sees (``relu_``, ``out += x``): there,
replacing it by the out-of-place op is enough. The rest (writes to views, inputs or buffers) is traced again.
"""

from __future__ import annotations

import torch
from torch import fx
from torch._ops import HigherOrderOperator, OpOverload
from torch.export import ExportedProgram

from qnb.graph import ops

_INLINED = {"wrap_with_set_grad_enabled": 1, "wrap_with_autocast": 4}
"""Higher-order ops that only set a mode, and the position of their subgraph."""


def functional(program: ExportedProgram) -> ExportedProgram:
    """The program without in-place ops; the given one is not used any more."""
    graph = program.graph_module
    if all(_can_inline(n) for n in graph.graph.nodes if _is_higher_order(n)):
        while modes := [n for n in graph.graph.nodes if _is_higher_order(n)]:
            for node in modes:
                _inline(graph, node)
        if all(_can_replace(n) for n in graph.graph.nodes if _writes(n)):
            for node in [n for n in graph.graph.nodes if _writes(n)]:
                _replace(node)
            return program
    return program.run_decompositions({})


def _is_higher_order(node: fx.Node) -> bool:
    return node.op == "call_function" and isinstance(node.target, HigherOrderOperator)


def _can_inline(node: fx.Node) -> bool:
    """Modes that change no number: gradients on or off, autocast off."""
    name = node.target.name()
    return name in _INLINED and (name != "wrap_with_autocast" or node.args[2] is False)


def _inline(module: fx.GraphModule, node: fx.Node) -> None:
    position = _INLINED[node.target.name()]
    inner = getattr(module, node.args[position].target).graph
    mapping = dict(zip((n for n in inner.nodes if n.op == "placeholder"), node.args[position + 1 :], strict=True))
    with module.graph.inserting_before(node):
        outputs = module.graph.graph_copy(inner, mapping)
    for user in list(node.users):  # getitem of each output
        user.replace_all_uses_with(outputs[user.args[1]])  # pyright: ignore[reportCallIssue]
        module.graph.erase_node(user)
    holder = node.args[position]
    module.graph.erase_node(node)
    if not holder.users:
        module.graph.erase_node(holder)


def _writes(node: fx.Node) -> bool:
    return node.op == "call_function" and isinstance(node.target, OpOverload) and node.target._schema.is_mutable


def _out_of_place(target: OpOverload) -> OpOverload | None:
    """``aten.relu.default`` for ``aten.relu_.default``."""
    namespace, name = target._schema.name.split("::")
    packet = getattr(getattr(torch.ops, namespace), name.removesuffix("_"), None)
    found = getattr(packet, target._overloadname, None) if packet is not None and name.endswith("_") else None
    return None if found is None or found._schema.is_mutable else found


def _can_replace(node: fx.Node) -> bool:
    """Whether the tensor that is written to was just made and has no other name by which it is read later."""
    written = node.args[0] if node.args else None
    if _out_of_place(node.target) is None or not isinstance(written, fx.Node) or _may_alias(written):
        return False
    dtypes = {n.meta["val"].dtype for n in node.all_input_nodes if isinstance(n.meta.get("val"), torch.Tensor)}
    return len(dtypes) == 1 and not any(_may_alias(user) for user in written.users if user is not node)


def _may_alias(node: fx.Node) -> bool:
    """Whether a value may share its storage with another one."""
    if node.op != "call_function" or not isinstance(node.target, OpOverload):
        return node.op != "output"
    if _writes(node):  # returns what it wrote to, which is looked at where that was made
        return _may_alias(node.args[0]) if isinstance(node.args[0], fx.Node) else True
    returns = node.target._schema.returns
    return any(r.alias_info is not None for r in returns) or "dropout" in ops.name(node)


def _replace(node: fx.Node) -> None:
    """The out-of-place op; whoever reads the written tensor afterwards reads the result."""
    written = node.args[0]
    node.target = _out_of_place(node.target)
    order = {n: i for i, n in enumerate(node.graph.nodes)}
    for user in list(written.users):
        if order[user] > order[node]:
            user.replace_input_with(written, node)
