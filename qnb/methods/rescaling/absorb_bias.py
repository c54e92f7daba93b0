"""High-bias absorption: what a channel always exceeds goes into the next layer's bias (arXiv 1906.04721, 4.1.3).

``relu(y) = relu(y - c) + c`` where ``y >= c >= 0``, so the first layer's bias loses ``c`` and the next layer's gains
``W c``: its input then spans less, and is quantized more finely. That holds only where every output of the next layer
sees the whole kernel on real inputs: zeros padded around a feature map stand for ``c`` afterwards, so a convolution
that pads (or is transposed) absorbs nothing.
"""

from __future__ import annotations

import torch

from qnb.methods.rescaling.chains import Pair
from qnb.methods.rescaling.spread import Spread


def absorbable(pair: Pair, spread: Spread) -> torch.Tensor:
    """``c`` per channel, 0 where nothing may be absorbed; the paper's ``max(0, beta - 3 gamma)`` borne out by data.

    A channel that a ReLU6 clips, or may clip, keeps its bias.
    """
    possible = pair.shifts and spread.seen and pair.first.bias is not None and pair.second.bias is not None
    free = spread.high < pair.ceiling
    return torch.where(free, spread.low.clamp(min=0.0), 0.0) if possible else torch.zeros_like(spread.low)
