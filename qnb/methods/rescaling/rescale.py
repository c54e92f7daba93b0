"""The search that SmoothQuant and AWQ share: for each fold the scales that keep its readers' outputs best."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import torch

from qnb.columns import LAYER
from qnb.errors import InputError
from qnb.graph.attributes import attribute, set_tensor
from qnb.measures.layers.error import sqnr_db
from qnb.methods.layerwise.frontier import Frontier, Segment
from qnb.methods.layerwise.layers import integer_layers
from qnb.methods.layerwise.weights import put
from qnb.methods.reporting.progress import MethodProgress
from qnb.methods.reporting.result import Found
from qnb.methods.rescaling.folding import Fold, find_folds
from qnb.methods.rescaling.reference import replace_reference
from qnb.numerics import Grid
from qnb.ranges import RULES
from qnb.sim.calibration import activation_encodings, guard_bias_overflow, weight_encodings
from qnb.sim.quantizer_state import QuantizerState

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim

COLUMNS = [LAYER, "alpha", "readers", "fit_before_db", "fit_after_db"]


@dataclass(frozen=True)
class Magnitudes:
    """Of the channels between a maker and its readers, each ``[channels]``.

    Args:
        largest, mean: of ``|x|`` over all positions, FP32.
        weight: the largest ``|w|`` that multiplies the channel, over all readers.
    """

    largest: torch.Tensor
    mean: torch.Tensor
    weight: torch.Tensor


class Rescaling:
    """Goes through a sim's folds in graph order.

    Args:
        scales: ``(magnitudes, alpha) -> [channels]``.
        activations: whether activations are quantized, and the inputs those of the quantized layers before, where
            errors are compared; False is for weights alone, with FP32 inputs.
    """

    def __init__(
        self, sim: QuantSim, scales: Callable[[Magnitudes, float], torch.Tensor], activations: bool, operation: str
    ):
        self.sim, self.scales, self.activations, self.operation = sim, scales, activations, operation
        self.changed: dict[str, torch.Tensor] = {}
        self.statistics: dict[str, dict[str, torch.Tensor]] = {}

    def run(
        self,
        batches: Iterable,
        layers: str | Iterable[str] | None,
        alphas: list[float],
        must: bool,
        progress: MethodProgress,
    ) -> Found:
        """Try ``alphas`` at every fold and take the best, if it beats no scales at all or one ``must`` be taken."""
        chosen = {layer.layer for layer in integer_layers(self.sim, layers, self.operation)}
        folds, notes = find_folds(self.sim, chosen)
        self._check(folds)
        rows, done = [], 0

        def tick() -> None:
            progress(done, len(folds), "rescaling channels")

        self.walk, self.tick = Frontier(self.sim, batches, tick=tick, operation=self.operation), tick
        for done, fold in enumerate(folds):  # noqa: B007 (tick reads it)
            self.walk.advance(fold.maker.node.name)
            rows.append(self._search(fold, alphas, must, progress))
        self._finish()
        return Found(pd.DataFrame(rows, columns=COLUMNS), notes=tuple(notes))

    def _check(self, folds: list[Fold]) -> None:
        for name in (name for fold in folds for name in fold.names):
            if not torch.equal(attribute(self.sim.graph_module, name), attribute(self.sim.reference, name)):
                raise InputError(
                    self.operation,
                    f"weights that were changed since the capture ({name!r})",
                    "do this first, on a sim whose weights are still the model's",
                )

    def _search(self, fold: Fold, alphas: list[float], must: bool, progress: MethodProgress) -> dict:
        """Choose one fold's scales and leave the sim with them; a row of the table."""
        segments = [self.walk.segment(reading.product.node.name) for reading in fold.readings]
        targets = [[self._target(segment, i) for i in range(segment.count)] for segment in segments]
        magnitudes, encodings = self._magnitudes(fold), [(q, QuantizerState.of(q)) for q in fold.quantizers(self.sim)]
        original = {name: attribute(self.sim.graph_module, name) for name in fold.names}
        before = self._noise(segments, targets)
        least, best = (torch.inf if must else before), None
        for alpha in alphas:
            self._apply(fold, original, self._scale(fold, magnitudes, alpha), self.activations)
            noise = self._noise(segments, targets)
            progress.row(layer=fold.maker.layer, alpha=alpha, fit_db=sqnr_db(1.0, noise))
            if noise < least:
                least, best = noise, alpha
        if best is None:
            self._put(original)
            for quantizer, state in encodings:
                state.restore(quantizer)
        else:
            scale = self._scale(fold, magnitudes, best)
            self._apply(fold, original, scale, True)
            self.changed = {**original, **self.changed}
            self.statistics |= fold.statistics(scale)
        for target in (t for some in targets for t in some):
            self.walk.shelf.release(target)
        after = before if best is None else least
        readers = ", ".join(reading.product.layer.layer for reading in fold.readings)
        return dict(
            zip(
                COLUMNS,
                (
                    fold.maker.layer,
                    torch.nan if best is None else best,
                    readers,
                    sqnr_db(1.0, before),
                    sqnr_db(1.0, after),
                ),
                strict=True,
            )
        )

    def _scale(self, fold: Fold, magnitudes: Magnitudes, alpha: float) -> torch.Tensor:
        scale = self.scales(magnitudes, alpha).double().clamp(1e-5, 1e5)
        return torch.where(fold.free.to(scale.device), scale, 1.0)

    def _target(self, segment: Segment, batch: int) -> torch.Tensor:
        self.tick()
        return self.walk.shelf.keep(segment.target(batch))

    def _magnitudes(self, fold: Fold) -> Magnitudes:
        """Of the FP32 inputs of the readers, and of their weights."""
        device = attribute(self.sim.reference, fold.maker.weight).device
        largest, mean, weight = torch.zeros(3, len(fold.free), dtype=torch.float64, device=device)
        count = torch.zeros_like(mean)
        for reading in fold.readings:
            product, channel = reading.product, reading.channel.to(device)
            rows = product.matrix(attribute(self.sim.graph_module, product.layer.weight).detach()).double().abs()
            weight.scatter_reduce_(0, channel, rows.amax((1, 3)).flatten(), "amax")
            segment = self.walk.segment(self.walk.nodes[self.walk.place[product.node.name]].args[product.data].name)
            for batch in range(segment.count):
                self.tick()
                x = product.channels(segment.target(batch)).double().abs()
                largest.scatter_reduce_(0, channel, x.amax(1), "amax")
                mean.index_add_(0, channel, x.sum(1))
                count.index_add_(0, channel, torch.full_like(x[:, 0], x.shape[1]))
        free = fold.free.to(device)  # the others get no scale, and have no say in it
        return Magnitudes(*(torch.where(free, m, 0.0) for m in (largest, mean / count.clamp(min=1), weight)))

    def _noise(self, segments: list[Segment], targets: list[list[torch.Tensor]]) -> float:
        """Squared error over the squared FP32 output, all readers counting alike."""
        total = 0.0
        passing = {} if self.activations else dict.fromkeys(self.sim.plan.activations, _pass)
        with torch.no_grad(), _observing(self.sim, passing):
            for segment, wanted in zip(segments, targets, strict=True):
                noise = signal = 0.0
                for batch, target in enumerate(wanted):
                    self.tick()
                    value = segment.run(segment.values(batch, reference=not self.activations))
                    noise += float((value - target).double().square().sum())
                    signal += float(target.double().square().sum())
                total += noise / signal if signal else 0.0
        return total / len(segments)

    def _apply(self, fold: Fold, original: Mapping[str, torch.Tensor], scale: torch.Tensor, ranges: bool) -> None:
        """Fold a scale into the sim's tensors, with encodings to suit."""
        self._put(fold.folded(original, scale))
        weight_encodings(self.sim, fold.weight_keys(self.sim))
        if ranges:
            self._activation_ranges(fold)

    def _put(self, tensors: Mapping[str, torch.Tensor]) -> None:
        for name, value in tensors.items():
            put(self.sim, name, value)

    def _activation_ranges(self, fold: Fold) -> None:
        """New encodings of the scaled activations by each one's own rule, from FP32 inputs as calibration has them."""
        quantizers = {key: self.sim.activation(key) for key in fold.keys}
        watched = {key: q for key, q in quantizers.items() if isinstance(q.grid, Grid) and q.fixed is None}
        for quantizer in watched.values():
            quantizer.rule = quantizer.rule or ("minmax", {})
            quantizer.statistics = RULES[quantizer.rule[0]].statistics(None, None)
        observers = dict.fromkeys(self.sim.plan.activations, _pass) | {
            k: q.statistics.update for k, q in watched.items()
        }
        with torch.no_grad(), _observing(self.sim, observers):
            for reading in fold.readings:
                data = self.walk.nodes[self.walk.place[reading.product.node.name]].args[reading.product.data]
                segment = self.walk.segment(data.name)
                for batch in range(segment.count):
                    self.tick()
                    segment.run(segment.values(batch, reference=True))
        activation_encodings(self.sim, set(watched))

    def _finish(self) -> None:
        """A reference with all scales in it, so that layers stay comparable."""
        new = {name: attribute(self.sim.graph_module, name) for name in self.changed}
        for name, value in self.changed.items():
            set_tensor(self.sim.graph_module, name, value)
        if new:
            replace_reference(self.sim, new, self.operation, self.statistics)
            guard_bias_overflow(self.sim)


def _pass(x: torch.Tensor) -> None:
    """Neither watched nor quantized."""


@contextmanager
def _observing(sim: QuantSim, observers: Mapping[str, Callable[[torch.Tensor], None]]):
    """These activation quantizers show their input to an observer and let it pass."""
    try:
        for key, observe in observers.items():
            sim.activation(key).observer = observe
        yield
    finally:
        for key in observers:
            sim.activation(key).observer = None
