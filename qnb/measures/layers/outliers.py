"""What stands out among some channels."""

from __future__ import annotations

import math

import torch


def outlier_ratio(extent: torch.Tensor) -> float:
    """The largest of some channels' magnitudes over the median one. Channels of zeros are dead and do not count.

    >>> outlier_ratio(torch.tensor([0.0, 0.0, 0.0, 1.0, 2.0, 8.0])), outlier_ratio(torch.tensor([0.0, 3.0]))
    (4.0, nan)
    """
    alive = extent[extent > 0]
    return float(alive.max() / alive.median()) if alive.numel() > 1 else math.nan
