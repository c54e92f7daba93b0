"""One step of an LSTM and of a GRU, written once: the simulation runs it on tensors, the export on nodes of a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

Value = Any


class Arithmetic(Protocol):
    """What a step is made of. ``kind`` names the result: `Cell.kinds` has them all, and each has one quantizer."""

    def linear(self, kind: str, hidden: Value) -> Value: ...
    def add(self, kind: str, a: Value, b: Value) -> Value: ...
    def sub(self, kind: str, a: Value, b: Value) -> Value: ...
    def mul(self, kind: str, a: Value, b: Value) -> Value: ...
    def sigmoid(self, kind: str, x: Value) -> Value: ...
    def tanh(self, kind: str, x: Value) -> Value: ...

    def split(self, kind: str, x: Value, parts: tuple[int, ...]) -> list[Value]:
        """Along the features, into parts of so many times the hidden size; they have the encoding of ``kind``."""


@dataclass(frozen=True)
class Cell:
    """A kind of recurrent layer.

    Args:
        step: ``step(arithmetic, projected input, states) -> states``; the hidden state is the first.
        gates: how many times the hidden size the projections have.
        kinds: what a step makes, and the op that may give it a fixed range.
        states: what goes from step to step.
        summed: what a sum over all steps is made of. It has 16 bits at least: with 8, each step of an LSTM's cell adds
            an error that stays (measured on a trained one of three layers and 160 steps: 26 dB, 34 with 16 bits).
    """

    step: Callable[[Arithmetic, Value, tuple[Value, ...]], tuple[Value, ...]]
    gates: int
    kinds: dict[str, str]
    states: tuple[str, ...]
    summed: tuple[str, ...] = ()


def lstm(do: Arithmetic, projected: Value, states: tuple[Value, ...]) -> tuple[Value, ...]:
    """As torch.nn.LSTM: gates in the order input, forget, cell, output."""
    hidden, cell = states
    total = do.add("gate_inputs", projected, do.linear("hidden_projection", hidden))
    first, candidate, last = do.split("gate_inputs", total, (2, 1, 1))
    enter, keep = do.split("gates", do.sigmoid("gates", first), (1, 1))
    added = do.mul("added", enter, do.tanh("candidate", candidate))
    cell = do.add("cell_state", do.mul("kept", keep, cell), added)
    return do.mul("hidden_state", do.sigmoid("output_gate", last), do.tanh("cell_tanh", cell)), cell


def gru(do: Arithmetic, projected: Value, states: tuple[Value, ...]) -> tuple[Value, ...]:
    """As torch.nn.GRU: gates in the order reset, update, new; ``new + update * (hidden - new)``."""
    (hidden,) = states
    from_input, new_input = do.split("input_projection", projected, (2, 1))
    from_hidden, new_hidden = do.split("hidden_projection", do.linear("hidden_projection", hidden), (2, 1))
    gates = do.sigmoid("gates", do.add("gate_inputs", from_input, from_hidden))
    reset, update = do.split("gates", gates, (1, 1))
    new = do.tanh("candidate", do.add("candidate_input", new_input, do.mul("reset_hidden", reset, new_hidden)))
    moved = do.mul("moved", update, do.sub("difference", hidden, new))
    return (do.add("hidden_state", new, moved),)


CELLS = {
    "lstm": Cell(
        lstm,
        4,
        {
            "input_projection": "",
            "hidden_projection": "",
            "gate_inputs": "",
            "gates": "sigmoid",
            "candidate": "tanh",
            "output_gate": "sigmoid",
            "kept": "",
            "added": "",
            "cell_state": "",
            "cell_tanh": "tanh",
            "hidden_state": "",
        },
        ("hidden_state", "cell_state"),
        ("kept", "added", "cell_state"),
    ),
    "gru": Cell(
        gru,
        3,
        {
            "input_projection": "",
            "hidden_projection": "",
            "gate_inputs": "",
            "gates": "sigmoid",
            "reset_hidden": "",
            "candidate_input": "",
            "candidate": "tanh",
            "difference": "",
            "moved": "",
            "hidden_state": "",
        },
        ("hidden_state",),
    ),
}
"""By the op's name."""
