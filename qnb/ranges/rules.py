"""Calibration methods: from statistics to the range (min, max) that a grid should cover."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from qnb.arguments import check_options, is_number, short
from qnb.errors import InputError
from qnb.numerics import FloatGrid, Grid, affine_parameters
from qnb.ranges.histogram import Histogram
from qnb.ranges.search import (
    SMALLEST_SCALE,
    asymmetric_candidates,
    midpoint_error,
    symmetric_candidates,
    uniform_error,
)
from qnb.ranges.statistics import MinMax
from qnb.registry import Registry

SEARCH_BINS = 512
PERCENTILE_BINS = 2048


@dataclass(frozen=True)
class Rule:
    """The statistics that a rule needs, and its function ``(statistics, grid, **options) -> (min, max)``.

    The (min, max) are float32 tensors of the scale's shape: ``[]``, ``[channels]`` or blocks. ``bounds`` holds the
    least and the largest value of each option, ``scheme`` AIMET's word for it in encodings
    files, where there is one.
    """

    name: str
    statistics: Callable[..., MinMax]
    function: Callable[..., tuple[Tensor, Tensor]]
    bounds: Mapping[str, tuple[float, float]]
    scheme: str = ""

    @torch.no_grad()
    def __call__(self, statistics: MinMax, grid: Grid | FloatGrid, **options) -> tuple[Tensor, Tensor]:
        self.check(options, f"{self.name} range")
        return self.function(statistics, grid, **options)

    def check(
        self, options: Mapping[str, Any], operation: str, beside: Iterable[str] = (), argument: str = "method"
    ) -> None:
        """Whether the rule takes these options, before any work.

        Args:
            beside: other names that the caller takes, one of which may be meant.
            argument: what the caller calls the rule.

        Raises:
            InputError: names the option and the nearest one, or the values that it takes.
        """
        for name, value in options.items():
            other = next((o for o in RULES if name in RULES[o].bounds), None)
            if other is not None and name not in self.bounds:
                raise InputError(
                    operation,
                    f"option {name}={short(value)} with calibration method {self.name!r}",
                    f"Did you mean {argument}={other!r}, {name}={short(value)}?",
                )
            owner = operation if beside else f"calibration method {self.name!r}"
            known = [*self.bounds, *(other for other in beside if other != name)]  # those are no options
            check_options(operation, {name: value}, known, owner)
            low, high = self.bounds[name]
            if not (is_number(value) and low <= value <= high):
                raise InputError(operation, f"{name}={short(value)}", f"use {low:g} to {high:g}")


RULES: Registry[Rule] = Registry("calibration method", of=Rule, group="qnb.range_rules")


def rule(name: str, statistics: Callable[..., MinMax], *, scheme: str = "", **bounds: tuple[float, float]) -> Callable:
    """Registers a function as the calibration method of that name; ``bounds``: least and largest value of each option;
    ``scheme``: what encodings files call it."""

    def register(function):
        RULES.add(name, Rule(name, statistics, function, bounds, scheme))
        return function

    return register


@rule("minmax", MinMax, scheme="post_training_tf")
def minmax(statistics: MinMax, grid: Grid | FloatGrid) -> tuple[Tensor, Tensor]:
    """All that was seen."""
    return statistics.min, statistics.max


@rule("percentile", Histogram, scheme="post_training_percentile", percentile=(50, 100))
def percentile(statistics: Histogram, grid: Grid | FloatGrid, percentile: float = 99.99) -> tuple[Tensor, Tensor]:
    """Leaves out the largest and the smallest ``100 - percentile`` percent of the values.

    Each end is the left edge of the bin, of 2,048 over the range, that its percentile falls into, as in
    AIMET; 100 is min-max.
    """
    if percentile == 100:
        return statistics.min, statistics.max
    bins = statistics.bins(PERCENTILE_BINS)
    total = bins.counts.cumsum(1)
    # In this order 1 % of 300 is exactly 3.
    targets = [total[:, -1:].double() * part / 100 for part in (100 - percentile, percentile)]
    low, high = (bins.edges.gather(1, torch.searchsorted(total.double(), target)) for target in targets)
    return _unless_constant(statistics, low.view(statistics.min.shape), high.view(statistics.max.shape))


@rule("sqnr", Histogram, scheme="post_training_tf_enhanced")
def sqnr(statistics: Histogram, grid: Grid | FloatGrid) -> tuple[Tensor, Tensor]:
    """The range with the least predicted squared error over 512 bins, clipped values counting three times.

    Searches 17 scales by 22 offsets (asymmetric) or 101 scales (symmetric). A float grid gets min-max: its
    relative error is the same everywhere, so that clipping gains nothing.

    Source: AIMET's "tf_enhanced" scheme.
    """
    if isinstance(grid, FloatGrid):
        return statistics.min, statistics.max
    low = statistics.min.flatten().clamp(max=0)
    high = statistics.max.flatten().clamp(min=0)
    high = torch.maximum(high, low + SMALLEST_SCALE * (grid.qmax - grid.qmin))
    candidates = symmetric_candidates if grid.symmetric else asymmetric_candidates
    delta, offset = candidates(low, high, grid)
    error = midpoint_error(statistics.bins(SEARCH_BINS), delta, offset, grid, clipping_weight=3)
    best = error.argmin(1, keepdim=True)
    delta, offset = (value.gather(1, best).view(statistics.min.shape) for value in (delta, offset))
    start = offset * delta
    return _unless_constant(statistics, start, start + (grid.qmax - grid.qmin) * delta)


def _unless_constant(statistics: MinMax, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """(low, high), but min-max where all values are one: its bins say nothing, and min-max is exact."""
    constant = statistics.min == statistics.max
    return torch.where(constant, statistics.min, low), torch.where(constant, statistics.max, high)


@rule("mse", Histogram)
def mse(statistics: Histogram, grid: Grid | FloatGrid) -> tuple[Tensor, Tensor]:
    """The range with the least expected squared error, clipped values counting once as all others.

    Values are taken as spread evenly over each of 512 bins. First a coarse search over how far to cut either
    end of min-max, then a fine one around its best; min-max itself is among the candidates. A float grid gets
    min-max, as in `sqnr`.
    """
    if isinstance(grid, FloatGrid):
        return statistics.min, statistics.max
    bins = statistics.bins(SEARCH_BINS)
    low, high = statistics.min.flatten().clamp(max=0), statistics.max.flatten().clamp(min=0)
    low_part, high_part = torch.ones_like(low), torch.ones_like(high)
    for spread in (torch.arange(0, 24) / 24, torch.arange(-12, 13) / 24 / 12):
        parts = _cuts(low_part, high_part, spread.to(low.device), grid)
        starts, ends = low[:, None] * parts[0], high[:, None] * parts[1]
        delta, zero_point = affine_parameters(starts, ends, grid)
        error = uniform_error(bins, delta, grid.qmin - zero_point, grid)
        best = error.argmin(1, keepdim=True)
        low_part, high_part = (part.gather(1, best).squeeze(1) for part in parts)
    low, high = ((end * part).view(statistics.min.shape) for end, part in ((low, low_part), (high, high_part)))
    return _unless_constant(statistics, low, high)


@rule("saturating", MinMax, limit=(1, 100))
def saturating(statistics: MinMax, grid: Grid | FloatGrid, limit: float = 8.0) -> tuple[Tensor, Tensor]:
    """Min-max, cut at ``limit`` to either side: for what only a sigmoid or a tanh reads.

    At 8 a sigmoid is within 0.0004 of its end and a tanh closer still, less than half a step of 8 bits, so that steps
    beyond tell nothing apart.
    """
    return statistics.min.clamp(min=-limit, max=limit), statistics.max.clamp(min=-limit, max=limit)


def _cuts(low: Tensor, high: Tensor, spread: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """Pairs of parts of either end, ``[rows, pairs]``, around (low, high), which come first."""
    lows, highs = ((part[:, None] - spread).clamp(0.01, 1) for part in (low, high))
    if grid.symmetric:
        # One end alone decides a symmetric scale: cut both alike.
        both = torch.cat([high[:, None], highs], dim=1)
        return both, both
    lows, highs = (
        lows[:, :, None].expand(-1, -1, highs.shape[1]),
        highs[:, None, :].expand(-1, lows.shape[1], -1),
    )
    lows = torch.cat([low[:, None], lows.flatten(1)], dim=1)
    return lows, torch.cat([high[:, None], highs.flatten(1)], dim=1)
