"""What a range of one quantizer adds to the noise at the model's outputs, predicted from a few backward passes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, fx

from qnb.measures.layers.output_parts import Part, counts, joined, quantized
from qnb.measures.sensitivity.samples import per_sample, sample_count
from qnb.methods.calibration.candidates import Candidates
from qnb.numerics import fake_quantize

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle

    from qnb.sim.quantsim import QuantSim

DIRECTIONS = 2
"""Random ones for each batch: the prediction of a tensor differs by a fifth from draw to draw."""
_NO_GRADIENT = ("derivative", "differentiable", "autograd formula", "does not require grad")


def predicted(
    sim: QuantSim, candidates: Candidates, parts: Iterable[Part], batches: Iterable, tick: Callable[[], None]
) -> dict[str, np.ndarray] | None:
    """Noise-to-signal ratio at the outputs, mean over their parts, that each candidate of each quantizer adds.

    With J the outputs' derivative by a quantizer's output and e the error that a candidate makes there, that is
    ``|J e|^2`` over the signal's energy: the mean of ``(g . e)^2``, g being the gradient of random signs at the
    outputs. The error is the candidate's own, value by value, so that what clipping takes from the large values meets
    the gradient there; and of the values as simulated, so that what the layer before has rounded to the same grid is
    not counted twice.

    Args:
        sim: with tensors of its own; it is not changed.
        parts: of its outputs.
        tick: called now and then; what it raises stops the work.

    Returns:
        Float64 ``[candidates]`` by key; None where the model has no gradient.
    """
    watch = _Watch(sim, candidates, tick)
    generator = torch.Generator().manual_seed(0)
    batches, parts = list(batches), list(parts)
    reader = _Reader(sim.graph_module, parts)
    try:
        with torch.enable_grad(), watch:
            for batch in batches:
                flat = sim.flatten(batch, "qnb.methods.choose_ranges")
                watch.start(sample_count(sim.captured, flat))
                outputs = [(z, _weight(z)) for z in reader.values(flat) if z.requires_grad and z.numel()]
                for left in reversed(range(DIRECTIONS)) if outputs and watch.leaves else ():
                    signs = (torch.randint(0, 2, z.shape, generator=generator).to(z) * 2 - 1 for z, _ in outputs)
                    gradients = [s * w for s, (_, w) in zip(signs, outputs, strict=True)]
                    watch.run([z for z, _ in outputs], gradients, last=not left)
    except (RuntimeError, NotImplementedError) as error:
        if any(words in str(error) for words in _NO_GRADIENT):
            return None
        raise
    return {key: sums / (len(parts) * len(batches) * DIRECTIONS) for key, sums in watch.found.items()}


def _weight(z: Tensor) -> float:
    return float(z.detach().double().square().sum().clamp(min=1e-30).rsqrt())


class _Reader(fx.Interpreter):
    """Runs the graph with gradients and keeps the values of the outputs' parts, those that count."""

    def __init__(self, module: fx.GraphModule, parts: Iterable[Part]):
        super().__init__(module)
        by_name = {node.name: node for node in module.graph.nodes}
        self.parts: dict[fx.Node, list[Part]] = {}
        self.joins: dict[fx.Node, tuple[list[int], int]] = {}
        self.joining = {by_name[part.node] for part in parts if part.place is not None}
        for part in parts:
            self.parts.setdefault(quantized(by_name[part.node]), []).append(part)
        self.by_name, self.found = by_name, []

    def values(self, flat: list[Tensor]) -> list[Tensor]:
        self.found = []
        self.run(*flat)
        return self.found

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n in self.joining:
            self.joins[n] = joined(n, [self.env[source] for source in n.args[0]])
        for part in self.parts.get(n, ()):
            mine = part.of(value, *self.joins.get(self.by_name[part.node], ([], 0)))
            keep = counts(mine.detach(), part.masked)
            self.found.append(mine if keep is None else mine[keep])
        return value


class _Watch:
    """Sees the gradient at every quantizer's output, and sums up what each candidate would add there."""

    def __init__(self, sim: QuantSim, candidates: Candidates, tick: Callable[[], None]):
        self.sim, self.candidates, self.tick = sim, candidates, tick
        self.found = {key: np.zeros(len(candidates.states)) for key in candidates.keys}
        self.leaves: list[Tensor] = []
        self.inner: dict[str, Tensor] = {}
        self.count = 1
        self._handles: list[RemovableHandle] = []
        for parameter in sim.graph_module.parameters():
            parameter.requires_grad_(False)

    def __enter__(self) -> _Watch:
        for key in self.candidates.keys:
            hook = lambda module, args, y, key=key: self._made(key, args[0], y)  # noqa: E731
            self._handles.append(self.sim.activation(key).register_forward_hook(hook))
        return self

    def __exit__(self, *_: Any) -> None:
        for handle in self._handles:
            handle.remove()

    def start(self, count: int) -> None:
        """A batch of so many samples."""
        self.count, self.leaves = count, []

    def _made(self, key: str, x: Tensor, y: Tensor) -> Tensor:
        """The quantizer's output, whose gradient comes here."""
        if not y.requires_grad:
            y = y.detach().requires_grad_()
            self.leaves.append(y)
        x, y = x.detach(), y.view_as(y)
        y.register_hook(lambda gradient: self._gradient(key, gradient, x))
        return y

    @torch.no_grad()
    def _gradient(self, key: str, gradient: Tensor, x: Tensor) -> None:
        self.tick()
        rows: list[Tensor] = []
        for number, states in enumerate(self.candidates.states):
            alike = self.candidates.alike[key][number]
            if alike < number:
                rows.append(rows[alike])
                continue
            state = states[key]
            changed = gradient * (fake_quantize(x, state.scale, state.zero_point, state.grid.name) - x)
            if not torch.isfinite(changed).all():  # what has no effect may be infinite, for example behind a mask
                changed = torch.where(gradient == 0, 0.0, changed)
            rows.append(per_sample(changed, self.count))
        inner, before = torch.stack(rows), self.inner.get(key)
        if before is not None and before.shape != inner.shape:
            before, inner = before.sum(1, keepdim=True), inner.sum(1, keepdim=True)
        self.inner[key] = inner if before is None else before + inner

    def run(self, outputs: list[Tensor], gradients: list[Tensor], last: bool) -> None:
        """One backward pass."""
        self.inner = {}
        torch.autograd.grad(outputs, self.leaves, gradients, retain_graph=not last, allow_unused=True)
        for key, inner in self.inner.items():
            self.found[key] += inner.square().sum(1).numpy()
