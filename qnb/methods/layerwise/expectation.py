"""What layers are expected to give, from folded batch norms alone: no data (arXiv 1906.04721, 4.2.1)."""

from __future__ import annotations

import math

import torch
from torch import fx

from qnb.graph import ops
from qnb.methods.layerwise.channel_steps import rectifier, through

_NORMAL = torch.distributions.Normal(0.0, 1.0)


def clipped_normal_mean(mean: torch.Tensor, sigma: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """``E[min(max(x, low), high)]`` of a normal x, elementwise.

    With ``A = (low - mean) / sigma`` and B likewise:
    ``mean (Phi(B) - Phi(A)) - sigma (phi(B) - phi(A)) + low Phi(A) + high (1 - Phi(B))``.

    Args:
        mean, sigma: one shape; sigma may be 0. low, high: the latter may be inf.

    >>> clipped_normal_mean(torch.tensor(0.0), torch.tensor(1.0), 0.0, math.inf)  # 1 / sqrt(2 pi)
    tensor(0.3989)
    """
    spread = sigma.clamp(min=torch.finfo(sigma.dtype).tiny)
    density = lambda z: torch.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)  # noqa: E731
    below, above = (low - mean) / spread, (high - mean) / spread
    inside = mean * (_NORMAL.cdf(above) - _NORMAL.cdf(below)) - sigma * (density(above) - density(below))
    beyond = high * _NORMAL.cdf(-above) if high < math.inf else 0.0
    return inside + low * _NORMAL.cdf(below) + beyond


def expected(module: fx.GraphModule, node: fx.Node) -> torch.Tensor | None:
    """Mean of each channel (axis 1) of a node's value, float64; None where no batch norm tells.

    A layer with a folded batch norm has mean beta and standard deviation gamma; its ReLU or ReLU6 that of a clipped
    normal. Sums have the sum of the means; averages keep them.

    Args:
        module: the captured graph.
    """
    if node.op != "call_function":
        return None
    norm = node.meta.get("folded_batch_norm")
    if norm is not None:
        return norm["beta"].double()
    found = rectifier(module, node)
    if found is not None:
        norm = node.args[0].meta.get("folded_batch_norm")
        return None if norm is None else _rectified(found, norm["beta"].double(), norm["gamma"].double().abs())
    if ops.name(node) == "add":
        return _sum(module, node)
    if not node.args or not isinstance(node.args[0], fx.Node) or ops.name(node).startswith(("max_", "adaptive_max")):
        return None
    step = through(module, node, 1)
    mean = expected(module, node.args[0]) if step is not None and step.axis == 1 else None
    return None if mean is None else mean.repeat_interleave(step.repeat)


def _rectified(activation, mean: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """``E[clip(x)] - slope E[relu(-x)]``."""
    negative = clipped_normal_mean(-mean, sigma, 0.0, math.inf)
    return clipped_normal_mean(mean, sigma, 0.0, activation.ceiling) - activation.slope * negative


def _sum(module: fx.GraphModule, node: fx.Node) -> torch.Tensor | None:
    terms = node.args[:2]
    if node.kwargs.get("alpha", 1) != 1 or any(not isinstance(t, fx.Node) for t in terms):
        return None
    means = [expected(module, t) for t in terms]
    if any(m is None for m in means) or terms[0].meta["val"].shape != terms[1].meta["val"].shape:
        return None
    return means[0] + means[1]
