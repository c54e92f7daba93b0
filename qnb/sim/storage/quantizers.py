"""What a file holds of a quantizer: its settings as plain data, its encoding, range and counts as tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from qnb import schema
from qnb.errors import FileError, QnbError
from qnb.numerics import Grid
from qnb.numerics.layout import check_layout
from qnb.numerics.stored import GRID, grid_from_json, grid_to_json
from qnb.ranges import RULES
from qnb.ranges import stored as statistics
from qnb.sim.quantizer import BiasQuantizer, Quantizer
from qnb.sim.quantizer_state import QuantizerState, quantizer_modules

if TYPE_CHECKING:
    from qnb.sim.base import SimBase

Tensors = dict[str, torch.Tensor]
_AXIS = schema.maybe({"type": "integer", "minimum": 0, "maximum": 64})
_RULE = schema.record({"name": schema.TEXT, "options": schema.table_of(schema.FINITE)})
_BIAS = schema.record({"enabled": schema.FLAG})
_QUANTIZER = schema.record(
    {"enabled": schema.FLAG, "grid": GRID, "axis": _AXIS},
    {"statistics": statistics.SCHEMA, "rule": _RULE, "frozen": schema.FLAG},
)
SCHEMA = {"anyOf": [_QUANTIZER, _BIAS]}
ENCODING, RANGE, COUNTS = ("scale", "zero_point"), ("minimum", "maximum"), "counts"
"""Tensors' names are ``scale/<quantizer>`` and so on."""


def pack(name: str, module: Quantizer | BiasQuantizer, tensors: Tensors) -> dict[str, Any]:
    """A quantizer's settings; its tensors are put into ``tensors``."""
    state, found = QuantizerState.of(module), {"enabled": module.enabled}
    if isinstance(module, BiasQuantizer):
        return found
    found |= {"grid": grid_to_json(state.grid), "axis": state.axis} | ({"frozen": True} if state.frozen else {})
    parts = (*ENCODING, *RANGE) if isinstance(state.grid, Grid) else RANGE  # other grids have no encoding
    tensors |= {f"{part}/{name}": getattr(state, part) for part in parts if getattr(state, part) is not None}
    seen, counts = statistics.to_json(state.statistics)
    if seen is not None and state.rule is not None:
        rule, options = state.rule
        found |= {"statistics": seen, "rule": {"name": rule, "options": {k: float(v) for k, v in options.items()}}}
        tensors |= {} if counts is None else {f"{COUNTS}/{name}": counts}
    return found


def unpack(sim: SimBase, stored: Mapping[str, dict], tensors: Tensors, operation: str, remedy: str) -> set[str]:
    """Set a sim's quantizers to what was stored of them. Returns the names of the tensors that it took.

    Raises:
        FileError: other quantizers than the sim has, or what they cannot be set to.
    """
    modules = quantizer_modules(sim)
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
        state = QuantizerState(stored[name]["enabled"])
        if isinstance(module, Quantizer):
            reader = _Reader(name, tensors, operation, remedy, sim.device)
            state = reader.state(sim, stored[name], weights.get(name))
            taken |= reader.taken
        state.put(module)
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
            raise self.error(f"{parts[0]} and {parts[1]} that do not match")
        for part, values in zip(parts, found, strict=True):
            if values.dtype != torch.float32 or not torch.isfinite(values).all():
                raise self.error(f"a {part} that is not finite float32")
        return found[0], found[1]

    def state(self, sim: SimBase, stored: Mapping[str, Any], weight_key: str | None) -> QuantizerState:
        """All that was stored of it."""
        grid = grid_from_json(stored["grid"], self.operation, self.remedy)
        found = self.encoding(sim, grid, stored["axis"], weight_key) | self.seen(stored, weight_key is not None)
        return QuantizerState(stored["enabled"], grid, stored["axis"], frozen=stored.get("frozen", False), **found)

    def encoding(self, sim: SimBase, grid: Any, axis: int | None, weight_key: str | None) -> dict[str, torch.Tensor]:
        """Scale and zero point in the shape that grid and axis ask for, and the range they came from."""
        found, ends = self.numbers(ENCODING), self.numbers(RANGE)
        site = None if weight_key is None else sim.plan.weights[weight_key]
        along = {} if site is None else {"channel": site.axis, "block": site.block_axis}
        if axis != along.get(getattr(grid, "granularity", None)):
            raise self.error(f"axis {axis}, which is not that of its channels or blocks")
        read: dict[str, torch.Tensor] = {}
        if found is not None and isinstance(grid, Grid):
            shape = torch.Size(()) if weight_key is None else sim.weight_tensor(weight_key).shape
            self._check_shape(shape, grid, axis, found)
            if not bool((found[0] > 0).all()):
                raise self.error("a scale that is not positive")
            if ends is not None and ends[0].shape != found[0].shape:
                raise self.error("a range of another shape than its scale")
            read |= zip(ENCODING, found, strict=True)
        if ends is not None:
            if not bool((ends[0] <= ends[1]).all()):
                raise self.error("a range whose lower end is the upper one")
            read |= zip(RANGE, ends, strict=True)
        return read

    def _check_shape(
        self, shape: torch.Size, grid: Grid, axis: int | None, found: tuple[torch.Tensor, torch.Tensor]
    ) -> None:
        try:
            check_layout(shape, *found, axis, grid.block_size, self.operation)
        except QnbError as error:
            raise self.error(error.received) from error
        if axis is None and found[0].dim():
            raise self.error(f"a scale of shape {tuple(found[0].shape)} for one that serves the whole tensor")

    def seen(self, stored: Mapping[str, Any], of_weight: bool) -> dict[str, Any]:
        """What calibration saw, and the rule that made a range of it."""
        counts = self.tensor(COUNTS)
        if ("statistics" in stored) != ("rule" in stored) or (of_weight and "statistics" in stored):
            raise self.error("statistics without a rule, a rule without statistics, or both of a weight")
        if "statistics" not in stored:
            if counts is not None:
                raise self.error("counts without statistics")
            return {}
        rule, options = stored["rule"]["name"], stored["rule"]["options"]
        read = statistics.from_json(stored["statistics"], counts, self.operation, self.remedy, self.device)
        try:
            RULES[rule].check(options, self.operation)
        except QnbError as error:
            raise self.error(f"a calibration method that does not exist: {error.received}") from error
        if not isinstance(read, RULES[rule].statistics):
            raise self.error(f"no histogram, which calibration method {rule!r} needs")
        return {"statistics": read, "rule": (rule, options)}
