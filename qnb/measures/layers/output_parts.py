"""Error at a model's outputs, each part of them on its own.

A detector returns scores (0 to 1) and boxes (0 to 640) in one tensor. The scores hold almost none of its energy, so its
SQNR says nothing of them. Where an output, moved or not, comes from a concatenation, each tensor joined there is a
part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, fx

from qnb.errors import InputError
from qnb.graph import ops
from qnb.graph.batches import length, reiterable
from qnb.measures.layers import error
from qnb.measures.layers.error import NoiseStats
from qnb.measures.layers.interpreter import Interpreter
from qnb.progress import Report
from qnb.sim.placement.masking import attended

if TYPE_CHECKING:
    from qnb.sim.base import SimBase


@dataclass(frozen=True)
class Part:
    """A part of a model's outputs.

    Args:
        layer: that made it; unique.
        node: name of the node at whose output it stands, of the reference as of the simulation.
        place: which of the tensors that the node joins; None for all of its value.
        masked: attention scores behind a mask.
    """

    layer: str
    node: str
    place: int | None
    masked: bool = False

    def of(self, value: Tensor, sizes: Sequence[int], axis: int) -> Tensor:
        """Out of the value at ``node``, which joins tensors of these sizes along the axis."""
        return value if self.place is None else value.narrow(axis, sum(sizes[: self.place]), sizes[self.place])


def output_parts(sim: SimBase) -> list[Part]:
    """The parts of a sim's floating-point outputs, in the outputs' order."""
    output = next(n for n in sim.graph_module.graph.nodes if n.op == "output")
    found: dict[tuple[str, int | None], tuple[str, bool]] = {}
    layers = {name: g.layer for g in sim.groups for name in g.nodes}
    layers |= {n.name: s.layer for s in sim.plan.activations.values() for n in s.nodes if n.op == "placeholder"}
    masked = {g.layer for g in sim.groups if sim.plan.activations[g.key].masked}
    for node in output.all_input_nodes:
        if is_float(node):
            for place, maker in _walk(node):
                layer = layers.get(maker.name) or maker.meta.get("layer") or maker.name
                found.setdefault(place, (layer, layer in masked))
    taken: dict[str, int] = {}
    parts = []
    for (name, place), (layer, behind_mask) in found.items():
        taken[layer] = taken.get(layer, 0) + 1
        unique = layer if taken[layer] == 1 else f"{layer} ({taken[layer]})"
        parts.append(Part(unique, name, place, behind_mask))
    return parts


def is_float(node: fx.Node) -> bool:
    value = made(node).meta.get("val")
    return isinstance(value, Tensor) and value.is_floating_point()


def made(node: fx.Node) -> fx.Node:
    """What a quantizer quantizes: a node of the reference."""
    while node.op == "call_module":
        node = node.args[0]  # pyright: ignore[reportAssignmentType]
    return node


def quantized(node: fx.Node) -> fx.Node:
    """The last of the quantizers that stand right behind a node of the simulation; itself where there is none."""
    while node.op != "get_attr":
        behind = next((u for u in node.users if u.op == "call_module" and u.args[0] is node), None)
        if behind is None:
            break
        node = behind
    return node


def _walk(node: fx.Node) -> Iterator[tuple[tuple[str, int | None], fx.Node]]:
    """((node, place), maker) of each part of a value."""
    maker = ops.maker(node)
    if not _joins(maker):
        yield (made(node).name, None), maker
        return
    for place, source in enumerate(maker.args[0]):
        if _joins(ops.maker(source)):
            yield from _walk(source)
        else:
            yield (maker.name, place), ops.maker(source)


def _joins(node: fx.Node) -> bool:
    return node.op == "call_function" and ops.of(node).kind == "concat"


def split_at(node: fx.Node, value: Callable[[fx.Node], Tensor]) -> tuple[list[int], int]:
    """`joined` for a concatenation in either graph, from the values of what it reads."""
    return joined(node, [value(source) for source in node.args[0]])


def joined(node: fx.Node, tensors: Sequence[Tensor]) -> tuple[list[int], int]:
    """(sizes, axis): how much of a concatenation's output each of its inputs takes, along which axis."""
    op, widest = ops.name(node), max(tensors, key=Tensor.dim)
    if op == "stack":
        given = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
        return [1] * len(tensors), int(given) % (widest.dim() + 1)
    if op == "vstack":
        return [x.shape[0] if x.dim() > 1 else 1 for x in tensors], 0
    if op == "hstack":
        axis = min(widest.dim() - 1, 1) if widest.dim() else 0
        return [x.shape[axis] if x.dim() else 1 for x in tensors], axis
    given = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
    axis = int(given) % widest.dim()
    return [x.shape[axis] if x.dim() == widest.dim() else 0 for x in tensors], axis  # an empty one may be of any rank


@dataclass(frozen=True)
class _Kept:
    """A part of FP32 in one batch: its values that count, where they stand (None: all), how it was split off."""

    values: Tensor
    keep: Tensor | None
    sizes: list[int]
    axis: int

    @property
    def energy(self) -> float:
        return float(self.values.double().square().sum())


class OutputNoise:
    """Noise-to-signal ratio at each part of a model's outputs, against FP32 values that are computed once.

    Masked positions and values that are not finite in FP32 do not count. A part that is all zeros in FP32 is left out.

    Args:
        sim: a calibrated QuantSim or exact simulation; it is not changed.
        batches: as the model takes them, the same in the same order each time.
        progress: ``progress(done, total, message)`` after each batch.

    ``layers`` names the parts by the layers that made them; ``passes`` counts the forward passes over the batches so
    far, FP32 and simulated.

    Raises:
        InputError: no output is of floating-point numbers, or nothing but zeros.

    >>> import torch, qnb
    >>> data = [torch.randn(8, 4)]
    >>> sim = qnb.QuantSim(torch.nn.Linear(4, 2).eval(), data[0], "w8a8").calibrate(data)
    >>> noise = OutputNoise(sim, data)
    >>> noise.layers, bool(sqnr_db(noise(sim)) > 30), noise.passes
    (('linear',), True, 2)
    """

    def __init__(self, sim: SimBase, batches: Iterable, progress: Report | None = None):
        self.batches = reiterable(batches, "OutputNoise")
        self.passes = 0
        parts = output_parts(sim)
        kept: list[list[_Kept]] = []
        signals = np.zeros(len(parts))
        for batch in self._each(progress, "running FP32"):
            kept.append(_reference(sim, parts, sim.flatten(batch, "OutputNoise")))
            signals += [k.energy for k in kept[-1]]
        self.passes += 1
        used = [i for i, signal in enumerate(signals) if signal > 0]
        if not used:
            raise InputError(
                "OutputNoise",
                "a model whose outputs are not floating-point numbers, or are all zero",
                "return logits in place of classes",
            )
        self.parts, self.signals = [parts[i] for i in used], signals[used]
        self._kept = [[row[i] for i in used] for row in kept]
        self.layers = tuple(part.layer for part in self.parts)

    def __call__(self, sim: SimBase, progress: Report | None = None) -> np.ndarray:
        """The ratios of ``sim``, or of a copy of it with other settings, float64 ``[parts]``, from one forward pass."""
        sim = sim.snapshot()
        noises = [NoiseStats() for _ in self.parts]
        run = _Reading(sim, self.parts)
        for batch, row in zip(self._each(progress, "simulating"), self._kept, strict=True):
            values = run(sim.flatten(batch, "OutputNoise"))
            for part, kept, noise in zip(self.parts, row, noises, strict=True):
                value = part.of(values[part.node], kept.sizes, kept.axis)
                noise.update(kept.values, value if kept.keep is None else value[kept.keep])
        self.passes += 1
        return np.array([noise.noise for noise in noises]) / self.signals

    def _each(self, progress: Report | None, message: str) -> Iterator:
        total, done = length(self.batches), 0
        for batch in self.batches:
            yield batch
            done += 1
            if progress is not None:
                progress(done, total, message)


class _Reading:
    """The simulation's values at the nodes of some parts, batch by batch."""

    def __init__(self, sim: SimBase, parts: Sequence[Part]):
        self.sim = sim
        by_name = {n.name: n for n in sim.graph_module.graph.nodes}
        at = {part.node: quantized(by_name[part.node]) for part in parts}
        output = next(n for n in sim.graph_module.graph.nodes if n.op == "output").args[0]
        self.places = {name: output.index(node) for name, node in at.items() if node in output}
        self.names = {node: name for name, node in at.items()}
        self.direct = len(self.places) == len(at)
        self.interpreter = Interpreter(sim.graph_module, set(self.names))

    def __call__(self, inputs: list[Tensor]) -> dict[str, Tensor]:
        if self.direct:
            with torch.no_grad():
                outputs = self.sim.run_flat(inputs)
            return {name: outputs[place] for name, place in self.places.items()}
        found: dict[str, Tensor] = {}
        self.interpreter.run(inputs, lambda node, value, _: found.__setitem__(self.names[node], value))
        return found


def _reference(sim: SimBase, parts: Sequence[Part], inputs: list[Tensor]) -> list[_Kept]:
    """The parts' FP32 values in one batch."""
    module, found = sim.reference, {}
    names = {part.node for part in parts}

    def see(node: fx.Node, value: Tensor, values: dict) -> None:
        split = joined(node, [values[n] for n in node.args[0]]) if _joins(node) else ([], 0)
        found[node.name] = (value, *split)

    Interpreter(module, [n for n in module.graph.nodes if n.name in names]).run(inputs, see)
    kept = []
    for part in parts:
        value, sizes, axis = found[part.node]
        mine = part.of(value, sizes, axis)
        keep = counts(mine, part.masked)
        kept.append(_Kept(mine.clone() if keep is None else mine[keep], keep, sizes, axis))
    return kept


def energies(sim: SimBase, parts: Sequence[Part], inputs: list[Tensor]) -> np.ndarray:
    """The parts' FP32 energies in one batch of flat inputs, float64 ``[parts]``."""
    return np.array([kept.energy for kept in _reference(sim, parts, inputs)])


def counts(reference: Tensor, masked: bool) -> Tensor | None:
    """Where FP32 values count: they are finite, and no mask shuts them out. None: everywhere."""
    if not masked and torch.isfinite(reference.sum()):  # a pass less; a sum that overflows is looked at closely
        return None
    keep = torch.isfinite(reference)
    if masked and reference.dim():
        keep &= attended(reference)
    return None if keep.all() else keep


def sqnr_db(ratios: Iterable[float] | np.ndarray) -> float:
    """SQNR in dB of the mean of noise-to-signal ratios; ``inf`` where nothing is lost.

    >>> sqnr_db([0.02, 0.0]), sqnr_db([0.0])
    (20.0, inf)
    """
    values = np.asarray(ratios if isinstance(ratios, np.ndarray) else list(ratios), dtype=np.float64)
    return error.sqnr_db(1.0, float(values.mean()) if values.size else 0.0)


def difference_db(after: float, before: float) -> float:
    """How much better; 0 where both lose nothing or everything.

    >>> difference_db(30.0, 20.0), difference_db(float("inf"), float("inf"))
    (10.0, 0.0)
    """
    return 0.0 if after == before else after - before
