"""Statistics as plain data and a tensor of counts, and back: ranges can be chosen again without the data."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from qnb import schema
from qnb.errors import FileError
from qnb.ranges.histogram import Histogram
from qnb.ranges.statistics import MinMax

_SEEN = {"count": schema.COUNT | {"minimum": 1}, "min": schema.FINITE, "max": schema.FINITE}
_LAID_OUT = {
    "bins": {"type": "integer", "minimum": 1, "maximum": 1 << 16},
    "exponent": {"type": "integer", "minimum": -120, "maximum": 128},
    "first": schema.WHOLE,
    "from": schema.COUNT,
}
SCHEMA = schema.record(_SEEN, {"histogram": schema.record(_LAID_OUT)})
_WIDTHS = (torch.uint8, torch.int16, torch.int32, torch.int64)


def to_json(statistics: MinMax | None) -> tuple[dict[str, Any] | None, Tensor | None]:
    """What was seen of one tensor, and the counts of its histogram in as few bytes as they take.

    None where there is nothing to keep: nothing was seen, or not one scale for all of the tensor.

    >>> seen = Histogram(bins=4)
    >>> seen.update(torch.tensor([0.0, 0.1, 0.9]))
    >>> stored, counts = to_json(seen)
    >>> counts, from_json(stored, counts, "read", "write it again").counts
    (tensor([2, 0, 0, 1], dtype=torch.uint8), tensor([[2, 0, 0, 1]]))
    """
    if statistics is None or not statistics.count or statistics.rows.axis is not None:
        return None, None
    stored = {"count": statistics.count, "min": float(statistics.min), "max": float(statistics.max)}
    if not isinstance(statistics, Histogram):
        return stored, None
    counts = statistics.counts[0].cpu()
    taken = counts.nonzero().flatten()
    start, end = int(taken[0]), int(taken[-1]) + 1
    laid_out = {
        "bins": statistics.size,
        "exponent": int(statistics._exponent[0]),
        "first": int(statistics._first[0]),
        "from": start,
    }
    width = next(d for d in _WIDTHS if int(counts.max()) <= torch.iinfo(d).max)
    return stored | {"histogram": laid_out}, counts[start:end].to(width)


def from_json(
    stored: dict[str, Any], counts: Tensor | None, operation: str, remedy: str, device: torch.device | None = None
) -> MinMax:
    """The statistics of what `SCHEMA` allows, on a device.

    Raises:
        FileError: counts that are missing, or that do not fit what is said of them.
    """
    layout = stored.get("histogram")
    statistics = MinMax() if layout is None else Histogram(bins=layout["bins"])
    statistics.count = stored["count"]
    statistics._min, statistics._max = (torch.tensor(stored[end], device=device) for end in ("min", "max"))
    finite = torch.isfinite(statistics._min) and torch.isfinite(statistics._max)
    fits = finite and statistics._min <= statistics._max and (counts is None) == (layout is None)
    if fits and layout is not None:
        room = layout["bins"] - layout["from"]
        fits = counts.dim() == 1 and counts.dtype in _WIDTHS and 0 < len(counts) <= room
        fits = fits and bool((counts >= 0).all()) and int(counts.long().sum()) == stored["count"]
    if not fits:
        raise FileError(operation, "the file is damaged: statistics whose counts do not fit", remedy)
    if layout is not None:
        statistics.counts = torch.zeros(1, layout["bins"], dtype=torch.int64, device=device)
        statistics.counts[0, layout["from"] : layout["from"] + len(counts)] = counts
        statistics._exponent = torch.tensor([layout["exponent"]], dtype=torch.int32, device=device)
        statistics._first = torch.tensor([layout["first"]], device=device)
    return statistics
