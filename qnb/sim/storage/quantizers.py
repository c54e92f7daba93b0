"""What a file holds of a quantizer: its settings as plain data, its encoding, range and counts as tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from qnb import schema
from qnb.errors import FileError, QnbError
from qnb.numerics import Grid
from qnb.numerics.layout import check_layout
from qnb.numerics.stored import GRID, grid_from_json, grid_to_json
from qnb.ranges import RULES
from qnb.ranges import stored as statistics
from qnb.sim.quantizer import BiasQuantizer, Quantizer

Tensors = dict[str, torch.Tensor]
_AXIS = schema.maybe({"type": "integer", "minimum": 0, "maximum": 64})
_RULE = schema.record({"name": schema.TEXT, "options": schema.table_of(schema.FINITE)})
_BIAS = schema.record({"enabled": schema.FLAG})
_QUANTIZER = schema.record(
    {"enabled": schema.FLAG, "grid": GRID, "axis": _AXIS}, {"statistics": statistics.SCHEMA, "rule": _RULE}
)
SCHEMA = {"anyOf": [_QUANTIZER, _BIAS]}
ENCODING, RANGE, COUNTS = ("scale", "zero_point"), ("minimum", "maximum"), "counts"
"""Tensors' names are ``scale/<quantizer>`` and so on."""


def named(sim) -> list[tuple[str, Quantizer | BiasQuantizer]]:
    """All quantizers of a sim, by their path."""
    modules = sim.graph_module.named_modules()
    return [(name, m) for name, m in modules if isinstance(m, Quantizer | BiasQuantizer)]


def pack(name: str, module: Quantizer | BiasQuantizer, tensors: Tensors) -> dict[str, Any]:
    """A quantizer's settings; its tensors are put into ``tensors``."""
    found: dict[str, Any] = {"enabled": module.enabled}
    if isinstance(module, BiasQuantizer):
        return found
    found |= {"grid": grid_to_json(module.grid), "axis": module.axis}
    parts = (*ENCODING, *RANGE) if isinstance(module.grid, Grid) else RANGE  # other grids have no encoding
    tensors |= {f"{part}/{name}": getattr(module, part) for part in parts if getattr(module, part) is not None}
    seen, counts = statistics.to_json(module.statistics)
    if seen is not None and module.rule is not None:
        rule, options = module.rule
        found |= {"statistics": seen, "rule": {"name": rule, "options": {k: float(v) for k, v in options.items()}}}
        tensors |= {} if counts is None else {f"{COUNTS}/{name}": counts}
    return found


def unpack(sim, stored: Mapping[str, dict], tensors: Tensors, operation: str, remedy: str) -> set[str]:
    """Set a sim's quantizers to what was stored of them. Returns the names of the tensors that it took.

    Raises:
        FileError: other quantizers than the sim has, or what they cannot be set to.
    """
    modules = dict(named(sim))
    if unlike := sorted(stored.keys() ^ modules.keys()):
        raise FileError(
            operation,
            f"quantizers that target {sim.target.name!r} does not place on this model, or "
            f"places and the file lacks ({unlike[0][:80]!r})",
            remedy,
        )
    weights = {f"weight_quantizers.{key}": key for key in sim.plan.weights}
    taken: set[str] = set()
    for name, module in modules.items():
        if isinstance(module, BiasQuantizer) != ("grid" not in stored[name]):
            raise FileError(operation, f"the file is damaged: settings of {name!r} that are another's", remedy)
        module.enabled = stored[name]["enabled"]
        if isinstance(module, Quantizer):
            reader = _Reader(name, tensors, operation, remedy, sim.device)
            reader.settings(module, stored[name])
            reader.encoding(sim, module, weights.get(name))
            reader.seen(module, stored[name], name in weights)
            taken |= reader.taken
    return taken


class _Reader:
    """Reads one quantizer; ``taken`` names the tensors that were its."""

    def __init__(self, name: str, tensors: Tensors, operation: str, remedy: str, device: torch.device | None):
        self.name, self.tensors, self.operation, self.remedy, self.device = name, tensors, operation, remedy, device
        self.taken: set[str] = set()

    def error(self, received: str) -> FileError:
        return FileError(self.operation, f"the file is damaged: {self.name!r} has {received}", self.remedy)

    def tensor(self, part: str) -> torch.Tensor | None:
        name = f"{part}/{self.name}"
        self.taken.add(name)
        found = self.tensors.get(name)
        return None if found is None else found.to(self.device)

    def numbers(self, parts: tuple[str, str]) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Two tensors of one shape, float32 and finite; None where there are neither."""
        found = [self.tensor(part) for part in parts]
        if found[0] is None and found[1] is None:
            return None
        if found[0] is None or found[1] is None or found[0].shape != found[1].shape:
            raise self.error(f"{parts[0]} and {parts[1]} that do not go together")
        for part, values in zip(parts, found, strict=True):
            if values.dtype != torch.float32 or not torch.isfinite(values).all():
                raise self.error(f"a {part} that is not finite float32")
        return found[0], found[1]

    def settings(self, module: Quantizer, stored: Mapping[str, Any]) -> None:
        module.grid, module.axis = grid_from_json(stored["grid"], self.operation, self.remedy), stored["axis"]

    def encoding(self, sim, module: Quantizer, weight_key: str | None) -> None:
        """Scale and zero point in the shape that grid and axis ask for, and the range they came from."""
        found, ends = self.numbers(ENCODING), self.numbers(RANGE)
        site = None if weight_key is None else sim.plan.weights[weight_key]
        along = {} if site is None else {"channel": site.axis, "block": site.block_axis}
        if module.axis != along.get(getattr(module.grid, "granularity", None)):
            raise self.error(f"axis {module.axis}, which is not that of its channels or blocks")
        if found is not None and isinstance(module.grid, Grid):
            self._check_shape(sim, module, weight_key, found)
            if not bool((found[0] > 0).all()):
                raise self.error("a scale that is not positive")
            if ends is not None and ends[0].shape != found[0].shape:
                raise self.error("a range of another shape than its scale")
            module.set_encoding(*found)
        if ends is not None:
            if not bool((ends[0] <= ends[1]).all()):
                raise self.error("a range whose lower end is the upper one")
            module.minimum, module.maximum = ends

    def _check_shape(self, sim, module: Quantizer, weight_key: str | None, found: tuple) -> None:
        shape = torch.Size(()) if weight_key is None else sim.weight_tensor(weight_key).shape
        try:
            check_layout(shape, *found, module.axis, module.block_size, self.operation)
        except QnbError as error:
            raise self.error(error.received) from error
        if module.axis is None and found[0].dim():
            raise self.error(f"a scale of shape {tuple(found[0].shape)} for one that serves the whole tensor")

    def seen(self, module: Quantizer, stored: Mapping[str, Any], of_weight: bool) -> None:
        """What calibration saw, and the rule that made a range of it."""
        counts = self.tensor(COUNTS)
        if ("statistics" in stored) != ("rule" in stored) or (of_weight and "statistics" in stored):
            raise self.error("statistics without a rule, a rule without statistics, or both of a weight")
        if "statistics" not in stored:
            if counts is not None:
                raise self.error("counts without statistics")
            return
        rule, options = stored["rule"]["name"], stored["rule"]["options"]
        module.statistics = statistics.from_json(stored["statistics"], counts, self.operation, self.remedy, self.device)
        try:
            RULES[rule].check(options, self.operation)
        except QnbError as error:
            raise self.error(f"a range rule that does not exist: {error.received}") from error
        if not isinstance(module.statistics, RULES[rule].statistics):
            raise self.error(f"no histogram, which range rule {rule!r} needs")
        module.rule = rule, options
