"""One batch: FP32 and simulated values forward, then back from the outputs' error to what each layer adds to it.

At every unit the error of its output is split, with nothing left over: x is its input, w and b its weight and bias,
index s simulated, q quantized, Q the output's quantizer ::

    inherited    op(x_s, w, b) - op(x, w, b)
    weight       op(x_s, w_q, b) - op(x_s, w, b)
    bias         op(x_s, w_q, b_q) - op(x_s, w_q, b)
    activation   Q(op(x_s, w_q, b_q)) - op(x_s, w_q, b_q)

The gradient at the unit's output says what the three that it adds do to the model's outputs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from qnb.measures.attribution.gradients import Gradients, Values, tensors
from qnb.measures.attribution.units import Unit, Units
from qnb.measures.layers.error import CHUNK
from qnb.measures.layers.output_parts import Part, counts, quantized, split_at

Sum = Tensor | float
"""In float64, on the data's device: reading it there would wait for all that runs."""


@dataclass
class Row:
    """Sums of a layer or an input: what it adds to the output's error, energies at its own output."""

    weight: Sum = 0.0
    activation: Sum = 0.0
    bias: Sum = 0.0
    inherited: Sum = 0.0
    added: Sum = 0.0
    signal: Sum = 0.0


@dataclass
class Sweep:
    """Sums over batches.

    Args:
        units: of the sim.
        parts: of its outputs, each with its FP32 energy over all batches.

    ``rows`` are by (layer, op) in graph order, ``noises`` the energy of the error of each part.
    """

    units: Units
    parts: list[tuple[Part, float]]
    rows: dict[tuple[str, str], Row] = field(init=False)
    noises: list[Sum] = field(init=False)

    def __post_init__(self):
        self.rows = {unit.row: Row() for unit in self.units.all if unit.row is not None}
        self.noises = [0.0] * len(self.parts)
        self.nodes = {n.name: n for n in self.units.sim.graph_module.graph.nodes}
        self.inputs = [n for n in self.nodes.values() if n.op == "placeholder"]

    @torch.no_grad()
    def batch(self, inputs: list[Tensor]) -> None:
        """Take a batch of flat inputs. Its values are kept until all was handed back behind them."""
        gradients = Gradients(self.units, dict(zip(self.inputs, inputs, strict=True)), {})
        fp32, simulated = self._forward(gradients)
        self._seed(fp32, simulated, gradients.found)
        for unit in reversed(self.units.all):
            self._back(unit, fp32, simulated, gradients)
            del fp32[unit.output], simulated[unit.output]

    def _forward(self, gradients: Gradients) -> tuple[Values, Values]:
        fp32: Values = {}
        simulated: Values = {}
        for unit in self.units.all:
            node = unit.output
            fp32[node] = simulated[node] = self.units.evaluate(unit, gradients.read(fp32))
            if unit.changes or any(fp32[n] is not simulated[n] for n in unit.sources):
                read = gradients.read(simulated)
                simulated[node] = self.units.evaluate(unit, read, weights=True, biases=True, real=True)
        return fp32, simulated

    def _seed(self, fp32: Values, simulated: Values, found: Values) -> None:
        """Gradients of ``sum <error, part> / energy`` at the outputs; the parts' noises, added up."""
        for place, (part, energy) in enumerate(self.parts):
            origin = self.nodes[part.node]
            node, sizes, axis = quantized(origin), [], 0
            if part.place is not None:
                read = lambda n: self.units.constant(n) if n in self.units.constants else fp32[n]  # noqa: E731
                sizes, axis = split_at(origin, read)
            reference, value = (part.of(values[node], sizes, axis) for values in (fp32, simulated))
            error, keep = value - reference, counts(reference, part.masked)
            error = error if keep is None else torch.where(keep, error, 0.0)
            self.noises[place] += _energy(error)
            if node not in found:
                found[node] = torch.zeros_like(fp32[node])
            finite = torch.nan_to_num(error, nan=0.0, posinf=0.0, neginf=0.0)
            part.of(found[node], sizes, axis).add_(finite, alpha=1 / energy)

    def _back(self, unit: Unit, fp32: Values, simulated: Values, gradients: Gradients) -> None:
        """Hand the gradient back to what the unit reads; add up what the unit adds itself."""
        u, z = gradients.found.pop(unit.output, None), None
        differ = [n for n in unit.sources if fp32[n] is not simulated[n]]
        if differ and u is not None:
            z = gradients.back(unit, u, fp32, simulated, differ)
        if unit.row is None:
            return
        read = gradients.read(simulated)
        if z is None:
            z = self.units.evaluate(unit, read) if differ else fp32[unit.output]
        weights = self.units.evaluate(unit, read, weights=True) if unit.weights else z
        biases = self.units.evaluate(unit, read, weights=True, biases=True) if unit.biases else weights
        steps = zip(*(tensors(v) for v in (z, weights, biases, simulated[unit.output])), strict=True)
        slopes = tensors(u) if u is not None else (None,) * len(tensors(z))
        for reference, slope, made in zip(tensors(fp32[unit.output]), slopes, steps, strict=True):
            if reference is not None:
                self._add(unit, reference, slope, made)

    def _add(self, unit: Unit, reference: Tensor, slope: Tensor | None, made: tuple) -> None:
        """Add up a tensor of the unit's output, ``made`` of simulated inputs step by step."""
        row, keep = self.rows[unit.row], counts(reference, unit.masked)
        z, weights, biases, out = made
        if slope is not None:
            row.weight += _inner(slope, weights, z, keep)
            row.bias += _inner(slope, biases, weights, keep)
            row.activation += _inner(slope, out, biases, keep)
        if unit.whole:
            reference, z, out = (x if keep is None else x[keep] for x in (reference, z, out))
            row.signal += _energy(reference)
            row.inherited += _energy(z - reference) if z is not reference else 0.0
            row.added += _energy(out - z) if out is not z else 0.0


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Added up in float32 over a chunk, in float64 over all."""
    pairs = zip(a.reshape(-1).split(CHUNK), b.reshape(-1).split(CHUNK), strict=True)
    found = torch.stack([torch.dot(x, y) for x, y in pairs]) if a.numel() else a.new_zeros(1)
    return found.sum(dtype=torch.float64)


def _energy(x: Tensor) -> Tensor:
    return _dot(x, x)


def _inner(slope: Tensor, after: Tensor, before: Tensor, keep: Tensor | None) -> Sum:
    """``<slope, after - before>`` where FP32 counts and nothing overflows."""
    if after is before:
        return 0.0
    error = after - before
    if keep is not None:
        error = torch.where(keep, error, 0.0)
    found = _dot(slope, error)
    if torch.isfinite(found):
        return found
    product = slope * error
    return torch.where(torch.isfinite(product), product, 0.0).sum(dtype=torch.float64)
