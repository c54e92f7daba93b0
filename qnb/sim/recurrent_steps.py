"""The module that runs a recurrent layer's steps with quantizers in between."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from qnb.sim.placement.recurrent_cells import Cell
from qnb.sim.placement.recurrent_sites import RecurrentSite
from qnb.sim.quantizer import Quantizer


class Steps(nn.Module):
    """Takes the arguments of ``aten.lstm.input`` or ``aten.gru.input`` as one tuple, gives what the op gives.

    Args:
        site: of the node.
        quantizers: by their keys in the plan. They stand under ``activation_quantizers`` of the whole graph.

    While calibration watches, values of all steps are collected and shown at once.
    """

    def __init__(self, site: RecurrentSite, quantizers: dict[str, Quantizer]):
        super().__init__()
        self.site = site
        self._kinds = [list(keys) for keys in site.keys]
        self._refs = tuple(quantizers[key] for keys in site.keys for key in keys.values())

    def alone(self, arguments: tuple, quantizer: Quantizer) -> tuple[Tensor, ...]:
        """With this quantizer on and the others off."""
        return self._run(arguments, [q if q is quantizer else None for q in self._refs])

    def forward(self, arguments: tuple) -> tuple[Tensor, ...]:
        return self._run(arguments, self._refs)

    def _run(self, arguments: tuple, quantizers: Iterable[Quantizer | None]) -> tuple[Tensor, ...]:
        site = self.site
        x, given, weights = arguments[:3]
        x = x.transpose(0, 1) if site.batch_first else x
        given = list(given) if isinstance(given, list | tuple) else [given]
        refs, ends = iter(quantizers), []
        for layer in range(site.layers):
            sequences = []
            for backward in range(site.directions):
                index = layer * site.directions + backward
                kinds = {kind: next(refs) for kind in self._kinds[index]}
                mine = weights[index * site.per : (index + 1) * site.per]
                outside = {"hidden_state"} if site.outside and layer == site.layers - 1 else set()
                do = Tensors(kinds, mine, outside)
                states = tuple(do.see(kind, value[index]) for kind, value in zip(site.cell.states, given, strict=True))
                sequence, states = do.run(site.cell, x, states, backward=bool(backward))
                sequences.append(sequence)
                ends.append(states)
            x = torch.cat(sequences, -1) if len(sequences) > 1 else sequences[0]
        return (x.transpose(0, 1) if site.batch_first else x, *(torch.stack(s) for s in zip(*ends, strict=True)))


class Tensors:
    """A step's arithmetic on tensors of (batch, features), with a quantizer for every kind of value."""

    def __init__(self, quantizers: dict[str, Quantizer | None], weights: list[Tensor], outside: set[str]):
        self.quantizers, self.outside = quantizers, outside
        self.of_input, self.of_hidden = weights[0::2], weights[1::2]
        self.seen: dict[str, list[Tensor]] = {}

    def run(
        self, cell: Cell, x: Tensor, states: tuple[Tensor, ...], backward: bool
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """All steps of one layer in one direction: (steps, batch, hidden) in the order of time, the last states."""
        projected = self.see("input_projection", functional.linear(x, *self.of_input)).unbind(0)
        found = []
        for part in reversed(projected) if backward else projected:
            states = cell.step(self, part, states)
            found.append(states[0])
        for kind, values in self.seen.items():
            self.quantizers[kind](torch.cat([v.flatten() for v in values]))  # pyright: ignore[reportOptionalCall]
        return torch.stack(found[::-1] if backward else found), states

    def see(self, kind: str, value: Tensor) -> Tensor:
        """A value quantized; or kept, to be shown to whoever watches the quantizer."""
        return self.made(kind, value, fresh=False)

    def made(self, kind: str, value: Tensor, fresh: bool = True) -> Tensor:
        """As `see`, of a tensor that nothing else reads."""
        quantizer = self.quantizers[kind]
        if quantizer is None:
            return value
        if quantizer.observer is None:
            return quantizer(value, fresh)
        if kind not in self.outside:
            self.seen.setdefault(kind, []).append(value)
        return value

    def linear(self, kind: str, hidden: Tensor) -> Tensor:
        return self.made(kind, functional.linear(hidden, *self.of_hidden))

    def add(self, kind: str, a: Tensor, b: Tensor) -> Tensor:
        return self.made(kind, a + b)

    def sub(self, kind: str, a: Tensor, b: Tensor) -> Tensor:
        return self.made(kind, a - b)

    def mul(self, kind: str, a: Tensor, b: Tensor) -> Tensor:
        return self.made(kind, a * b)

    def sigmoid(self, kind: str, x: Tensor) -> Tensor:
        return self.made(kind, torch.sigmoid(x))

    def tanh(self, kind: str, x: Tensor) -> Tensor:
        return self.made(kind, torch.tanh(x))

    def split(self, kind: str, x: Tensor, parts: tuple[int, ...]) -> tuple[Tensor, ...]:
        return x.split([n * (x.shape[-1] // sum(parts)) for n in parts], -1)


def lstm(*arguments: Any) -> tuple:
    """Stands in the graph for the op: `Steps`, which comes next, takes its arguments."""
    return arguments


def gru(*arguments: Any) -> tuple:
    """As `lstm`."""
    return arguments


STAND_INS = {"lstm": lstm, "gru": gru}
