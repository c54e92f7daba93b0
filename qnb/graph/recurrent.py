"""Recurrent layers while torch.export traces: one op of known shapes.

PyTorch finds the shapes of ``aten.lstm`` by tracing every step, some 40 ms each. The number of steps gets fixed then,
and does so here: a file has as many, and a first dimension that varies is the batch.
"""

from __future__ import annotations

import torch
from torch import Tensor, fx
from torch.overrides import TorchFunctionMode


@torch.library.custom_op("qnb::traced_lstm", mutates_args=())
def _lstm(
    x: Tensor,
    states: list[Tensor],
    weights: list[Tensor],
    biases: bool,
    layers: int,
    dropout: float,
    train: bool,
    both: bool,
    batch_first: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.ops.aten.lstm.input(x, states, weights, biases, layers, dropout, train, both, batch_first)


@_lstm.register_fake
def _(x, states, weights, biases, layers, dropout, train, both, batch_first):
    return _sequence(x, states[0], both, batch_first), *(state.new_empty(state.shape) for state in states)


@torch.library.custom_op("qnb::traced_gru", mutates_args=())
def _gru(
    x: Tensor,
    state: Tensor,
    weights: list[Tensor],
    biases: bool,
    layers: int,
    dropout: float,
    train: bool,
    both: bool,
    batch_first: bool,
) -> tuple[Tensor, Tensor]:
    return torch.ops.aten.gru.input(x, state, weights, biases, layers, dropout, train, both, batch_first)


@_gru.register_fake
def _(x, state, weights, biases, layers, dropout, train, both, batch_first):
    return _sequence(x, state, both, batch_first), state.new_empty(state.shape)


def _sequence(x: Tensor, state: Tensor, both: bool, batch_first: bool) -> Tensor:
    batch, steps = (x.shape[0], x.shape[1]) if batch_first else (x.shape[1], x.shape[0])
    steps = int(steps)
    return x.new_empty((*((batch, steps) if batch_first else (steps, batch)), state.shape[-1] * (2 if both else 1)))


_TRACED = {torch.lstm: _lstm, torch.gru: _gru}
_ATEN = {
    torch.ops.qnb.traced_lstm.default: torch.ops.aten.lstm.input,
    torch.ops.qnb.traced_gru.default: torch.ops.aten.gru.input,
}


class AsOneOp(TorchFunctionMode):
    """Calls of torch's LSTM and GRU become the ops above; those of packed sequences stay as they are."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        whole = func in _TRACED and len(args) == 9 and isinstance(args[3], bool) and not kwargs
        return (_TRACED[func] if whole else func)(*args, **(kwargs or {}))


def restore_recurrent(module: fx.GraphModule) -> None:
    """Put PyTorch's own ops in the place of those that were traced."""
    for node in list(module.graph.nodes):
        if node.op == "call_function" and node.target in _ATEN:
            with module.graph.inserting_before(node):
                made = module.graph.call_function(_ATEN[node.target], node.args, node.kwargs)
            made.meta = node.meta
            node.replace_all_uses_with(made)
            module.graph.erase_node(node)
