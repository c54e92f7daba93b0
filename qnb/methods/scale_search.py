"""AWQ-style scale search: protect the weights that large activations meet (arXiv 2306.00978)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch

from qnb.arguments import whole
from qnb.methods.layerwise.layers import integer_layers
from qnb.methods.method import method
from qnb.methods.reporting.progress import MethodProgress
from qnb.methods.reporting.result import Found
from qnb.methods.rescaling.rescale import Magnitudes, Rescaling
from qnb.progress import Report

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim

OPERATION = "qnb.methods.scale_search"


def _fits(sim: QuantSim, given: dict) -> None:
    whole(OPERATION, "grid", given["grid"])
    integer_layers(sim, given["layers"], OPERATION)


@method("scale_search", "Scale search (AWQ)", "rescale", fits=_fits)
def scale_search(
    sim: QuantSim,
    batches: Iterable,
    *,
    layers: str | Iterable[str] | None = None,
    grid: int = 20,
    progress: Report | None = None,
) -> Found:
    """Scale up the weights of channels with large activations before rounding, and the activations down.

    ``s_j = mean|x_j|^alpha``: a weight that is multiplied by s before it is rounded loses s times less, as long as the
    range of its channel or block does not grow with it. alpha goes from 0 (no scales) to 1; at each place the one is
    taken that gives the readers' outputs the smallest error with weights quantized and activations left in FP32.
    Scales are folded as in `smooth`, whose aim is the other one: to make activations easy to quantize, at the cost of
    the weights. Both gain most in transformers; this one at 4-bit weights, most of all in small blocks.

    Args:
        batches: unlabelled, as the model takes them; the scaled activations get new ranges from them, by the rule that
            they were calibrated with.
        layers: readers, by name, glob or a list of them; None means all. Those that share an input go along.
        grid: how many alphas above 0 to try.

    Raises:
        InputError: no alpha to try; weights that are no longer the model's. PrecisionError: no integer weights.

    Source: Lin et al. 2023, arXiv 2306.00978.

    >>> import torch, qnb
    >>> model, x = torch.nn.Sequential(torch.nn.LayerNorm(8), torch.nn.Linear(8, 8)).eval(), torch.randn(64, 8)
    >>> sim = qnb.QuantSim(model, x, "w4a16").calibrate([x])
    >>> result = qnb.methods.scale_search(sim, [x], grid=5)
    >>> bool((result.table.fit_after_db.dropna() >= result.table.fit_before_db.dropna()).all())
    True
    """
    search = Rescaling(sim, protecting_scales, False, OPERATION)
    return search.run(batches, layers, [i / grid for i in range(1, grid + 1)], False, MethodProgress.of(progress))


def protecting_scales(of: Magnitudes, alpha: float) -> torch.Tensor:
    """``s_j = mean|x_j|^alpha``, over the root of the smallest times the largest; 1 where a channel is all zero.

    >>> x = torch.tensor([16.0, 1.0])
    >>> protecting_scales(Magnitudes(x, x, x), 0.5)
    tensor([2.0000, 0.5000])
    """
    live = of.mean > 0
    if not live.any():
        return torch.ones_like(of.mean)
    scale = of.mean**alpha
    return torch.where(live, scale / (scale[live].min() * scale[live].max()).sqrt(), 1.0)
