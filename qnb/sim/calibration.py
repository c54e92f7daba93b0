"""Calibration: run batches through the model, watch every tensor, give every quantizer its encoding.

Weights are quantized while activations are watched, as in AIMET, so that the ranges are those the device will
see. Statistics are streamed: no activation is stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from qnb.errors import CalibrationError
from qnb.graph.batches import length, reiterable
from qnb.numerics import Grid
from qnb.progress import Report
from qnb.ranges import RULES, MinMax, Rule, tensor_range
from qnb.sim.placement.masking import attended, margin
from qnb.sim.placement.plan import ActivationSite
from qnb.sim.quantizer import BiasQuantizer, Quantizer, WeightQuantizer, spread
from qnb.sim.quantizer_state import unchanged_on_error

if TYPE_CHECKING:
    from qnb.sim.base import SimBase

INT32_LIMIT = 2**31 - 2**15
ROOM_BELOW_ZERO = 4096
"""Parts of a range's upper end; one of them below zero gives a 16-bit grid a zero point that is not 0."""


def calibrate(
    sim: SimBase,
    batches: Iterable,
    method: str = "minmax",
    progress: Report | None = None,
    *,
    layers: str | Iterable[str] | None = None,
    **options: Any,
) -> None:
    """Fill every encoding of ``sim``; on any error the sim is as it was.

    Args:
        batches: re-iterable of tensors, tuples or dicts, as the model takes them.
        method: the calibration method for activations: minmax, percentile, sqnr, mse or saturating; weights: min-max.
        progress: called as ``progress(done, total, message)`` after each batch.
        layers: whose outputs (and all that is tied to them) get new ranges, as for `set_precision`; None means all.
        options: of the calibration method, for example ``percentile=99.9``.
    """
    rule = RULES[method]
    rule.check(options, "QuantSim.calibrate", beside=("method", "layers", "progress"))
    only = None if layers is None else sim.output_keys(sim.named(layers, "QuantSim.calibrate"))
    batches = reiterable(batches, "QuantSim.calibrate")
    rules = {key: rule for key in sim.plan.activations if only is None or key in only}
    with unchanged_on_error(sim):
        weight_ranges(sim)
        with observers(sim, rules, "QuantSim.calibrate") as watched:
            if watched:
                _run(sim, batches, watched, progress)
        for quantizer in watched.quantizers:
            quantizer.rule = (method, options)
        activation_encodings(sim, only)
        guard_bias_overflow(sim)


class Watch:
    """The observers of one calibration; each knows which batch is running.

    ``seen`` holds the statistics by key of the activation quantizer. While others are in their place, those are
    updated.
    """

    def __init__(self, operation: str):
        self.operation = operation
        self.batch, self.quantizers = 0, []
        self.seen: dict[str, MinMax] = {}

    def __bool__(self) -> bool:
        return bool(self.quantizers)

    def add(self, key: str, quantizer: Quantizer, site: ActivationSite, rule: Rule) -> None:
        quantizer.statistics = None if site.fixed else rule.statistics(None, None)
        self.seen[key] = quantizer.statistics or MinMax()
        kind = "graph input" if site.kind == "input" else "layer"

        def observe(x: torch.Tensor) -> None:
            if site.masked:
                x = x[attended(x)]
            if x.numel() == 0:
                return
            seen = self.seen[key]
            seen.update(x)
            if not (torch.isfinite(seen.min) and torch.isfinite(seen.max)):
                raise CalibrationError(
                    self.operation,
                    f"{kind} {site.layer!r} gave NaN or infinite values in batch {self.batch}",
                    "look at that batch's data and at the layer before; the FP32 model gives the same values",
                )

        quantizer.observer = observe
        self.quantizers.append(quantizer)


@contextmanager
def observers(sim: SimBase, rules: Mapping[str, Rule], operation: str) -> Iterator[Watch]:
    """Watch the activation quantizers of these keys, each with its rule's statistics; while they watch, no activation
    is quantized."""
    watch = Watch(operation)
    quantizers = {key: sim.activation(key) for key in sim.plan.activations}
    try:
        for key, quantizer in quantizers.items():
            if not isinstance(quantizer.grid, Grid):
                continue
            if quantizer.frozen or key not in rules:
                quantizer.observer = _pass
            else:
                watch.add(key, quantizer, sim.plan.activations[key], rules[key])
        yield watch
    finally:
        for quantizer in quantizers.values():
            quantizer.observer = None


def _pass(x: torch.Tensor) -> None:
    """Not watched, and not quantized."""


def _run(sim: SimBase, batches: Iterable, watch: Watch, progress: Report | None) -> None:
    total = length(batches)
    done = 0
    with torch.no_grad():
        for watch.batch, batch in enumerate(batches):
            sim.run_flat(sim.flatten(batch, "QuantSim.calibrate"))
            done += 1
            if progress is not None:
                progress(done, total, "calibrating")
    if done == 0:
        raise CalibrationError("QuantSim.calibrate", "the loader gave no batch", "pass at least one batch")


def weight_ranges(sim: SimBase) -> None:
    """The weights' encodings as calibration has them while it watches: of the weights, or those that were frozen."""
    if sim.weight_encodings_frozen:
        restore_weight_ranges(sim, set())
    else:
        weight_encodings(sim)


def weight_encodings(sim: SimBase, only: set[str] | None = None) -> None:
    """Min-max encodings of the weights, per channel or block as their grid says."""
    for key in sim.plan.weights:
        quantizer = sim.weight(key)
        if isinstance(quantizer.grid, Grid) and (only is None or key in only):
            weight = sim.weight_tensor(key).detach()
            if not torch.isfinite(weight).all():
                raise CalibrationError(
                    "QuantSim.calibrate",
                    f"weight {quantizer.name!r} holds NaN or infinite values",
                    "fix the model's weights",
                )
            low, high = tensor_range(weight, quantizer.grid, "minmax", quantizer.axis, quantizer.block_size)
            quantizer.set_range(low, _headroom(high, quantizer.grid, sim.target))


def restore_weight_ranges(sim: SimBase, but: set[str]) -> None:
    """The encodings that all weights ``but`` these had before `guard_bias_overflow`: of the range chosen for them,
    which need not be that of the weights (SeqMSE), nor of the weights as they are now (AdaRound)."""
    for key in sim.plan.weights.keys() - but:
        quantizer = sim.weight(key)
        if isinstance(quantizer.grid, Grid) and quantizer.minimum is not None:
            quantizer.set_range(quantizer.minimum, quantizer.maximum)


def _headroom(high: torch.Tensor, grid: Grid, target) -> torch.Tensor:
    """The range's upper end, raised so that no int16 code is larger than the target multiplies exactly."""
    return high * (grid.qmax / target.max_weight_code_16bit) if grid.bits == 16 and grid.symmetric else high


def activation_encodings(sim: SimBase, only: set[str] | None = None) -> None:
    """Encodings from the statistics that calibration left, or from fixed ranges."""
    for key, site in sim.plan.activations.items():
        quantizer = sim.activation(key)
        if quantizer.frozen or not isinstance(quantizer.grid, Grid) or (only is not None and key not in only):
            continue
        if site.fixed is not None:
            low, high = (torch.tensor(v, dtype=torch.float32) for v in site.fixed)
        elif quantizer.statistics is not None and quantizer.statistics.count:
            method, options = quantizer.rule
            low, high = RULES[method](quantizer.statistics, quantizer.grid, **options)
        elif quantizer.minimum is not None:
            low, high = quantizer.minimum, quantizer.maximum
        else:
            continue
        activation_encoding(sim, key, low, high)


def activation_encoding(sim: SimBase, key: str, low: torch.Tensor, high: torch.Tensor) -> None:
    """The encoding of one activation quantizer from the range that its values need."""
    quantizer, site = sim.activation(key), sim.plan.activations[key]
    quantizer.set_range(*_widened(low, high, quantizer.grid, site, sim.target))
    quantizer.minimum, quantizer.maximum = low.detach(), high.detach()  # on another grid, less may be needed


def _widened(low: torch.Tensor, high: torch.Tensor, grid: Grid, site: ActivationSite, target) -> tuple:
    """A range with what this grid needs beyond it on this target: a span, room below for a mask, headroom."""
    if grid.bits == 16:
        missing = (site.least_span_at_16 - (high - low)).clamp(min=0) / 2
        low, high = low - missing, high + missing
        if site.from_below_zero_at_16:
            low = torch.minimum(low, -high / ROOM_BELOW_ZERO)
    if site.masked:
        low = low - margin(grid.bits, site.nodes[0].meta["val"].shape[-1])
    return low, _headroom(high, grid, target)


def guard_bias_overflow(sim: SimBase) -> None:
    """Raise weight scales until |bias| / (s_x * s_w) fits an int32 accumulator with room for the products.

    Without it W16A16 files are wrong on real runtimes: small weight scales make bias codes overflow.
    """
    for key, site in sim.plan.biases.items():
        bias: BiasQuantizer = sim.bias(key)
        weight: WeightQuantizer = sim.weight(site.weight_key)
        if not bias.active:
            continue
        values = sim.bias_tensor(key).detach().double().abs()
        per_weight = sim.activation(site.input_key).scale.double() * site.input_factor
        floor = values / (per_weight * INT32_LIMIT)
        if weight.scale.dim() == 0:
            floor = floor.max()
        elif floor.numel() != weight.scale.numel():  # grouped transposed convolution
            floor = floor.view(-1, weight.scale.numel()).amax(0)
        needed = torch.maximum(weight.scale.double(), floor).to(weight.scale.dtype)
        short = needed.double() < floor  # float32 rounding may fall just below
        needed = torch.where(short, torch.nextafter(needed, torch.full_like(needed, torch.inf)), needed)
        if (needed != weight.scale).any():
            weight.set_encoding(needed, weight.zero_point)


def largest_bias_code(sim: SimBase, key: str) -> float:
    """|bias| / scale of one bias, in steps; below 2^31 - 2^15 after the guard."""
    values = sim.bias_tensor(key).detach().double().abs()
    return float((values / spread(sim.bias(key).scale, values.numel())).max())
