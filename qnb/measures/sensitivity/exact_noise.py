"""Noise at a model's outputs with one quantizer on: exact, and slower than first-order estimates."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import fx

from qnb.errors import InputError
from qnb.measures.metrics.intervals import Ratio
from qnb.measures.sensitivity.samples import per_sample, sample_count
from qnb.measures.sensitivity.single_quantizer import Alone, Site, Values, call, tensors


class ExactNoise:
    """Noise-to-signal ratio at the outputs of each quantizer of ``alone.sites`` alone, batch by batch.

    FP32 values are computed once a batch; for each quantizer only what its error reaches is computed again. Of several
    outputs the mean of their ratios counts. 1 means noise as strong as the signal; ``-10 log10(score)`` is the SQNR in
    dB.

    Args:
        tick: called before every op with how many of a batch's ``steps`` are done.
    """

    def __init__(self, alone: Alone, tick: Callable[[int], None], operation: str):
        self.alone, self.tick, self.operation = alone, tick, operation
        self.steps = len(alone.sites)
        outputs = [n for n in alone.output.args[0] if isinstance(n, fx.Node)]
        self.outputs = list(dict.fromkeys(outputs))
        self.ratios = {site.path: Ratio() for site in alone.sites}

    def batch(self, batch: Any) -> None:
        flat = self.alone.sim.flatten(batch, self.operation)
        count = sample_count(self.alone.sim.captured, flat)
        with torch.no_grad():
            values = self._forward(flat)
            outputs = [(n, x) for n in self.outputs for x in tensors(self.alone.read(values)(n)) if x is not None]
            if not outputs:
                raise InputError(
                    self.operation,
                    "a model whose outputs are not floating-point numbers",
                    "return logits in place of classes, or use estimator='evaluate'",
                )
            signals = [_power(x, x, count, n) for n, x in outputs]
            for done, site in enumerate(self.alone.sites):
                changed = self._changed(site, values, partial(self.tick, done))
                noises = [
                    _power(changed[n] - x, x, count, n) if n in changed else torch.zeros_like(s)
                    for (n, x), s in zip(outputs, signals, strict=True)
                ]
                self.ratios[site.path].add(_together(noises), _together(signals))

    def _forward(self, flat) -> Values:
        alone, values, supply = self.alone, {}, iter(flat)
        read = alone.read(values)
        for node in alone.nodes:
            self.tick(0)
            if node.op == "placeholder":
                values[node] = next(supply)
            elif node not in alone.constant:
                values[node] = values[node.args[0]] if node.op == "call_module" else call(node, read)
        return values

    def _changed(self, site: Site, values: Values, tick: Callable[[], None]) -> Values:
        """The values that differ from FP32 with this quantizer on."""
        changed: Values = {}
        reached = ChainMap(changed, values)
        read = self.alone.read(reached)
        for node in self.alone.nodes[self.alone.place[site.enters[0]] if site.enters else len(self.alone.nodes) :]:
            if node in site.enters:
                tick()
                changed[node] = self.alone.with_error(site, node, reached)
            elif node not in self.alone.constant and any(n in changed for n in node.all_input_nodes):
                tick()
                changed[node] = changed[node.args[0]] if node.op == "call_module" else call(node, read)
        return changed


def _power(x: torch.Tensor, reference: torch.Tensor, count: int, node: fx.Node) -> torch.Tensor:
    """Sum of squares of each sample, where FP32 is finite."""
    squares = torch.where(torch.isfinite(reference), x.double().square(), 0.0)
    return per_sample(squares, count, node.meta.get("quantizes", node).meta.get("shape"))


def _together(outputs: list[torch.Tensor]) -> torch.Tensor:
    """``[samples, outputs]``; where one output's samples cannot be told apart, ``[1, outputs]``."""
    alike = len({len(x) for x in outputs}) == 1
    return torch.stack(outputs if alike else [x.sum()[None] for x in outputs], 1)
