"""What 16-bit floating point does to each layer: values that overflow to infinity, values that become zero."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import torch

from qnb.measures.layers.lockstep import LayerValues

LARGEST = torch.finfo(torch.float16).max
SMALLEST = 2.0**-25
"""At and below half the smallest subnormal a value rounds to zero."""
COLUMNS = ("layer", "overflow_fraction", "underflow_fraction", "fp32_max_abs")


@dataclass
class _Counts:
    total: int = 0
    overflow: int = 0
    underflowing: int = 0
    largest: float = 0.0


class Float16Watch:
    """Visitor for `compare_layers(watch=...)`: counts on the FP32 values of every layer."""

    def __init__(self):
        self.counts: dict[str, _Counts] = {}

    def __call__(self, values: LayerValues) -> None:
        row = self.counts.setdefault(values.group.layer, _Counts())
        size = values.reference.abs()
        size = size[torch.isfinite(size)]
        row.total += size.numel()
        row.overflow += int((size > LARGEST).sum())
        row.underflowing += int(((size <= SMALLEST) & (size > 0)).sum())
        row.largest = max(row.largest, float(size.max()) if size.numel() else 0.0)

    def table(self) -> pd.DataFrame:
        """One row per layer: fractions of its values that overflow (> 65,504) or become zero (<= 2^-25)."""
        rows = [
            (layer, c.overflow / max(c.total, 1), c.underflowing / max(c.total, 1), c.largest)
            for layer, c in self.counts.items()
        ]
        return pd.DataFrame(rows, columns=list(COLUMNS))
